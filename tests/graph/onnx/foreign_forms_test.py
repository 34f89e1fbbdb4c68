"""Forms of operators that the graph has others for: those of opsets 7 to 10, LSTM of layout 1, integer operators and files that ONNX
Runtime quantised or optimised. ONNX Runtime computes the same before and after.

    python3 foreign_forms_test.py build/bin/ds_export
"""
import logging
import pathlib
import sys
import tempfile

from onnx_support import TOLERANCE, Report, convert, ds_export, largest_error, run
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

SEED = 20260815
F = np.float32
FLOAT = TensorProto.FLOAT
MICROSOFT = helper.make_opsetid("com.microsoft", 1)


def ints(*values):
    return np.array(values, dtype=np.int64)


def node(op, inputs, outputs=("y",), domain="", **attributes):
    return helper.make_node(op, list(inputs), list(outputs), domain=domain, **attributes)


def model_of(opset, nodes, inputs, constants=None, outputs=("y",), kind=FLOAT):
    graph = helper.make_graph(
        nodes, "case", [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), MICROSOFT], ir_version=4 if opset < 11 else 8)


def old_cases(x, rng):
    """(name, first opset, last opset, nodes, constants)"""
    bn = {"s": rng.uniform(.5, 2, 3).astype(F), "b": rng.standard_normal(3).astype(F), "m": rng.standard_normal(3).astype(F),
          "v": rng.uniform(.5, 2, 3).astype(F)}
    yield "Clip with attributes", 7, 10, [node("Clip", "x", min=-0.5, max=0.75)], {}
    yield "Clip with one attribute", 7, 10, [node("Clip", "x", max=0.25)], {}
    yield "Pad with attributes", 7, 10, [node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 0, 1], value=1.5)], {}
    yield "Pad, reflect", 7, 10, [node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 2, 1], mode="reflect")], {}
    yield "Slice with attributes", 7, 9, [node("Slice", "x", starts=[1, -3], ends=[100, -1], axes=[1, 3])], {}
    yield "Slice without axes", 7, 9, [node("Slice", "x", starts=[0, 1], ends=[1, 2])], {}
    yield "Slice with inputs", 10, 10, [node("Slice", ["x", "from", "to"])], {"from": ints(0, 1), "to": ints(1, 2)}
    yield "BatchNormalization", 7, 8, [node("BatchNormalization", ["x", *bn], momentum=0.5)], bn
    yield "BatchNormalization with spatial", 7, 8, [node("BatchNormalization", ["x", *bn], spatial=1)], bn
    yield "Dropout", 7, 10, [node("Dropout", "x", ["h"], ratio=0.3), node("Relu", "h")], {}
    yield "Dropout with a mask that nobody reads", 7, 9, [node("Dropout", "x", ["h", "mask"], ratio=0.3), node("Relu", "h")], {}
    yield "Softmax", 7, 10, [node("Softmax", "x")], {}
    yield "Cast", 7, 8, [node("Cast", "x", ["h"], to=TensorProto.INT32), node("Cast", "h", to=FLOAT)], {}
    yield "Flatten, Gemm", 7, 8, [node("Flatten", "x", ["f"]), node("Gemm", ["f", "a", "c"], transB=1)], \
        {"a": rng.standard_normal((5, 192)).astype(F), "c": rng.standard_normal(5).astype(F)}
    yield "Reshape, Transpose", 7, 8, [node("Transpose", "x", ["t"], perm=[0, 2, 3, 1]), node("Reshape", ["t", "shape"])], {"shape": ints(2, -1, 3)}
    yield "Unsqueeze, Squeeze", 7, 10, [node("Unsqueeze", "x", ["u"], axes=[0, 2]), node("Squeeze", "u", axes=[0])], {}
    yield "Split", 7, 8, [node("Split", "x", ["a", "b"], axis=2, split=[3, 5]), node("Concat", ["b", "a"], axis=2)], {}
    yield "MaxPool, AveragePool", 7, 10, [node("MaxPool", "x", ["p"], kernel_shape=[2, 2], strides=[1, 1]),
                                          node("AveragePool", "p", kernel_shape=[3, 3], pads=[1] * 4)], {}
    yield "ReduceMean", 7, 8, [node("ReduceMean", "x", axes=[2, 3])], {}
    yield "Resize of opset 10", 10, 10, [node("Resize", ["x", "scales"], mode="nearest")], {"scales": np.array([1, 1, 2, 1.5], F)}
    yield "Resize of opset 10 that shrinks", 10, 10, [node("Resize", ["x", "scales"], mode="nearest")], {"scales": np.array([1, 1, .6, .4], F)}
    yield "Resize of opset 10 that does both", 10, 10, [node("Resize", ["x", "scales"])], {"scales": np.array([1, 1, .6, 1.7], F)}
    yield "Resize of opset 10, linear", 10, 10, [node("Resize", ["x", "scales"], mode="linear")], {"scales": np.array([1, 1, 2, 2], F)}
    yield "Upsample with attributes", 7, 8, [node("Upsample", "x", scales=[1.0, 1.0, 2.0, 3.0])], {}
    yield "Upsample with an input, linear", 9, 9, [node("Upsample", ["x", "scales"], mode="linear")], {"scales": np.array([1, 1, 2, 2], F)}
    yield "TopK with an attribute", 7, 9, [node("TopK", "x", ["y", "at"], k=3, axis=3)], {}
    yield "Scatter", 9, 10, [node("Scatter", ["x", "i", "u"], axis=3)], {"i": np.zeros((2, 3, 8, 1), np.int64), "u": rng.standard_normal((2, 3, 8, 1)).astype(F)}


def old_forms(report, program, folder, rng):
    x = rng.standard_normal((2, 3, 8, 8)).astype(F)
    for name, first, last, nodes, constants in old_cases(x, rng):
        for opset in sorted({first, last}):
            def same(opset=opset, nodes=nodes, constants=constants):
                model = model_of(opset, nodes, {"x": x}, constants)
                return same_results(program, folder, model, {"x": x})

            report.case(f"{name}, opset {opset}", same)


def same_results(program, folder, model, feeds, tolerance=TOLERANCE):
    source = folder / "in.onnx"
    onnx.save(model, source)
    target = convert(program, source, folder / "out.onnx")
    error = largest_error(run(source, feeds), run(target, feeds))
    assert error <= tolerance, f"error {error:.2e} of the range"
    return f"{error:.1e}"


def recurrent_layout(report, program, folder, rng):
    """ONNX Runtime has no layout 1: transposed operands are the reference."""
    batch, steps, features, hidden = 3, 5, 4, 6
    weights = {"w": rng.standard_normal((2, 4 * hidden, features)).astype(F), "r": rng.standard_normal((2, 4 * hidden, hidden)).astype(F),
               "b": rng.standard_normal((2, 8 * hidden)).astype(F)}
    feeds = {"x": rng.standard_normal((batch, steps, features)).astype(F), "h": rng.standard_normal((batch, 2, hidden)).astype(F),
             "c": rng.standard_normal((batch, 2, hidden)).astype(F)}

    def model(layout, values):
        lstm = node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "yh", "yc"], hidden_size=hidden, direction="bidirectional", layout=layout)
        return model_of(17, [lstm], values, weights, ["y", "yh", "yc"])

    def same():
        turned = {name: value.swapaxes(0, 1).copy() for name, value in feeds.items()}
        onnx.save(model(0, turned), folder / "reference.onnx")
        onnx.save(model(1, feeds), folder / "in.onnx")
        y, yh, yc = run(folder / "reference.onnx", turned)
        expected = [y.transpose(2, 0, 1, 3), yh.swapaxes(0, 1), yc.swapaxes(0, 1)]
        error = largest_error(expected, run(convert(program, folder / "in.onnx", folder / "out.onnx"), feeds))
        assert error <= TOLERANCE, f"error {error:.2e} of the range"

    report.case("LSTM of layout 1", same)


def codes(rng, kind, *shape):
    low, high = (0, 255) if kind == np.uint8 else (-127, 127)
    return rng.integers(low, high + 1, shape).astype(kind)


def integer_cases(rng):
    """(name, nodes, feeds, constants, type of y)"""
    u, s = np.uint8, np.int8
    x = codes(rng, u, 2, 4, 7, 7)
    w = codes(rng, s, 6, 4, 3, 3)
    steps = dict(xs=F(0.02), xz=u(120), ys=F(0.9), yz=u(117))
    conv = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    yield "QLinearConv", [node("QLinearConv", conv, pads=[1] * 4)], {"x": x}, dict(steps, w=w, ws=F(0.05), wz=s(0)), u
    yield "QLinearConv a channel, with bias", [node("QLinearConv", [*conv, "b"], strides=[2, 2])], {"x": x}, \
        dict(steps, w=w, ws=rng.uniform(0.02, 0.06, 6).astype(F), wz=np.zeros(6, s), b=rng.integers(-5000, 5000, 6).astype(np.int32)), u
    yield "QLinearConv, a zero point of shape [] beside a scale of [1]", [node("QLinearConv", conv)], {"x": x}, \
        dict(steps, xs=np.array([0.02], F), w=w, ws=np.array([0.05], F), wz=s(0)), u
    a, b = codes(rng, u, 3, 5, 8), codes(rng, s, 8, 6)
    matmul = ["a", "as", "az", "b", "bs", "bz", "ys", "yz"]
    yield "QLinearMatMul", [node("QLinearMatMul", matmul)], {"a": a}, \
        dict(b=b, az=u(128), bz=s(3), bs=F(0.04), ys=F(0.5), yz=u(100), **{"as": F(0.03)}), u
    yield "QLinearMatMul a column", [node("QLinearMatMul", matmul)], {"a": a}, \
        dict(b=b, az=u(128), bz=np.zeros(6, s), bs=rng.uniform(0.02, 0.05, 6).astype(F), ys=F(0.5), yz=u(100), **{"as": F(0.03)}), u
    yield "ConvInteger", [node("ConvInteger", ["x", "w", "xz", "wz"], pads=[1] * 4)], {"x": x}, dict(w=w, xz=u(120), wz=s(2)), np.int32
    yield "ConvInteger without zero points", [node("ConvInteger", ["x", "w"])], {"x": x}, dict(w=codes(rng, u, 6, 4, 3, 3)), np.int32
    yield "MatMulInteger, zero points a column", [node("MatMulInteger", ["a", "b", "az", "bz"])], {"a": a}, \
        dict(b=b, az=u(128), bz=codes(rng, s, 6)), np.int32
    yield "MatMulInteger", [node("MatMulInteger", ["a", "b", "az", "bz"])], {"a": a}, dict(b=b, az=u(128), bz=s(-4)), np.int32
    values = rng.standard_normal((3, 8)).astype(F)
    for name, data in (("", values), (" of positive values", np.abs(values) + 1), (" of zeros", np.zeros((2, 3), F))):
        yield "DynamicQuantizeLinear" + name, [node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])], {"x": data}, {}, u
    two = dict(**{"as": F(0.02)}, az=u(120), bs=F(0.03), bz=u(90), ys=F(0.05), yz=u(110))
    for op in ("QLinearAdd", "QLinearMul"):
        yield op, [node(op, ["a", "as", "az", "b", "bs", "bz", "ys", "yz"], domain="com.microsoft")], {"a": a, "b": codes(rng, u, 5, 8)}, two, u
    for op, more in (("QLinearSigmoid", {}), ("QLinearLeakyRelu", dict(alpha=0.2))):
        yield op, [node(op, ["a", "as", "az", "ys", "yz"], domain="com.microsoft", **more)], {"a": a}, dict(two, ys=F(0.02)), u
    yield "QLinearGlobalAveragePool", [node("QLinearGlobalAveragePool", ["x", "xs", "xz", "ys", "yz"], domain="com.microsoft", channels_last=0)], \
        {"x": x}, dict(steps, ys=F(0.01)), u
    yield "QLinearAveragePool", [node("QLinearAveragePool", ["x", "xs", "xz", "ys", "yz"], domain="com.microsoft", kernel_shape=[3, 2], strides=[2, 1],
                                      pads=[1, 0, 1, 0])], {"x": x}, dict(steps, ys=F(0.01)), u
    yield "QLinearSoftmax", [node("QLinearSoftmax", ["a", "as", "az", "ys", "yz"], domain="com.microsoft", axis=-1, opset=13)], {"a": a}, \
        dict(two, ys=F(1 / 256), yz=u(0)), u
    yield "QLinearWhere", [node("QLinearWhere", ["c", "a", "as", "az", "b", "bs", "bz", "ys", "yz"], domain="com.microsoft")], \
        {"a": a, "b": codes(rng, u, 5, 8)}, dict(two, c=rng.integers(0, 2, (5, 1)).astype(np.bool_)), u
    yield "QuantizeLinear of com.microsoft", [node("QuantizeLinear", ["x", "s", "z"], domain="com.microsoft")], {"x": values}, dict(s=F(0.02), z=u(7)), u
    yield "DequantizeLinear of com.microsoft", [node("DequantizeLinear", ["a", "s", "z"], domain="com.microsoft")], {"a": a}, dict(s=F(0.02), z=u(7)), F
    yield "QLinearConcat", [node("QLinearConcat", ["ys", "yz", "a", "as", "az", "b", "bs", "bz"], domain="com.microsoft", axis=1)], \
        {"a": a, "b": codes(rng, u, 3, 2, 8)}, two, u
    yield "QGemm", [node("QGemm", ["a", "as", "az", "b", "bs", "bz", "c", "ys", "yz"], domain="com.microsoft", transB=1)], \
        {"a": codes(rng, u, 3, 8)}, dict(two, b=codes(rng, s, 6, 8), bz=s(0), ys=F(0.4), c=rng.integers(-500, 500, 6).astype(np.int32)), u
    # Of 7 bits: with 8, ONNX Runtime's pairs of products saturate on processors without VNNI.
    small = (b // 2).astype(b.dtype)
    yield "MatMulIntegerToFloat", [node("MatMulIntegerToFloat", ["a", "b", "as", "bs", "az", "bz", "bias"], domain="com.microsoft")], {"a": a}, \
        dict(b=small, az=u(128), bz=s(0), bs=F(0.03), bias=rng.standard_normal(6).astype(F), **{"as": F(0.02)}), F
    yield "DynamicQuantizeMatMul", [node("DynamicQuantizeMatMul", ["x", "b", "bs", "bz", "bias"], domain="com.microsoft")], {"x": values}, \
        dict(b=b, bs=F(0.03), bz=s(0), bias=rng.standard_normal(6).astype(F)), F


def dynamic_lstm(rng, direction, kind, columns=False):
    """The node, its feeds and its constants; scales a direction, or a column of each."""
    directions, features, hidden = 2 if direction == "bidirectional" else 1, 5, 6
    x = rng.standard_normal((7, 3, features)).astype(F)
    constants = {"b": (0.1 * rng.standard_normal((directions, 8 * hidden))).astype(F)}
    for name, rows in (("w", features), ("r", hidden)):
        shape = (directions, 4 * hidden) if columns else (directions,)
        constants |= {name: codes(rng, kind, directions, rows, 4 * hidden), f"{name}s": rng.uniform(0.003, 0.006, shape).astype(F),
                      f"{name}z": (np.full(shape, 120) if kind == np.uint8 else np.zeros(shape)).astype(kind)}
    made = node("DynamicQuantizeLSTM", ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"], ["y", "yh", "yc"], domain="com.microsoft",
                hidden_size=hidden, direction=direction)
    return made, {"x": x}, constants


def dynamic_lstms(report, program, folder, rng):
    """Kept as it is, state rounded at every step: the same bits."""
    for direction in ("forward", "reverse", "bidirectional"):
        for kind, columns in ((np.uint8, False), (np.int8, False), (np.int8, True)):
            def same(direction=direction, kind=kind, columns=columns):
                made, feeds, constants = dynamic_lstm(rng, direction, kind, columns)
                model = model_of(13, [made], feeds, constants, ["y", "yh", "yc"])
                onnx.save(model, folder / "in.onnx")
                target = convert(program, folder / "in.onnx", folder / "out.onnx")
                for expected, found in zip(run(folder / "in.onnx", feeds), run(target, feeds)):
                    np.testing.assert_array_equal(expected, found)
                done = ds_export(program, "--model", folder / "in.onnx", "--describe")
                assert "0 values in 0 tensors train" in done.stdout, done.stdout

            report.case(f"DynamicQuantizeLSTM {direction} {np.dtype(kind).name}{' a column' if columns else ''}", same)

    def refused():
        made, feeds, constants = dynamic_lstm(rng, "forward", np.uint8)
        for wrong, words in ({"ws": constants["ws"][:0]}, "scale or zero point"), ({"w": constants["w"].astype(np.int32)}, "int8 or uint8"), \
                ({"wz": constants["wz"].astype(np.int8)}, "zero point of W"), ({"r": constants["r"][:, :, :-1]}, "R"):
            onnx.save(model_of(13, [made], feeds, constants | wrong, ["y", "yh", "yc"]), folder / "in.onnx")
            done = ds_export(program, "--model", folder / "in.onnx", "--describe")
            assert done.returncode == 1 and words in done.stderr, done.stderr

    report.case("DynamicQuantizeLSTM of operands that do not fit", refused)


def integers(report, program, folder, rng):
    for name, nodes, feeds, constants, kind in integer_cases(rng):
        def within_a_code(nodes=nodes, feeds=feeds, constants=constants, kind=kind):
            outputs = list(nodes[-1].output)
            model = model_of(13, nodes, feeds, constants, outputs[:1], helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
            for extra, one in zip(outputs[1:], (FLOAT, TensorProto.UINT8)):
                model.graph.output.append(helper.make_tensor_value_info(extra, one, []))
            onnx.save(model, folder / "in.onnx")
            target = convert(program, folder / "in.onnx", folder / "out.onnx")
            for expected, found in zip(run(folder / "in.onnx", feeds), run(target, feeds)):
                assert expected.dtype == found.dtype and expected.shape == found.shape
                if expected.dtype == np.float32:
                    assert largest_error([expected], [found]) <= TOLERANCE
                else:
                    off = np.abs(expected.astype(np.int64) - found)
                    assert off.max() <= (0 if expected.dtype == np.int32 else 1), f"{off.max()} codes off"
                    assert np.mean(off != 0) <= 0.01, f"{np.mean(off != 0):.1%} of the codes differ"

        report.case(name, within_a_code)


def small_network(rng):
    """Convolutions with and without a skip, a classifier."""
    def weight(*shape):
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(F)

    nodes = [node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4), node("Relu", ["c1"], ["r1"]),
             node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1] * 4), node("Add", ["c2", "r1"], ["sum"]), node("Relu", ["sum"], ["r2"]),
             node("MaxPool", ["r2"], ["p"], kernel_shape=[2, 2], strides=[2, 2]), node("GlobalAveragePool", ["p"], ["g"]),
             node("Flatten", ["g"], ["f"]), node("Gemm", ["f", "w3", "b3"], ["h"], transB=1), node("Sigmoid", ["h"], ["s"]),
             node("MatMul", ["s", "w4"], ["y"])]
    constants = dict(w1=weight(8, 3, 3, 3), b1=weight(8), w2=weight(8, 8, 3, 3), b2=weight(8), w3=weight(16, 8), b3=weight(16), w4=weight(16, 5))
    return model_of(13, nodes, {"x": np.zeros((4, 3, 10, 10), F)}, constants)


class Samples(CalibrationDataReader):
    def __init__(self, samples):
        self.rest = iter([{"x": sample} for sample in samples])

    def get_next(self):
        return next(self.rest, None)


def quantised_files(report, program, folder, rng):
    logging.getLogger().setLevel(logging.ERROR)
    samples = [rng.standard_normal((4, 3, 10, 10)).astype(F) for _ in range(4)]
    onnx.save(small_network(rng), folder / "float.onnx")

    def compare(tolerance):
        target = convert(program, folder / "quantised.onnx", folder / "out.onnx")
        error = largest_error(run(folder / "quantised.onnx", {"x": samples[0]}), run(target, {"x": samples[0]}))
        assert error <= tolerance, f"error {error:.2e} of the range"
        return f"{error:.1e}"

    def static(form, channels, kind):
        quantize_static(folder / "float.onnx", folder / "quantised.onnx", Samples(samples), quant_format=form, per_channel=channels,
                        activation_type=kind, weight_type=QuantType.QInt8)
        return compare(0.01)  # a code of the last layer's input is about so much

    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        for channels in (False, True):
            for kind in (QuantType.QUInt8, QuantType.QInt8):
                report.case(f"quantize_static {form.name} {'a channel' if channels else 'a tensor'} {kind.name}",
                            lambda form=form, channels=channels, kind=kind: static(form, channels, kind))

    def dynamic(kind):
        quantize_dynamic(folder / "float.onnx", folder / "quantised.onnx", weight_type=kind)
        return compare(0.01)

    for kind in (QuantType.QUInt8, QuantType.QInt8):
        report.case(f"quantize_dynamic {kind.name}", lambda kind=kind: dynamic(kind))


def blocks_of_bits(report, program, folder, rng):
    """MatMulNBits, as ONNX Runtime's weight-only quantiser writes it; its own quantiser makes the file."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    def same(bits, block, symmetric, features):
        x = {"x": rng.standard_normal((2, 3, features)).astype(F)}
        weights = {"w": rng.standard_normal((features, 24)).astype(F), "v": rng.standard_normal((24, 16)).astype(F)}
        model = model_of(17, [node("MatMul", ["x", "w"], ["h"]), node("MatMul", ["h", "v"])], x, weights)
        made = MatMulNBitsQuantizer(model, bits=bits, block_size=block, is_symmetric=symmetric)
        made.process()
        made.model.save_model_to_file(str(folder / "in.onnx"))
        assert sum(n.op_type == "MatMulNBits" for n in onnx.load(str(folder / "in.onnx")).graph.node) == 2
        target = convert(program, folder / "in.onnx", folder / "out.onnx")
        # By default ONNX Runtime multiplies what it fuses itself in int8, and MatMulNBits as the file's accuracy_level says.
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
        fused = onnxruntime.InferenceSession(str(target), options, providers=["CPUExecutionProvider"]).run(None, x)
        error = largest_error(run(folder / "in.onnx", x), fused)
        assert error <= TOLERANCE, f"error {error:.2e} of the range"
        assert [n.op_type for n in onnx.load(str(target)).graph.node].count("DequantizeLinear") == 2
        return f"{error:.1e}"

    for bits, block, symmetric, features in ((4, 32, True, 64), (4, 16, False, 48), (4, 32, False, 56), (8, 32, True, 64), (8, 32, False, 40)):
        report.case(f"MatMulNBits of {bits} bits in blocks of {block}, {'symmetric' if symmetric else 'with zero points'}, K {features}",
                    lambda b=bits, k=block, s=symmetric, f=features: same(b, k, s, f))


def optimised_files(report, program, folder, rng):
    """What ONNX Runtime writes of a model it optimised: its fused operators."""
    def optimised(model, feeds, fused):
        onnx.save(model, folder / "float.onnx")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(folder / "in.onnx")
        onnxruntime.InferenceSession(str(folder / "float.onnx"), options, providers=["CPUExecutionProvider"])
        ops = [n.op_type for n in onnx.load(str(folder / "in.onnx")).graph.node]
        assert fused in ops, f"ONNX Runtime fused otherwise: {ops}"
        target = convert(program, folder / "in.onnx", folder / "out.onnx")
        error = largest_error(run(folder / "float.onnx", feeds), run(target, feeds))
        assert error <= TOLERANCE, f"error {error:.2e} of the range"

    image = {"x": rng.standard_normal((4, 3, 10, 10)).astype(F)}
    report.case("FusedConv", lambda: optimised(small_network(rng), image, "FusedConv"))
    rows = {"x": rng.standard_normal((2, 5, 8)).astype(F)}
    w = rng.standard_normal((8, 8)).astype(F)
    gelu = [node("MatMul", ["x", "w"], ["h"]), node("Div", ["h", "root"], ["d"]), node("Erf", ["d"], ["e"]), node("Add", ["e", "one"], ["p"]),
            node("Mul", ["h", "p"], ["m"]), node("Mul", ["m", "half"])]
    report.case("Gelu", lambda: optimised(model_of(17, gelu, rows, {"w": w, "root": F(np.sqrt(2)), "one": F(1), "half": F(0.5)}), rows, "Gelu"))
    scaled = [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("MatMul", ["x", "t"], ["m"]), node("Mul", ["m", "half"])]
    report.case("FusedMatMul", lambda: optimised(model_of(17, scaled, rows, {"half": F(0.25)}), rows, "FusedMatMul"))

    def direct(op, inputs, constants, **attributes):
        return lambda: same_results(program, folder, model_of(17, [node(op, ["x", *inputs], domain="com.microsoft", **attributes)], rows, constants), rows)

    g, b = rng.uniform(0.5, 1.5, 8).astype(F), rng.standard_normal(8).astype(F)
    report.case("BiasGelu", direct("BiasGelu", ["b"], {"b": b}))
    report.case("FastGelu", direct("FastGelu", ["b"], {"b": b}))
    report.case("QuickGelu", direct("QuickGelu", [], {}, alpha=1.3))
    report.case("SkipLayerNormalization", direct("SkipLayerNormalization", ["x", "g", "b", "g"], {"g": g, "b": b}, epsilon=1e-3))
    report.case("SkipLayerNormalization, its sum", lambda: same_results(program, folder, model_of(
        17, [node("SkipLayerNormalization", ["x", "x", "g", "b"], ["n", "", "", "sum"], domain="com.microsoft"), node("Add", ["n", "sum"])],
        rows, {"g": g, "b": b}), rows))
    report.case("SkipSimplifiedLayerNormalization", direct("SkipSimplifiedLayerNormalization", ["x", "g", "b"], {"g": g, "b": b}, epsilon=1e-3))
    report.case("SimplifiedLayerNormalization", lambda: same_results(program, folder, model_of(
        17, [node("SimplifiedLayerNormalization", ["x", "g"], epsilon=1e-3, axis=-1)], rows, {"g": g}), rows))
    # An attribute is a float32; what it meets is not.
    wide = {"x": rows["x"].astype(np.float64)}
    report.case("SimplifiedLayerNormalization in double precision", lambda: same_results(program, folder, model_of(
        17, [node("SimplifiedLayerNormalization", ["x", "g"], epsilon=1e-3, axis=-1)], wide, {"g": g.astype(np.float64)}, kind=TensorProto.DOUBLE), wide))
    report.case("FusedMatMul in double precision", lambda: same_results(program, folder, model_of(
        17, [node("FusedMatMul", ["x", "w"], domain="com.microsoft", alpha=0.3)], wide, {"w": w.astype(np.float64)}, kind=TensorProto.DOUBLE), wide))
    report.case("TransposeMatMul", direct("TransposeMatMul", ["w"], {"w": w}, transB=1, alpha=0.5))
    flat = {"x": rows["x"][0]}
    for activation in ("Relu", "Sigmoid", "Tanh", "LeakyRelu"):
        more = dict(activation_alpha=0.2) if activation == "LeakyRelu" else {}
        gemm = node("FusedGemm", ["x", "w", "b"], domain="com.microsoft", transB=1, alpha=0.5, activation=activation, **more)
        report.case(f"FusedGemm {activation}", lambda gemm=gemm: same_results(program, folder, model_of(17, [gemm], flat, {"w": w, "b": b}), flat))
    for activation, parameters in (("Clip", [-0.5, 0.5]), ("HardSigmoid", [0.3, 0.4]), ("LeakyRelu", [0.1])):
        conv = node("FusedConv", ["x", "w", "b"], domain="com.microsoft", activation=activation, activation_params=parameters)
        constants = {"w": rng.standard_normal((4, 3, 3, 3)).astype(F), "b": b[:4]}
        report.case(f"FusedConv {activation}", lambda conv=conv, constants=constants: same_results(
            program, folder, model_of(17, [conv], image, constants), image))

    def refused(op):
        onnx.save(model_of(17, [node(op, ["x", "w", "b"], domain="com.microsoft", num_heads=2)], rows, {"w": w, "b": b}), folder / "in.onnx")
        done = ds_export(program, "--model", folder / "in.onnx", "--describe")
        assert done.returncode == 1 and "com.microsoft" in done.stderr and f'"{op}"' in done.stderr, done.stderr

    for op in ("Attention", "QAttention", "MultiHeadAttention", "GroupQueryAttention", "EmbedLayerNormalization", "QEmbedLayerNormalization", "NhwcFusedConv",
               "BiasSoftmax"):
        report.case(f"{op} of com.microsoft is refused by name", lambda op=op: refused(op))


def sequences(report, program, folder, rng):
    """torch.split by PyTorch's newer exporter."""
    image = {"x": rng.standard_normal((2, 7, 6)).astype(F)}
    at = {"sizes": ints(1, 4, 2), "three": np.array(3, np.int64), **{f"i{i}": np.array(i, np.int64) for i in (0, 1, 2)}, "last": np.array(-1, np.int32)}

    def parts(split, *positions, last=(), **attributes):
        nodes = [node("SplitToSequence", split, ["s"], **attributes)]
        nodes += [node("SequenceAt", ["s", position], [f"p{k}"]) for k, position in enumerate(positions)]
        return nodes + list(last or [node("Concat", [f"p{k}" for k in range(len(positions))], axis=1)])

    def case(name, nodes, kind=FLOAT, ops=None):
        def same():
            model = model_of(17, nodes, image, at, kind=kind)
            same_results(program, folder, model, image)
            found = [n.op_type for n in onnx.load(str(folder / "out.onnx")).graph.node]
            assert ops is None or found == ops, found

        report.case(f"sequence: {name}", same)

    case("of sizes", parts(["x", "sizes"], "i2", "i0", "i1", axis=1), ops=["Split", "Concat"])
    case("of one size, the last part smaller", parts(["x", "three"], "last", "i0", axis=1))
    case("of slices", parts(["x"], "i2", "last", axis=-1, keepdims=0))
    case("of slices that keep their axis", parts(["x"], "i1", "i0", axis=2))
    case("joined", parts(["x", "sizes"], axis=1, last=[node("ConcatFromSequence", ["s"], axis=1)]))
    case("stacked", [node("Relu", "x", ["r"]), node("SequenceConstruct", ["x", "r"], ["s"]), node("ConcatFromSequence", ["s"], axis=1, new_axis=1)])
    case("its length", parts(["x", "three"], axis=1, last=[node("SequenceLength", ["s"], ["n"]), node("Cast", ["n"], to=TensorProto.FLOAT)]))

    def refused(nodes, *words, constants=at):
        onnx.save(model_of(17, nodes, image, constants), folder / "in.onnx")
        done = ds_export(program, "--model", folder / "in.onnx", "--describe")
        assert done.returncode == 1 and all(word in done.stderr for word in words), done.stderr

    sized = [node("Shape", ["x"], ["h"], start=1, end=2), node("SplitToSequence", ["x", "h"], ["s"], axis=1), node("SequenceAt", ["s", "i0"])]
    report.case("sequence: sizes that the network computes", lambda: refused(sized, "SplitToSequence", "constant"))
    report.case("sequence: a position outside", lambda: refused(parts(["x", "three"], "four", axis=1), "position 4", constants=at | {"four": ints(4)}))
    report.case("sequence: parts without size", lambda: refused(parts(["x", "none"], "i0", axis=1), "size is 0", constants=at | {"none": np.array(0, np.int64)}))
    report.case("sequence: as an output", lambda: refused([node("SplitToSequence", ["x"])], "not a tensor but a sequence"))
    report.case("sequence: read as a whole", lambda: refused([node("SplitToSequence", ["x"], ["s"]), node("Relu", ["s"])], "as a whole"))


def main(program):
    report = Report()
    rng = np.random.default_rng(SEED)
    print(f"seed {SEED}")
    with tempfile.TemporaryDirectory() as folder:
        for cases in (old_forms, recurrent_layout, integers, dynamic_lstms, blocks_of_bits, quantised_files, optimised_files, sequences):
            cases(report, program, pathlib.Path(folder), rng)
    report.finish(at_least=120)


if __name__ == "__main__":
    main(sys.argv[1])
