"""Every operator that docs/onnx.md names, in every form it has had from opset 7 to the newest: import, executor and export agree with ONNX Runtime.

    python3 opset_forms_test.py build/tests/executor/ds_executor_node_runner [OPERATOR]

An operator's cases are made for the first and the last opset of each of its versions, as the onnx package lists them; where ONNX Runtime does not know
an opset or has no kernel, the standard's own evaluator is the oracle.
"""
import pathlib
import re
import sys
import tempfile

from model_cases import Case, check_cases
import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper

SEED = 20261130
RNG = np.random.default_rng(SEED)
F = np.float32
OLDEST, NEWEST = 7, defs.onnx_opset_version()
DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs/onnx.md"
OURS = {"SiLU": "Swish"}  # our name: the standard's
CONTRIB = {"DynamicQuantizeLSTM"}  # ONNX Runtime's, which has no opsets: odd_models_test.py
LAST = {"Upsample": 9, "Scatter": 10}  # replaced from then on
IR_OF_OPSET = {7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13,
               26: 13, 27: 13, 28: 14}
FORMS = {}  # operator: function of an opset that yields (what, inputs by name, constants by name, outputs, attributes)


def floats(*shape):
    return RNG.standard_normal(shape).astype(F)


def ints(*values):
    return np.array(values, np.int64)


def form(*ops):
    def keep(function):
        for op in ops:
            FORMS[op] = function
        return function

    return keep


def simple(ops, *inputs, constants=None, outputs=1, **attributes):
    """The same inputs and attributes at every opset; the values are the same for all of them."""
    for op in ops.split():
        FORMS[op] = lambda opset: [("", {f"x{i}": value for i, value in enumerate(inputs)}, constants or {}, outputs, attributes)]


X = floats(2, 3, 5, 4)
POSITIVE = np.abs(X) + F(0.1)
UNIT = np.tanh(X).astype(F)
BITS = X > 0
WHOLE = np.round(3 * X).astype(F)

simple("Relu LeakyRelu Elu Selu Celu Gelu Swish HardSwish HardSigmoid Mish Sigmoid Tanh Softplus Softsign ThresholdedRelu Shrink Neg Abs Sign Exp Erf Round "
       "Floor Ceil Sin Cos Tan Atan Sinh Cosh Asinh Identity IsNaN Shape Size NonZero GlobalAveragePool GlobalMaxPool GlobalLpPool LpNormalization", X)
simple("Reciprocal Sqrt Log", POSITIVE)
simple("Asin Acos Atanh", UNIT)
simple("Acosh", POSITIVE + 1)
simple("IsInf", np.where(X > 1, F(np.inf), X))
simple("Add Sub Mul", X, floats(5, 1))
simple("Div Pow", POSITIVE, POSITIVE[:, :1])
simple("Sum Mean Max Min", X, X[::-1].copy(), floats(4))
simple("PRelu", X, constants={"slope": floats(3, 1, 1)})
simple("And Or Xor", BITS, BITS[::-1].copy())
simple("Not", BITS)
simple("BitwiseAnd BitwiseOr BitwiseXor", WHOLE.astype(np.int32), ints(5, 3, 6, 1).astype(np.int32))
simple("BitwiseNot", WHOLE.astype(np.int32))
simple("Less Greater LessOrEqual GreaterOrEqual", WHOLE, WHOLE[::-1].copy())
simple("Where", BITS, X, floats(4))
simple("MatMul", X, floats(4, 6))
simple("Einsum", X, floats(4, 6), equation="abij,jk->abik")
simple("Conv", X, constants={"w": floats(4, 3, 3, 3), "b": floats(4)}, pads=[1, 0, 1, 0], strides=[2, 1])
simple("ConvTranspose", X, constants={"w": floats(3, 2, 3, 3), "b": floats(2)}, strides=[2, 1], output_padding=[1, 0])
simple("LRN", X, size=3)
simple("LayerNormalization RMSNormalization", X, constants={"s": floats(4)}, axis=-1)
simple("InstanceNormalization", X, constants={"s": floats(3), "b": floats(3)})
simple("MeanVarianceNormalization", X, axes=[0, 2, 3])
simple("LpPool", X, kernel_shape=[2, 2], strides=[2, 2])
simple("Transpose", X, perm=[0, 2, 3, 1])
simple("Expand", floats(3, 1, 4), constants={"to": ints(2, 1, 5, 1)})
simple("Tile", X, constants={"times": ints(1, 2, 1, 3)})
simple("Concat", X, floats(2, 2, 5, 4), axis=1)
simple("CumSum", X, constants={"axis": np.int64(2)}, reverse=1)
simple("Trilu", X, constants={"k": np.int64(-1)}, upper=1)
simple("DepthToSpace", floats(1, 8, 2, 3), blocksize=2)
simple("SpaceToDepth", floats(1, 2, 4, 6), blocksize=2)
simple("GatherElements", X, constants={"at": RNG.integers(0, 4, (2, 3, 5, 2))}, axis=3)
simple("Gather", X, constants={"at": ints(3, 0)}, axis=3)
simple("GatherND", X, constants={"at": np.array([[0, 2], [1, 0]])})
simple("ScatterElements Scatter", X, constants={"at": RNG.integers(0, 5, (2, 3, 1, 4)), "new": floats(2, 3, 1, 4)}, axis=2)
simple("ScatterND", X, constants={"at": np.array([[1, 2], [0, 0]]), "new": floats(2, 5, 4)})
simple("OneHot", RNG.integers(0, 3, (2, 4)), constants={"depth": np.int64(3), "values": np.array([0, 1], F)})
simple("EyeLike", floats(3, 4), k=1)
simple("DynamicQuantizeLinear", X, outputs=3)
simple("NonMaxSuppression", np.sort(RNG.uniform(0, 1, (1, 6, 4)).astype(F), -1), RNG.uniform(0, 1, (1, 2, 6)).astype(F),
       constants={"most": np.int64(3), "iou": F(0.5)})
simple("GridSample", X, RNG.uniform(-1, 1, (2, 3, 4, 2)).astype(F))
simple("STFT", np.sin(np.arange(80, dtype=F)).reshape(2, 40, 1), constants={"step": np.int64(5), "window": np.hanning(12).astype(F)})
simple("Range", ints(3), constants={"start": np.int64(1), "delta": np.int64(2)})


@form("Range")
def span(opset):
    yield "", {"limit": np.array(9, np.int64)}, {"start": np.int64(1), "delta": np.int64(2)}, 1, {"order": ["start", "limit", "delta"]}


@form("Equal")
def equal(opset):
    yield "whole", {"a": WHOLE.astype(np.int64), "b": WHOLE[::-1].astype(np.int64)}, {}, 1, {}
    if opset >= 11:
        yield "floats", {"a": WHOLE, "b": WHOLE[::-1].copy()}, {}, 1, {}


@form("Mod")
def mod(opset):
    yield "whole", {"a": WHOLE.astype(np.int64)}, {"b": np.int64(3)}, 1, {}
    yield "fmod", {"a": X}, {"b": F(0.7)}, 1, {"fmod": 1}


@form("Gemm")
def gemm(opset):
    a, b = floats(3, 4), floats(5, 4)
    yield "scaled", {"a": a}, {"b": b, "c": floats(5)}, 1, {"transB": 1, "alpha": 0.5, "beta": 2.0}
    if opset >= 11:
        yield "without C", {"a": a}, {"b": b}, 1, {"transB": 1}


@form("LSTM", "GRU", "RNN")
def recurrent(opset):
    yield "", {"x": floats(5, 2, 4)}, {"w": floats(2, 4 * 3, 4), "r": floats(2, 4 * 3, 3)}, 2, {"hidden_size": 3, "direction": "bidirectional"}


@form("MaxPool")
def max_pool(opset):
    shape = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 0]}
    yield "padded", {"x": X}, {}, 1, shape
    if opset >= 10:
        yield "ceil, dilated", {"x": X}, {}, 1, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "dilations": [2, 1]}


@form("AveragePool")
def average_pool(opset):
    yield "padded", {"x": X}, {}, 1, {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 0], "count_include_pad": 1}
    if opset >= 19:
        yield "dilated", {"x": X}, {}, 1, {"kernel_shape": [2, 2], "dilations": [2, 1]}


@form("Dropout")
def dropout(opset):
    if opset < 12:
        yield "by attribute", {"x": X}, {}, 1, {"ratio": 0.4}
    else:
        yield "by input", {"x": X}, {"ratio": F(0.4)}, 1, {}
    yield "bare", {"x": X}, {}, 1, {}


@form("BatchNormalization")
def batch_norm(opset):
    operands = {"s": floats(3), "b": floats(3), "m": floats(3), "v": np.abs(floats(3)) + F(0.5)}
    yield "", {"x": X}, operands, 1, {"epsilon": 1e-3, "momentum": 0.8}
    if opset >= 14:
        yield "training_mode 0", {"x": X}, operands, 1, {"training_mode": 0}


@form("GroupNormalization")
def group_norm(opset):
    channels = 2 if opset < 21 else 4
    yield "", {"x": floats(2, 4, 3, 3)}, {"s": floats(channels), "b": floats(channels)}, 1, {"num_groups": 2}


@form("Softmax", "LogSoftmax", "Hardmax")
def softmax(opset):
    """Before 13 over all axes from `axis` on, 1 by default; since then over one, the last by default."""
    for axis in (None, 0, 1, 2, -1):
        if axis != -1 or opset >= 11:
            yield f"axis {axis}", {"x": X}, {}, 1, {} if axis is None else {"axis": axis}


@form("Clip")
def clip(opset):
    if opset < 11:
        yield "both", {"x": X}, {}, 1, {"min": -0.5, "max": 0.25}
        yield "max", {"x": X}, {}, 1, {"max": 0.25}
    else:
        yield "both", {"x": X}, {"min": F(-0.5), "max": F(0.25)}, 1, {}
        yield "max", {"x": X}, {"max": F(0.25)}, 1, {"order": ["x", "", "max"]}
    if opset >= 12:
        yield "whole", {"x": WHOLE.astype(np.int64)}, {"min": np.int64(-1), "max": np.int64(2)}, 1, {}


@form("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")
def reduction(opset, op):
    by_input = opset >= (13 if op == "ReduceSum" else 18)
    data = {"x": POSITIVE}
    for keep in (0, 1):
        if by_input:
            yield f"axes, keepdims {keep}", data, {"axes": ints(1, 3)}, 1, {"keepdims": keep}
        else:
            yield f"axes, keepdims {keep}", data, {}, 1, {"axes": [1, 3], "keepdims": keep}
        yield f"all, keepdims {keep}", data, {}, 1, {"keepdims": keep}
    if opset >= 11 and not by_input:
        yield "from the end", data, {}, 1, {"axes": [-1]}
    if by_input:
        yield "from the end", data, {"axes": ints(-1)}, 1, {}
        yield "nothing", data, {}, 1, {"noop_with_empty_axes": 1}


@form("ArgMax", "ArgMin")
def arg(opset):
    yield "", {"x": X}, {}, 1, {"axis": 2, "keepdims": 0}
    if opset >= 12:
        yield "the last of equals", {"x": WHOLE}, {}, 1, {"axis": 2, "select_last_index": 1}


@form("TopK")
def top_k(opset):
    if opset < 10:
        yield "", {"x": X}, {}, 2, {"k": 2, "axis": 2}
    else:
        yield "", {"x": X}, {"k": ints(2)}, 2, {"axis": 2}
    if opset >= 11:
        yield "least", {"x": X}, {"k": ints(2)}, 2, {"axis": -1, "largest": 0}


@form("Reshape")
def reshape(opset):
    yield "0 and -1", {"x": X}, {"to": ints(0, -1, 2)}, 1, {}
    if opset >= 14:
        yield "allowzero", {"x": X[:0]}, {"to": ints(3, 0)}, 1, {"allowzero": 1}


@form("Flatten")
def flatten(opset):
    yield "", {"x": X}, {}, 1, {"axis": 2}
    if opset >= 11:
        yield "from the end", {"x": X}, {}, 1, {"axis": -1}


@form("Squeeze", "Unsqueeze")
def squeeze(opset, op):
    x = floats(1, 3, 1, 4)
    axes = [0, 2] if opset < 11 else [0, -2]
    if opset < 13:
        yield "", {"x": x}, {}, 1, {"axes": axes}
    else:
        yield "", {"x": x}, {"axes": ints(*axes)}, 1, {}
    if op == "Squeeze":
        yield "all", {"x": x}, {}, 1, {}


@form("Split")
def split(opset):
    x = floats(2, 6)
    if opset < 13:
        yield "sizes", {"x": x}, {}, 2, {"axis": 1, "split": [2, 4]}
    else:
        yield "sizes", {"x": x}, {"split": ints(2, 4)}, 2, {"axis": 1}
    yield "equal parts", {"x": x}, {}, 3, {"axis": 1} | ({"num_outputs": 3} if opset >= 18 else {})
    if opset >= 18:
        yield "a smaller last part", {"x": x}, {}, 4, {"axis": 1, "num_outputs": 4}


@form("Slice")
def cut(opset):
    if opset < 10:
        yield "", {"x": X}, {}, 1, {"starts": [1, 0], "ends": [4, -1], "axes": [2, 3]}
        yield "without axes", {"x": X}, {}, 1, {"starts": [0, 1], "ends": [1000, 3]}
    else:
        yield "", {"x": X}, {"b": ints(1, 0), "e": ints(4, -1), "a": ints(2, 3)}, 1, {}
        yield "steps", {"x": X}, {"b": ints(-1, 0), "e": ints(-1000, 4), "a": ints(2, 3), "s": ints(-2, 3)}, 1, {}


@form("Pad")
def pad(opset):
    pads = [0, 0, 1, 2, 0, 0, 0, 1]
    for mode in ("constant", "reflect", "edge") + (("wrap",) if opset >= 19 else ()):
        if opset < 11:
            yield mode, {"x": X}, {}, 1, {"mode": mode, "pads": pads} | ({"value": 1.5} if mode == "constant" else {})
        else:
            yield mode, {"x": X}, {"pads": ints(*pads)} | ({"value": F(1.5)} if mode == "constant" else {}), 1, {"mode": mode}
    if opset >= 18:
        yield "axes", {"x": X}, {"pads": ints(1, 2, 0, 1), "axes": ints(-1, 1)}, 1, {"order": ["x", "pads", "", "axes"]}


@form("Resize")
def resize(opset):
    x, scales = floats(1, 2, 4, 6), np.array([1, 1, 1.5, 2], F)
    for mode in ("nearest", "linear"):
        if opset == 10:
            yield mode, {"x": x}, {"scales": scales}, 1, {"mode": mode}
            continue
        roi = {} if opset >= 13 else {"roi": np.zeros(0, F)}
        order = ["x", "roi" if roi else "", "scales"]
        for how in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
            yield f"{mode} {how}", {"x": x}, roi | {"scales": scales}, 1, {"mode": mode, "coordinate_transformation_mode": how, "order": order}
        empty = {} if opset >= 13 else {"roi": np.zeros(0, F), "scales": np.zeros(0, F)}
        yield f"{mode} to sizes", {"x": x}, empty | {"sizes": ints(1, 2, 7, 9)}, 1, \
            {"mode": mode, "order": ["x", "roi" if empty else "", "scales" if empty else "", "sizes"]}
    if opset >= 11:
        yield "cubic", {"x": x}, {"roi": np.zeros(0, F), "scales": scales}, 1, {"mode": "cubic", "cubic_coeff_a": -0.5}
    if opset >= 18:
        yield "axes, antialias", {"x": x}, {"sizes": ints(3, 3)}, 1, \
            {"mode": "linear", "antialias": 1, "axes": [2, 3], "order": ["x", "", "", "sizes"]}


@form("Upsample")
def upsample(opset):
    x, scales = floats(1, 2, 4, 6), np.array([1, 1, 2, 3], F)
    for mode in ("nearest", "linear"):
        if opset < 9:
            yield mode, {"x": x}, {}, 1, {"mode": mode, "scales": list(map(float, scales))}
        else:
            yield mode, {"x": x}, {"scales": scales}, 1, {"mode": mode}


@form("RoiAlign")
def roi_align(opset):
    boxes = np.array([[0, 0, 3, 3], [1, 0, 2.5, 4]], F)
    yield "", {"x": X, "boxes": boxes}, {"batch": ints(0, 1)}, 1, {"output_height": 2, "output_width": 2, "sampling_ratio": 2}
    if opset >= 16:
        yield "half_pixel", {"x": X, "boxes": boxes}, {"batch": ints(0, 1)}, 1, \
            {"output_height": 2, "output_width": 2, "sampling_ratio": 2, "coordinate_transformation_mode": "half_pixel"}


@form("Constant")
def constant(opset):
    yield "value", {}, {}, 1, {"value": numpy_helper.from_array(X)}
    if opset >= 12:
        yield "value_floats", {}, {}, 1, {"value_floats": [1.0, 2.5]}
        yield "value_int", {}, {}, 1, {"value_int": 7}


@form("ConstantOfShape")
def filled(opset):
    yield "", {"x": ints(2, 3)}, {}, 1, {"value": numpy_helper.from_array(np.array([2.5], F))}
    yield "default", {}, {"shape": ints(2, 3)}, 1, {}


@form("Cast")
def cast(opset):
    for to in (TensorProto.INT32, TensorProto.DOUBLE, TensorProto.BOOL, TensorProto.FLOAT16) + ((TensorProto.BFLOAT16,) if opset >= 13 else ()):
        yield TensorProto.DataType.Name(to), {"x": WHOLE}, {}, 1, {"to": to}


@form("CastLike")
def cast_like(opset):
    yield "", {"x": WHOLE}, {"like": ints(1)}, 1, {}


@form("QuantizeLinear")
def quantize(opset):
    yield "a tensor", {"x": X}, {"s": F(0.02), "z": np.uint8(120)}, 1, {}
    yield "bare", {"x": X}, {"s": F(0.02)}, 1, {}
    if opset >= 13:
        yield "a channel", {"x": X}, {"s": np.array([0.02, 0.03, 0.04], F), "z": np.array([0, -3, 5], np.int8)}, 1, {"axis": 1}
    if opset >= 21:
        yield "blocks", {"x": floats(2, 8)}, {"s": np.abs(floats(2, 2)) + F(0.01), "z": np.zeros((2, 2), np.int8)}, 1, {"axis": 1, "block_size": 4}


@form("DequantizeLinear")
def dequantize(opset):
    codes = RNG.integers(-100, 100, (2, 3, 4)).astype(np.int8)
    yield "a tensor", {"x": codes}, {"s": F(0.02), "z": np.int8(5)}, 1, {}
    yield "bare", {"x": codes.astype(np.int32)}, {"s": F(0.02)}, 1, {}
    if opset >= 13:
        yield "a channel", {"x": codes}, {"s": np.array([0.02, 0.03, 0.04], F), "z": np.array([0, -3, 5], np.int8)}, 1, {"axis": 1}


def opsets_of(op):
    """The first and the last opset of each version."""
    starts = sorted({s.since_version for s in defs.get_all_schemas_with_history() if s.name == op and s.domain == ""})
    last = LAST.get(op, NEWEST)
    starts = [s for s in starts if s <= last]
    assert starts, f"the onnx package has no operator {op}"
    bounds = {s for s in starts if s > OLDEST} | {s - 1 for s in starts} | {last, max(OLDEST, starts[0])}
    return sorted(o for o in bounds if max(OLDEST, starts[0]) <= o <= last)


def variants(op, opset):
    make = FORMS[op]
    return make(opset, op) if make.__code__.co_argcount == 2 else make(opset)


def case_of(op, opset, what, inputs, constants, outputs, attributes):
    attributes = dict(attributes)
    order = attributes.pop("order", [*inputs, *constants])
    if op in ("GRU", "RNN"):  # fewer gates than LSTM has
        gates = 3 if op == "GRU" else 1
        constants = {name: value[:, :gates * 3] for name, value in constants.items()}
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, order, names, name="it", **attributes)
    # Element types differ from operator to operator: what inference finds. A model has an input.
    given = inputs or {"idle": X}
    graph = helper.make_graph(
        [node], "form", [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names], [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_OF_OPSET[opset])
    for output in model.graph.output:
        output.ClearField("type")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    for output, found in zip(model.graph.output, inferred.graph.output):
        output.type.tensor_type.elem_type = found.type.tensor_type.elem_type
    half = any(o.type.tensor_type.elem_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) for o in model.graph.output)
    return Case(f"{op}, opset {opset}{', ' if what else ''}{what}", model, {n: np.asarray(v) for n, v in given.items()}, tolerance=1e-2 if half else 1e-5)


def documented():
    text = DOCS.read_text()
    section = text[text.index("### Operators"):text.index("Floating point of 16 to 64 bits")]
    lists = "".join(re.findall(r"^(?:- [^:\n]+:|  )(.*)$", section, re.M))
    names = re.findall(r"\b[A-Z][A-Za-z0-9]+\b", re.sub(r"\([^)]*\)", "", lists))
    return {OURS.get(name, name) for name in names}


def main(runner, only=None):
    print(f"seed {SEED}")
    named = documented()
    assert len(named) > 130, f"docs/onnx.md names only {len(named)} operators"
    missing = named - set(FORMS) - CONTRIB
    assert not missing, f"operators without a form here: {sorted(missing)}"
    cases = [case_of(op, opset, *variant) for op in sorted(FORMS) if only in (None, op) for opset in opsets_of(op) for variant in variants(op, opset)]
    with tempfile.TemporaryDirectory() as name:
        return check_cases(runner, pathlib.Path(name), cases, at_least=1 if only else 800)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
