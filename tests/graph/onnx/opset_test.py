"""Every form that an operator had from opset 11 on is understood: the model before import and the opset-17
model after it compute the same in ONNX Runtime.

    python3 opset_test.py build/bin/ds_export
"""
import pathlib
import sys
import tempfile

from onnx_support import TOLERANCE, Report, convert, largest_error, random_feeds, run
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 20260102
IR = {11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}
F = np.float32


def ints(*values):
    return np.array(values, dtype=np.int64)


def node(op, inputs, outputs=("y",), **attributes):
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def model(opset, nodes, shape=(2, 3, 8, 8), constants=None, dtype=TensorProto.FLOAT, outputs=("y",)):
    """One input x; outputs of unknown shape; numpy constants by name."""
    graph = helper.make_graph(
        nodes, "case", [helper.make_tensor_value_info("x", dtype, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR.get(opset, 11))
    return onnx.shape_inference.infer_shapes(made) if len(outputs) == 1 else made


def cases(rng):
    w = rng.standard_normal((4, 3, 3, 3)).astype(F)
    bn = {"s": rng.uniform(.5, 2, 3).astype(F), "b": rng.standard_normal(3).astype(F),
          "m": rng.standard_normal(3).astype(F), "v": rng.uniform(.5, 2, 3).astype(F)}
    for opset in (11, 12, 13, 17, 18, 22):
        yield "Softmax axis 1 of 4", model(opset, [node("Softmax", "x", axis=1)])
        yield "Softmax default axis", model(opset, [node("Softmax", "x")])
        yield "Softmax dynamic batch", model(opset, [node("Softmax", "x", axis=1)], ("N", 3, 5))
        yield "Softmax last axis", model(opset, [node("Softmax", "x", axis=-1)])
        yield "Clip", model(opset, [node("Clip", ["x", "lo", "hi"])], constants={"lo": F(-.5), "hi": F(.5)})
        yield "Clip, only max", model(opset, [node("Clip", ["x", "", "hi"])], constants={"hi": F(.5)})
        yield "Conv, auto_pad", model(opset, [node("Conv", ["x", "w"], auto_pad="SAME_UPPER", strides=[2, 2])],
                                      constants={"w": w})
        yield "BatchNormalization", model(opset, [node("BatchNormalization", ["x", *bn])], constants=bn)
        yield "MaxPool, ceil", model(opset, [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)])
        yield "AveragePool, pads", model(opset, [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])])
        yield "Flatten, Gemm", model(opset, [node("Flatten", "x", ["f"]), node("Gemm", ["f", "a"], transB=1)],
                                     constants={"a": rng.standard_normal((5, 192)).astype(F)})
        yield "Resize nearest", model(opset, [node("Resize", ["x", "roi", "scales"], mode="nearest",
                                                   coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
                                      constants={"roi": np.zeros(0, F), "scales": np.array([1, 1, 2, 2], F)})
        yield "Pad", model(opset, [node("Pad", ["x", "p", "c"])], constants={"p": ints(0, 0, 1, 2, 0, 0, 0, 1), "c": F(3)})
        yield "x.view(x.size(0), -1)", model(opset, [
            node("Shape", "x", ["s"]), node("Gather", ["s", "i"], ["n"], axis=0),
            *([node("Unsqueeze", ["n"], ["u"], axes=[0])] if opset < 13 else [node("Unsqueeze", ["n", "i0"], ["u"])]),
            node("Concat", ["u", "rest"], ["t"], axis=0), node("Reshape", ["x", "t"])],
            ("N", 3, 4, 4), {"i": np.int64(0), "i0": ints(0), "rest": ints(-1)})
        yield "SiLU as Sigmoid and Mul", model(opset, [node("Sigmoid", "x", ["g"]), node("Mul", ["g", "x"])])
        yield "Slice, negative step", model(opset, [node("Slice", ["x", "b", "e", "a", "t"])],
                                            constants={"b": ints(-1), "e": ints(-9), "a": ints(3), "t": ints(-2)})
        yield "Cast", model(opset, [node("Cast", "x", ["h"], to=TensorProto.INT32), node("Cast", ["h"], to=1)])
        yield "Identity of a weight", model(opset, [node("Identity", ["w0"], ["w"]), node("Conv", ["x", "w"])],
                                            constants={"w0": w})
        yield "Constant", model(opset, [node("Constant", [], ["c"], value=numpy_helper.from_array(bn["m"].reshape(3, 1, 1))),
                                        node("Add", ["x", "c"])])
    for opset in (11, 12):
        yield "Squeeze, Unsqueeze by attribute", model(
            opset, [node("Unsqueeze", "x", ["u"], axes=[0, 5]), node("Squeeze", ["u"], axes=[0, 5])])
        yield "Split by attribute", model(opset, [node("Split", "x", ["a", "y"], axis=1, split=[1, 2])])
        yield "ReduceSum by attribute", model(opset, [node("ReduceSum", "x", axes=[2, 3], keepdims=0)])
    for opset in (11, 13, 17):
        yield "ReduceMean by attribute", model(opset, [node("ReduceMean", "x", axes=[-1], keepdims=0)])
        yield "ReduceMean of all", model(opset, [node("ReduceMean", "x", keepdims=1)])
    yield "Dropout by attribute", model(11, [node("Dropout", "x", ratio=.3)])
    for opset in (12, 13, 22):
        yield "Dropout by inputs", model(opset, [node("Dropout", ["x", "r", "t"], ["y", "mask"], seed=4)],
                                         constants={"r": F(.3), "t": np.bool_(False)})
        yield "Constant of floats", model(opset, [node("Constant", [], ["c"], value_floats=[1., 2., 3., 4., 5., 6., 7., 8.]),
                                                  node("Mul", ["x", "c"])])
    for opset in (13, 17, 18, 21):
        yield "Squeeze, Unsqueeze by input", model(
            opset, [node("Unsqueeze", ["x", "a"], ["u"]), node("Squeeze", ["u", "a"])], constants={"a": ints(0, 5)})
        yield "Split by input", model(opset, [node("Split", ["x", "s"], ["a", "y"], axis=1)], constants={"s": ints(1, 2)})
        yield "ReduceSum by input", model(opset, [node("ReduceSum", ["x", "a"], keepdims=0)], constants={"a": ints(1)})
    for opset in (18, 20, 22):
        yield "ReduceMean by input", model(opset, [node("ReduceMean", ["x", "a"], keepdims=0)], constants={"a": ints(2, 3)})
        yield "ReduceMean of nothing", model(opset, [node("ReduceMean", "x", noop_with_empty_axes=1)])
        yield "Split, num_outputs, uneven", model(opset, [node("Split", "x", ["a", "b", "y"], axis=3, num_outputs=3)])
        yield "Pad with axes", model(opset, [node("Pad", ["x", "p", "", "a"])], constants={"p": ints(1, 2, 3, 4), "a": ints(-1, 1)})
        yield "Resize with axes", model(opset, [node("Resize", ["x", "", "s"], axes=[2, 3], mode="linear")],
                                        constants={"s": np.array([2, 2], F)})
        yield "Resize to sizes of axes", model(opset, [node("Resize", ["x", "", "", "s"], axes=[2, 3], mode="linear")],
                                               constants={"s": ints(5, 13)})
    for opset in (14, 17, 22):
        yield "HardSwish", model(opset, [node("HardSwish", "x")])
        yield "BatchNormalization in training form", model(
            opset, [node("BatchNormalization", ["x", *bn], ["y"], training_mode=0, momentum=.8)], constants=bn)
    for opset in (17, 20):
        yield "LayerNormalization", model(opset, [node("LayerNormalization", ["x", "s", "b"], axis=-1, epsilon=1e-3)],
                                          constants={"s": rng.standard_normal(8).astype(F), "b": rng.standard_normal(8).astype(F)})
    for opset in (20, 22):
        yield "Gelu", model(opset, [node("Gelu", "x")])
        yield "Gelu tanh", model(opset, [node("Gelu", "x", approximate="tanh")])
    for opset in (24, 28):
        yield "Swish", model(opset, [node("Swish", "x")])
        yield "Swish alpha", model(opset, [node("Swish", "x", alpha=1.7)])
    yield from quantization_forms(rng)
    yield "nodes out of order", model(17, [node("Relu", ["t"]), node("Sigmoid", "x", ["t"])])
    yield from weight_forms(rng)


def quantization_forms(rng):
    """QuantizeLinear and DequantizeLinear with the attributes that each opset gave them."""
    scales = {"s": F(.05), "z": np.uint8(128), "sa": rng.uniform(.03, .1, 3).astype(F), "za": rng.integers(-5, 5, 3).astype(np.int8),
              "sb": rng.uniform(.03, .1, (2, 2, 8, 8)).astype(F), "s1": np.array([.05], F)}
    ir = {23: 11, 25: 13}

    def there_and_back(opset, quantize, dequantize, operands, **both):
        made = model(opset, [node("QuantizeLinear", ["x", *operands], ["q"], **quantize, **both),
                             node("DequantizeLinear", ["q", *operands], **dequantize, **both)],
                     constants={name: scales[name] for name in operands})
        made.ir_version = ir.get(opset, made.ir_version)
        return made

    for opset in (11, 13, 17, 19, 21, 23, 25):
        yield "QDQ by tensor", there_and_back(opset, {}, {}, ["s", "z"])
        yield "QDQ without a zero point", there_and_back(opset, {}, {}, ["s"])
    for opset in (13, 19, 21, 25):
        yield "QDQ by channel", there_and_back(opset, {}, {}, ["sa", "za"])
        yield "QDQ by channel, axis from the end", there_and_back(opset, {}, {}, ["sa", "za"], axis=-3)
        yield "QDQ, one scale of rank 1", there_and_back(opset, {}, {}, ["s1"])
    for opset in (19, 21, 23):
        yield "QDQ, saturate", there_and_back(opset, {"saturate": 1}, {}, ["s", "z"])
    for opset in (21, 23, 25):
        yield "QDQ, output_dtype", there_and_back(opset, {"output_dtype": TensorProto.INT8}, {}, ["s"])
        yield "QDQ by channel, output_dtype", there_and_back(opset, {"output_dtype": TensorProto.INT8}, {}, ["sa"], axis=1)
        yield "QDQ, output_dtype beside a zero point", there_and_back(opset, {"output_dtype": TensorProto.UINT8}, {}, ["s", "z"])
    for opset in (23, 25):
        yield "QDQ, precision and output_dtype", there_and_back(opset, {"precision": 1}, {"output_dtype": 1}, ["s", "z"])


def weight_forms(rng):
    """The same weights in every field and type that TensorProto has."""
    values = rng.integers(-3, 4, (3, 1, 1))
    for name in ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT8", "INT16", "INT32", "INT64"):
        for raw in (False, True):
            kind = getattr(TensorProto, name)
            array = values.astype(helper.tensor_dtype_to_np_dtype(kind))
            data = array.tobytes() if raw else array.flatten()
            yield f"weights as {name}, {'raw' if raw else 'typed'}", cast_case(
                helper.make_tensor("c", kind, [3, 1, 1], data, raw=raw))
    for name in ("UINT8", "UINT16", "UINT32", "UINT64", "BOOL"):
        kind = getattr(TensorProto, name)
        yield f"weights as {name}", cast_case(helper.make_tensor("c", kind, [3, 1, 1], np.abs(values).flatten().clip(0, 1)))


def cast_case(tensor):
    made = model(17, [node("Cast", ["c"], ["f"], to=1), node("Add", ["x", "f"])])
    made.graph.initializer.append(tensor)
    return made


def packed_case(kind, values, opset, ir):
    graph = helper.make_graph(
        [node("Relu", "x")], "packed", [helper.make_tensor_value_info("x", 1, [1])],
        [helper.make_tensor_value_info("y", 1, [1]), helper.make_tensor_value_info("c", kind, [len(values)])],
        [helper.make_tensor("c", kind, [len(values)], values)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def main(program):
    print(f"seed {SEED}")
    rng = np.random.default_rng(SEED)
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        before, after = pathlib.Path(folder) / "before.onnx", pathlib.Path(folder) / "after.onnx"

        def compare(made):
            onnx.save(made, str(before))
            convert(program, before, after)
            feeds = random_feeds(before, rng)
            error = largest_error(run(before, feeds), run(after, feeds))
            assert error <= TOLERANCE, f"error {error:.2e} of the range"

        for name, made in cases(rng):
            report.case(f"opset {made.opset_import[0].version}: {name}", lambda: compare(made))

        def packed(kind, values, opset=21, ir=10):
            onnx.save(packed_case(kind, values, opset, ir), str(before))
            convert(program, before, after, "--opset", opset)
            tensors = {t.name: t for t in onnx.load(str(after)).graph.initializer}
            assert numpy_helper.to_array(tensors["c"]).astype(int).tolist() == values

        report.case("INT4, odd count", lambda: packed(TensorProto.INT4, [-8, 7, -1, 0, 3]))
        report.case("UINT4, even count", lambda: packed(TensorProto.UINT4, [15, 0, 9, 6]))
        report.case("INT2, odd count", lambda: packed(TensorProto.INT2, [-2, 1, -1, 0, 1], 25, 13))
        report.case("UINT2, even count", lambda: packed(TensorProto.UINT2, [3, 0, 2, 1], 25, 13))

        def blocks():
            constants = {"s": rng.uniform(.03, .1, (2, 2, 8, 8)).astype(F), "z": rng.integers(-5, 5, (2, 2, 8, 8)).astype(np.int8)}
            made = model(21, [node("QuantizeLinear", ["x", "s", "z"], ["q"], block_size=2),
                              node("DequantizeLinear", ["q", "s", "z"], block_size=2)], constants=constants)
            made.ir_version = 10
            onnx.save(made, str(before))
            for opset in (21, 25):
                convert(program, before, after, "--opset", opset)
                feeds = random_feeds(before, rng)
                assert largest_error(run(before, feeds), run(after, feeds)) == 0.0

        report.case("QDQ by blocks", blocks)

        def external():
            weights = {name: rng.standard_normal(64).astype(F) for name in "cd"}
            made = model(17, [node("Add", ["x", "c"], ["t"]), node("Mul", ["t", "d"])], (64,), weights)
            # Offsets 0 and 256 are mapped in place, 12 and 268 are copied.
            for start in (0, 12):
                blob = b"?" * start
                for tensor in made.graph.initializer:
                    values = weights[tensor.name].tobytes()
                    external = {"location": "weights.bin", "offset": len(blob), "length": len(values)}
                    tensor.ClearField("raw_data")
                    del tensor.external_data[:]
                    tensor.data_location = TensorProto.EXTERNAL
                    for key, value in external.items():
                        tensor.external_data.add(key=key, value=str(value))
                    blob += values
                (pathlib.Path(folder) / "weights.bin").write_bytes(blob)
                before.write_bytes(made.SerializeToString())
                convert(program, before, after)
                feeds = random_feeds(before, rng)
                assert largest_error(run(before, feeds), run(after, feeds)) == 0.0

        report.case("external data", external)
    report.finish(at_least=150)


if __name__ == "__main__":
    main(sys.argv[1])
