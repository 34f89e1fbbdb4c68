"""Every operator's forward pass against ONNX Runtime: op_forward_test.py OP_RUNNER.

Each case is a one-node model at opset 17, or the least later one that has it (SiLU as ONNX Runtime can say it). Tolerance: half an
ULP for each operation of the longest sum, relative to the largest result.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented  # noqa: A004
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

import op_forward_rare
import structured_cases

SEED = 4711
RNG = np.random.default_rng(SEED)
CASES = []


def rand(*shape, low=-2.0, high=2.0):
    return RNG.uniform(low, high, shape).astype(np.float32)


def ints(*values):
    return np.array(values, dtype=np.int64)


def case(name, op, inputs, constants=(), outputs=1, terms=1, like=None, opset=17, packed=None, **attributes):
    """`constants`: slots that are initialisers. `terms`: length of the longest sum. `like`: reference model's nodes.
    `packed`: slots of constants whose integers are of a type smaller than a byte, by name."""
    CASES.append(dict(name=name, op=op, inputs=inputs, constants=set(constants), outputs=outputs,
                      terms=terms, like=like, opset=opset, packed=packed or {}, attributes=attributes))


def linear_cases():
    x = rand(2, 4, 9, 8)
    w = rand(6, 4, 3, 3)
    case("conv", "Conv", [x, w, rand(6)], {1, 2}, terms=36, pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    case("conv_stride", "Conv", [x, w], {1}, terms=36, pads=[1, 1, 1, 1], strides=[2, 2])
    case("conv_asymmetric", "Conv", [x, w], {1}, terms=36, pads=[0, 1, 2, 0], strides=[2, 1])
    case("conv_dilated", "Conv", [x, w], {1}, terms=36, dilations=[2, 3], pads=[2, 2, 2, 2])
    case("conv_groups", "Conv", [x, rand(6, 2, 3, 3)], {1}, terms=18, group=2)
    case("conv_depthwise", "Conv", [x, rand(4, 1, 3, 3), rand(4)], {1, 2}, terms=9, group=4, pads=[1] * 4)
    case("conv_1x1", "Conv", [x, rand(5, 4, 1, 1)], {1}, terms=4)
    case("conv_1_channel", "Conv", [rand(3, 1, 7, 7), rand(16, 1, 3, 3)], {1}, terms=9, pads=[1] * 4)
    for pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        case("conv_" + pad.lower(), "Conv", [x, w], {1}, terms=36, auto_pad=pad, strides=[2, 2])
    case("conv_1d", "Conv", [rand(2, 3, 11), rand(4, 3, 5), rand(4)], {1, 2}, terms=15, pads=[2, 1])
    case("conv_computed_weight", "Conv", [x, w], terms=36)
    a, b = rand(3, 7), rand(7, 5)
    case("gemm", "Gemm", [a, b, rand(5)], {1, 2}, terms=8)
    case("gemm_transposed", "Gemm", [a, rand(5, 7), rand(5)], {1, 2}, terms=8, transB=1)
    case("gemm_scaled", "Gemm", [rand(7, 3), b, rand(3, 1)], {1}, terms=8, transA=1, alpha=0.3, beta=1.7)
    case("gemm_no_c", "Gemm", [a, b], {1}, terms=7, alpha=0.5)
    case("matmul", "MatMul", [a, b], terms=7)
    case("matmul_batched", "MatMul", [rand(2, 1, 3, 7), rand(4, 7, 5)], terms=7)
    case("matmul_vector", "MatMul", [rand(7), b], terms=7)


def elementwise_cases():
    x = rand(3, 5, 7, low=-4, high=4)
    positive = rand(3, 5, low=0.1, high=4)
    for op in ("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Neg", "Abs", "Reciprocal", "Identity", "HardSwish",
               "LeakyRelu", "HardSigmoid"):
        case(op.lower(), op, [x], terms=8)
    for op in ("Sqrt", "Log"):
        case(op.lower(), op, [positive], terms=4)
    case("leaky_relu_alpha", "LeakyRelu", [x], alpha=0.3)
    case("hard_sigmoid_torch", "HardSigmoid", [x], terms=4, alpha=1 / 6, beta=0.5)
    case("silu", "SiLU", [x], terms=8, like=[("Sigmoid", ["x0"], "s"), ("Mul", ["x0", "s"], "y0")])
    for kind in ("none", "tanh"):
        case("gelu_" + kind, "Gelu", [x], terms=16, opset=20, approximate=kind)
    case("clip", "Clip", [x, np.float32(-1), np.float32(2.5)], {1, 2})
    case("clip_max", "Clip", [x, None, np.float32(0.5)], {2})
    case("clip_computed", "Clip", [x, np.float32(-1), np.float32(1)])
    case("clip_nothing", "Clip", [x])
    for op in ("Add", "Sub", "Mul", "Div"):
        case(op.lower(), op, [x, rand(5, 1, low=0.5, high=2)])
        case(op.lower() + "_ints", op, [RNG.integers(-50, 50, (3, 4)), RNG.integers(1, 9, (4,))])
    case("pow", "Pow", [positive, np.float32(1.7)], {1}, terms=16)
    case("pow_tensor", "Pow", [positive, rand(5)], terms=16)
    case("pow_square", "Pow", [x, np.float32(2)], {1})
    case("where", "Where", [RNG.random((3, 1)) < 0.5, positive, rand(5)])
    case("equal", "Equal", [RNG.integers(0, 3, (4, 5)), RNG.integers(0, 3, (5,))])
    case("cast_int", "Cast", [x], to=TensorProto.INT64)
    case("cast_bool", "Cast", [np.array([0, 1, -2, 0.5], np.float32)], to=TensorProto.BOOL)
    case("cast_float", "Cast", [ints(1, -2, 3)], to=TensorProto.FLOAT)
    case("dropout_eval", "Dropout", [x, np.float32(0.4)], {1})


def statistics_cases():
    x = rand(3, 4, 5, 6)
    channels = [rand(4), rand(4), rand(4), rand(4, low=0.2, high=2)]
    case("batch_norm", "BatchNormalization", [x] + channels, {1, 2, 3, 4}, terms=8)
    case("batch_norm_epsilon", "BatchNormalization", [rand(7, 4)] + channels, {1, 2, 3, 4}, terms=8, epsilon=0.1)
    case("batch_norm_3d", "BatchNormalization", [rand(2, 4, 9)] + channels, {1, 2, 3, 4}, terms=8)
    case("layer_norm", "LayerNormalization", [x, rand(6), rand(6)], {1, 2}, terms=24)
    case("layer_norm_axis", "LayerNormalization", [x, rand(5, 6)], {1}, terms=64, axis=2, epsilon=1e-3)
    for axis in (-1, 0, 1):
        case(f"softmax_{axis}", "Softmax", [x], terms=16, axis=axis)
        case(f"log_softmax_{axis}", "LogSoftmax", [x], terms=16, axis=axis)
    case("reduce_mean", "ReduceMean", [x], terms=30, axes=[2, 3])
    case("reduce_mean_flat", "ReduceMean", [x], terms=18, axes=[-1, 0], keepdims=0)
    case("reduce_mean_all", "ReduceMean", [x], terms=360)
    case("reduce_sum", "ReduceSum", [x, ints(1)], {1}, terms=8, keepdims=0)
    case("reduce_sum_all", "ReduceSum", [x], terms=360)
    case("reduce_sum_noop", "ReduceSum", [x], noop_with_empty_axes=1)
    image = rand(2, 3, 9, 10)
    for op in ("MaxPool", "AveragePool"):
        short = op[:3].lower() + "_pool"
        terms = 1 if op == "MaxPool" else 12
        case(short, op, [image], terms=terms, kernel_shape=[2, 2], strides=[2, 2])
        case(short + "_padded", op, [image], terms=terms, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        case(short + "_asymmetric", op, [image], terms=terms, kernel_shape=[3, 2], strides=[1, 2], pads=[2, 0, 1, 1])
        case(short + "_ceil", op, [image], terms=terms, kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1)
        case(short + "_ceil_padded", op, [image], terms=terms, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 1, 0],
             ceil_mode=1)
        case(short + "_same", op, [image], terms=terms, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
        case(short + "_1d", op, [rand(2, 3, 11)], terms=terms, kernel_shape=[3], strides=[2], pads=[1, 0])
    case("max_pool_sppf", "MaxPool", [image], kernel_shape=[5, 5], pads=[2] * 4)
    case("max_pool_dilated", "MaxPool", [image], kernel_shape=[3, 3], dilations=[2, 2])
    case("average_pool_count_pad", "AveragePool", [image], terms=12, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4,
         count_include_pad=1)
    case("average_pool_count_asymmetric", "AveragePool", [image], terms=12, kernel_shape=[3, 3], pads=[0, 2, 1, 0],
         count_include_pad=1)
    case("global_average_pool", "GlobalAveragePool", [image], terms=90)
    case("global_average_pool_1d", "GlobalAveragePool", [rand(2, 3, 7)], terms=7)


def movement_cases():
    x = rand(2, 3, 4, 5)
    for axis in (0, 1, -2, 4):
        case(f"flatten_{axis}", "Flatten", [x], axis=axis)
    case("reshape", "Reshape", [x, ints(0, -1, 5)], {1})
    case("reshape_computed", "Reshape", [x, ints(6, 20)])
    case("transpose", "Transpose", [x], perm=[0, 2, 3, 1])
    case("transpose_reverse", "Transpose", [x])
    case("concat", "Concat", [x, rand(2, 1, 4, 5), x], axis=1)
    case("concat_negative", "Concat", [x, x], axis=-1)
    case("split", "Split", [x, ints(1, 3)], {1}, outputs=2, axis=2)
    case("split_equal", "Split", [x], outputs=2, axis=-2)
    case("slice", "Slice", [x, ints(1, -4), ints(9, -1), ints(2, 3)], {1, 2, 3})
    case("slice_no_axes", "Slice", [x, ints(0, 1), ints(1, 3)], {1, 2})
    case("slice_backwards", "Slice", [x, ints(-1, 3), ints(-(2**63), 0), ints(3, 2), ints(-2, -1)], {1, 2, 3, 4})
    case("slice_step", "Slice", [x, ints(0), ints(2**63 - 1), ints(-1), ints(2)], {1, 2, 3, 4})
    case("slice_empty", "Slice", [x, ints(3), ints(1), ints(2), ints(1)], {1, 2, 3, 4})
    case("slice_computed", "Slice", [x, ints(1), ints(3), ints(2)])
    case("gather", "Gather", [x, np.array([[0, 2], [-1, 1]])], axis=1)
    case("gather_scalar", "Gather", [x, np.int64(-1)], {1}, axis=2)
    case("gather_embedding", "Gather", [rand(11, 4), RNG.integers(0, 11, (2, 3))], {0})
    case("pad", "Pad", [x, ints(0, 0, 1, 2, 0, 0, 3, 0), np.float32(1.5)], {1, 2})
    case("pad_zero", "Pad", [x, ints(0, 1, 0, 2, 0, 0, 3, 0)], {1})
    case("pad_crop", "Pad", [x, ints(0, 0, -1, 2, 0, 0, 0, -1)], {1})
    for mode in ("reflect", "edge"):
        case("pad_" + mode, "Pad", [x, ints(0, 0, 2, 1, 0, 0, 1, 3)], {1}, mode=mode)
    for mode in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        for scale in (2.0, 0.6, 1.7):
            scales = np.array([1, 1, scale, scale], np.float32)
            case(f"resize_linear_{mode}_{scale}", "Resize", [x, None, scales], {2}, terms=24, mode="linear",
                 coordinate_transformation_mode=mode)
    for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
        for mode in ("asymmetric", "half_pixel"):
            scales = np.array([1, 1, 2, 1.5], np.float32)
            case(f"resize_nearest_{mode}_{rounding}", "Resize", [x, None, scales], {2}, mode="nearest",
                 coordinate_transformation_mode=mode, nearest_mode=rounding)
    # Positions that are whole numbers in single precision, and a little less or more in double.
    for rounding, scale in (("floor", 1.2), ("floor", 0.6), ("ceil", 0.7), ("round_prefer_floor", 2.3), ("round_prefer_ceil", 2.3)):
        for mode in ("asymmetric", "half_pixel"):
            case(f"resize_nearest_{mode}_{rounding}_{scale}", "Resize", [rand(1, 30), None, np.array([1, scale], np.float32)], {2}, mode="nearest",
                 coordinate_transformation_mode=mode, nearest_mode=rounding)
    case("resize_sizes", "Resize", [x, None, None, ints(2, 3, 7, 3)], {3}, terms=24, mode="linear")
    case("expand", "Expand", [rand(3, 1), ints(2, 1, 4)], {1})
    case("tile", "Tile", [rand(2, 3), ints(2, 1)], {1})
    case("squeeze", "Squeeze", [rand(1, 3, 1, 2), ints(0, -2)], {1})
    case("squeeze_all", "Squeeze", [rand(1, 3, 1, 2)])
    case("unsqueeze", "Unsqueeze", [rand(3, 2), ints(0, -1)], {1})
    case("shape", "Shape", [x])
    case("shape_part", "Shape", [x], start=1, end=-1)
    case("range", "Range", [np.int64(2), np.int64(11), np.int64(3)], {0, 1, 2})
    case("range_down", "Range", [np.float32(2), np.float32(-1), np.float32(-0.5)], {0, 1, 2})
    case("constant", "Constant", [], value=numpy_helper.from_array(rand(2, 3)))
    case("constant_of_shape", "ConstantOfShape", [ints(2, 3)], value=numpy_helper.from_array(np.array([7], np.int64)))
    case("constant_of_shape_zero", "ConstantOfShape", [ints(2, 0)], {0})


def quantization_cases():
    """Codes must be equal; what is dequantised is one product."""
    def codes(dtype, low, high, *shape):
        return RNG.integers(low, high + 1, shape).astype(dtype)

    x = rand(3, 5, 7, low=-30, high=30)
    ties = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 254.5, 255.5, 1e9, -1e9, np.inf, -np.inf, 0.0, -0.0], np.float32)
    scales, step = rand(5, low=0.01, high=0.4), np.float32(0.1)
    case("quantize", "QuantizeLinear", [x, step], {1})
    case("quantize_ties", "QuantizeLinear", [ties, np.float32(1)], {1})
    case("quantize_ties_odd_zero", "QuantizeLinear", [ties, np.float32(1), np.uint8(3)], {1, 2})
    case("quantize_u8", "QuantizeLinear", [x, step, np.uint8(128)], {1, 2})
    case("quantize_s8", "QuantizeLinear", [x, step, np.int8(-7)], {1, 2})
    case("quantize_one_of_rank_1", "QuantizeLinear", [x, np.array([0.3], np.float32), np.array([9], np.int8)], {1, 2})
    for axis in (1, -2):
        case(f"quantize_axis_{axis}", "QuantizeLinear", [x, scales, codes(np.int8, -9, 9, 5)], {1, 2}, axis=axis)
    case("quantize_computed", "QuantizeLinear", [x, scales, codes(np.uint8, 0, 200, 5)])
    for block, blocks in ((2, 4), (3, 3), (7, 1)):
        shape = (3, 5, blocks)
        case(f"quantize_blocks_{block}", "QuantizeLinear", [x, rand(*shape, low=0.1, high=0.4), codes(np.int8, -9, 9, *shape)],
             {1, 2}, opset=21, axis=2, block_size=block)
    for kind, low, high, dtype, opset in (("int4", -8, 7, np.int8, 21), ("uint4", 0, 15, np.uint8, 21), ("int2", -2, 1, np.int8, 25),
                                          ("uint2", 0, 3, np.uint8, 25)):
        to = TensorProto.INT8 if low else TensorProto.UINT8
        zero = codes(dtype, low, high, 5)
        case("quantize_" + kind, "QuantizeLinear", [x, scales, zero], {1, 2}, opset=opset, packed={2: kind},
             like=[("QuantizeLinear", ["x0", "x1", "x2"], "q"), ("Cast", ["q"], "y0", {"to": to})])
        case("dequantize_" + kind, "DequantizeLinear", [codes(dtype, low, high, 3, 5, 7), scales, zero], {0, 1, 2}, opset=opset,
             packed={0: kind, 2: kind})
        case("cast_" + kind, "Cast", [codes(dtype, low, high, 3, 5)], {0}, opset=opset, packed={0: kind}, to=to)
        shape = (3, 3, 7)
        case("dequantize_blocks_" + kind, "DequantizeLinear",
             [codes(dtype, low, high, 3, 5, 7), rand(*shape), codes(dtype, low, high, *shape)], {0, 1, 2}, opset=opset,
             packed={0: kind, 2: kind}, axis=1, block_size=2)
    for dtype, low, high in ((np.uint8, 0, 255), (np.int8, -128, 127)):
        q, name = codes(dtype, low, high, 3, 5, 7), np.dtype(dtype).name
        case("dequantize_" + name, "DequantizeLinear", [q, step, dtype(5)], {1, 2})
        case("dequantize_axis_" + name, "DequantizeLinear", [q, scales, codes(dtype, 0, 99, 5)], {1, 2})
        case("dequantize_no_zero_" + name, "DequantizeLinear", [q, step], {1})
    case("dequantize_int32", "DequantizeLinear", [codes(np.int32, -2**30, 2**30, 5, 3), scales], {0, 1}, axis=0)


def reference(test):
    """ONNX Runtime's results."""
    names = [f"x{i}" if v is not None else "" for i, v in enumerate(test["inputs"])]
    outs = [f"y{i}" for i in range(test["outputs"])]
    if test["like"]:
        nodes = [helper.make_node(op, ins, [out], **dict(*attributes)) for op, ins, out, *attributes in test["like"]]
    else:
        nodes = [helper.make_node(test["op"], names, outs, **test["attributes"])]
    values = {n: np.asarray(v) for n, v in zip(names, test["inputs"]) if v is not None}
    fixed = [helper.make_tensor(f"x{i}", getattr(TensorProto, test["packed"][i].upper()), values[f"x{i}"].shape,
                                values[f"x{i}"].flatten().tolist())
             if i in test["packed"] else numpy_helper.from_array(values[f"x{i}"], f"x{i}") for i in sorted(test["constants"])]
    fed = {n: v for n, v in values.items() if int(n[1:]) not in test["constants"]}
    graph = helper.make_graph(
        nodes, test["name"],
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in fed.items()],
        [onnx.ValueInfoProto(name=o) for o in outs], fixed)
    opset = test["opset"]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)],
                              ir_version=8 if opset < 21 else 10 if opset < 25 else 13)
    model = onnx.shape_inference.infer_shapes(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, fed)


def attribute_spec(key, value, tensors, name):
    if isinstance(value, onnx.TensorProto):
        tensors[f"{name}.{key}"] = numpy_helper.to_array(value).copy()
        return ["t", f"{name}.{key}"]
    if isinstance(value, list):
        return ["ss" if isinstance(value[0], str) else "is", value]
    return [{int: "i", float: "f", str: "s"}[type(value)], value]


def run_ours(runner, folder):
    tensors, spec = {}, []
    for test in CASES:
        operands = []
        for i, value in enumerate(test["inputs"]):
            if value is None:
                operands.append(None)
                continue
            key = f"{test['name']}.in{i}"
            tensors[key] = np.array(value, order="C")
            operands.append(dict(tensor=key, constant=i in test["constants"]))
            if i in test["packed"]:
                operands[-1]["dtype"] = test["packed"][i]
        attributes = {k: attribute_spec(k, v, tensors, test["name"]) for k, v in test["attributes"].items()}
        spec.append(dict(name=test["name"], op=test["op"], attributes=attributes, inputs=operands,
                         outputs=test["outputs"]))
    (folder / "spec.json").write_text(json.dumps(spec))
    save_file(tensors, folder / "in.safetensors")
    subprocess.run([runner, folder / "spec.json", folder / "in.safetensors", folder / "out.safetensors"], check=True)
    return load_file(folder / "out.safetensors")


def difference(ours, theirs, terms):
    """None if they agree. The executor holds unsigned integers of more than a byte as int64."""
    if theirs.dtype in (np.uint16, np.uint32, np.uint64) and ours.dtype == np.int64:
        theirs = theirs.astype(np.int64)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"{ours.dtype}{list(ours.shape)} instead of {theirs.dtype}{list(theirs.shape)}"
    if theirs.dtype != np.float32:
        return None if np.array_equal(ours, theirs) else "integers differ"
    if theirs.size == 0:
        return None
    error = np.abs(ours.astype(np.float64) - theirs).max()
    allowed = np.finfo(np.float32).eps * max(terms, 1) * max(np.abs(theirs).max(), 1e-3)
    return None if error <= allowed else f"off by {error:.3g}, {allowed:.3g} is allowed"


def main():
    runner = sys.argv[1]
    linear_cases(), elementwise_cases(), statistics_cases(), movement_cases(), quantization_cases()
    structured_cases.add(case, rand, RNG)
    op_forward_rare.add_cases(case, rand, ints, RNG)
    with tempfile.TemporaryDirectory() as folder:
        ours = run_ours(runner, Path(folder))
        failures = skipped = 0
        for test in CASES:
            try:
                outputs = reference(test)
            except NotImplemented as error:
                print(f"skipped: {test['name']}: {str(error).split(' : ')[-1]}")
                skipped += 1
                continue
            for i, expected in enumerate(outputs):
                mine = ours.get(f"{test['name']}.{i}")
                fault = "no result" if mine is None else difference(mine, expected, test["terms"])
                if fault:
                    failures += 1
                    print(f"{test['name']}: {fault} (seed {SEED})")
    print(f"{len(CASES)} cases of {len({t['op'] for t in CASES})} operators, {failures} failures, {skipped} that ONNX Runtime has no kernel for")
    assert skipped <= len(CASES) // 20, "too few cases have an oracle"
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
