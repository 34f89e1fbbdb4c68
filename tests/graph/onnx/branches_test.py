"""Choices between two computed branches are written as If where a branch is worth it: ONNX Runtime computes the same, and one branch only.

    python3 branches_test.py build/bin/ds_export
"""
import collections
import pathlib
import sys
import tempfile

from onnx_support import TOLERANCE, Report, convert, largest_error, run
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SEED = 20261129
FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, name=f"{op}_{outputs[0]}", **attributes)


def model_of(nodes, inputs, outputs, constants):
    """`inputs`: name -> (type, shape)."""
    graph = helper.make_graph(nodes, "branches", [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
                              [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
                              [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def branches(graph):
    """Of each If of the graph: the operators of both."""
    return [{a.name: collections.Counter(n.op_type for n in a.g.node) for a in n.attribute} for n in graph.node if n.op_type == "If"]


def ops(graph):
    return collections.Counter(n.op_type for n in graph.node)


def total(graph):
    return sum(1 + sum(total(a.g) for a in n.attribute if a.HasField("g")) for n in graph.node)


def main(program):
    print(f"seed {SEED}")
    rng = np.random.default_rng(SEED)
    report = Report()
    floats = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    x = floats(3, 4)
    rows, scalar = {"x": (FLOAT, ["n", 4])}, {"c": (BOOL, [])}
    both = [np.array(True), np.array(False)]
    with tempfile.TemporaryDirectory() as root:
        root = pathlib.Path(root)

        def written(model, feeds, ifs, more=0):
            """The file, with so many Ifs on top, once all agree; a second journey changes no more."""
            onnx.save(model, root / "in.onnx")
            first = onnx.load(str(convert(program, root / "in.onnx", root / "out.onnx")))
            second = onnx.load(str(convert(program, root / "out.onnx", root / "again.onnx")))
            for values in feeds:
                expected = run(root / "in.onnx", values)
                for name in ("out", "again"):
                    error = largest_error(expected, run(root / f"{name}.onnx", values))
                    assert error <= TOLERANCE, f"{name}: error {error:.2e} of the range"
            assert len(branches(first.graph)) == ifs, f"{ops(first.graph)}"
            assert total(first.graph) + more == total(second.graph), f"{total(first.graph)} nodes became {total(second.graph)}"
            return first.graph

        def two_sides():
            nodes = [node("MatMul", ["x", "a"], ["p"]), node("Relu", ["p"], ["q"]), node("MatMul", ["x", "b"], ["r"]), node("Where", ["c", "q", "r"], ["y"])]
            graph = written(model_of(nodes, rows | scalar, ["y"], {"a": floats(4, 5), "b": floats(4, 5)}), [{"x": x, "c": c} for c in both], 1)
            assert ops(graph) == {"If": 1} and not graph.initializer, f"{ops(graph)}, {len(graph.initializer)} weights outside"
            assert branches(graph) == [{"then_branch": {"MatMul": 1, "Relu": 1}, "else_branch": {"MatMul": 1}}], f"{branches(graph)}"

        def condition_with_axes():
            nodes = [node("MatMul", ["x", "a"], ["p"]), node("Where", ["c", "p", "x"], ["y"])]
            graph = written(model_of(nodes, rows | {"c": (BOOL, [1, 1])}, ["y"], {"a": floats(4, 4)}), [{"x": x, "c": c.reshape(1, 1)} for c in both], 1, 1)
            assert branches(graph)[0]["else_branch"] == {"Identity": 1}

        def shared():
            """What both sides, the condition or an output read is computed once, outside."""
            nodes = [node("MatMul", ["x", "a"], ["p"]), node("ReduceSum", ["p"], ["s"], keepdims=0), node("Greater", ["s", "zero"], ["c"]),
                     node("MatMul", ["p", "a"], ["q"]), node("MatMul", ["p", "a"], ["r0"]), node("Relu", ["r0"], ["r"]), node("Sigmoid", ["r"], ["t"]),
                     node("Where", ["c", "q", "t"], ["y"])]
            graph = written(model_of(nodes, rows, ["y", "r"], {"a": floats(4, 4), "zero": np.float32(0)}), [{"x": x}, {"x": -x}], 1)
            assert ops(graph)["MatMul"] == 2 and ops(graph)["Relu"] == 1, f"{ops(graph)}"
            assert branches(graph) == [{"then_branch": {"MatMul": 1}, "else_branch": {"Sigmoid": 1}}], f"{branches(graph)}"
            assert "a" in [t.name for t in graph.initializer], "a weight of two places went into one"

        def two_values():
            """Two results of one choice; one that is broadcast is not of it."""
            nodes = [node("MatMul", ["x", "a"], ["p"]), node("Where", ["c", "p", "x"], ["y"]), node("Where", ["c", "p", "z"], ["w"]), node("Tanh", ["x"], ["z"]),
                     node("Where", ["c", "k", "p2"], ["v"]), node("MatMul", ["x", "b"], ["p2"])]
            nodes = nodes[:1] + [nodes[3], nodes[5]] + nodes[1:3] + nodes[4:5]
            graph = written(model_of(nodes, rows | scalar, ["y", "w", "v"], {"a": floats(4, 4), "b": floats(4, 1), "k": floats(1, 1)}),
                            [{"x": floats(n, 4), "c": c} for c in both for n in (1, 3)], 1)
            assert ops(graph)["Where"] == 1, f"{ops(graph)}"

        def left_alone():
            light = [node("Relu", ["x"], ["p"]), node("Where", ["c", "p", "x"], ["y"])]
            written(model_of(light, rows | scalar, ["y"], {}), [{"x": x, "c": c} for c in both], 0)
            fixed = [node("MatMul", ["x", "a"], ["p"]), node("Where", ["c", "p", "k"], ["y"])]
            written(model_of(fixed, {"x": (FLOAT, [3, 4])} | scalar, ["y"], {"a": floats(4, 4), "k": floats(1, 4)}), [{"x": x, "c": c} for c in both], 0)
            open_ = [node("MatMul", ["x", "a"], ["p"]), node("MatMul", ["z", "a"], ["q"]), node("Where", ["c", "p", "q"], ["y"])]
            written(model_of(open_, rows | scalar | {"z": (FLOAT, ["m", 4])}, ["y"], {"a": floats(4, 4)}),
                    [{"x": x, "z": floats(n, 4), "c": c} for c in both for n in (1, 3)], 0)
            elementwise = [node("MatMul", ["x", "a"], ["p"]), node("Where", ["c", "p", "x"], ["y"])]
            written(model_of(elementwise, rows | {"c": (BOOL, ["n", 4])}, ["y"], {"a": floats(4, 4)}), [{"x": x, "c": x > 0}], 0)

        def in_a_row():
            """A second choice of the same condition follows from the first one."""
            nodes = [node("MatMul", ["x", "a"], ["p"]), node("Where", ["c", "p", "x"], ["h"]), node("MatMul", ["h", "a"], ["q"]), node("Tanh", ["h"], ["t"]),
                     node("Where", ["c", "t", "q"], ["y"])]
            written(model_of(nodes, rows | scalar, ["y"], {"a": floats(4, 4)}), [{"x": x, "c": c} for c in both], 2)

        def crossed():
            """Choices of two conditions of which each would wait for the other."""
            mat = lambda source, out: node("MatMul", [source, "a"], [out])  # noqa: E731
            nodes = [mat("x", "p1"), node("Where", ["c", "p1", "x"], ["c1"]), mat("c1", "p2"), node("Where", ["d", "p2", "c1"], ["d1"]),
                     mat("x", "p3"), node("Where", ["d", "p3", "x"], ["d2"]), mat("d2", "p4"), node("Where", ["c", "p4", "d2"], ["c2"]),
                     node("Add", ["d1", "c2"], ["y"])]
            graph = written(model_of(nodes, rows | scalar | {"d": (BOOL, [])}, ["y"], {"a": floats(4, 4)}),
                            [{"x": x, "c": c, "d": d} for c in both for d in both], 1)
            assert ops(graph)["Where"] == 2, f"{ops(graph)}"

        def nested():
            nodes = [node("MatMul", ["x", "a"], ["p"]), node("MatMul", ["p", "a"], ["q"]), node("Where", ["d", "p", "q"], ["h"]), node("Relu", ["h"], ["r"]),
                     node("MatMul", ["x", "b"], ["s"]), node("Where", ["c", "r", "s"], ["y"])]
            graph = written(model_of(nodes, rows | scalar | {"d": (BOOL, [])}, ["y"], {"a": floats(4, 4), "b": floats(4, 4)}),
                            [{"x": x, "c": c, "d": d} for c in both for d in both], 1)
            assert branches(graph)[0]["then_branch"] == {"MatMul": 1, "If": 1, "Relu": 1}, f"{branches(graph)}"

        def state():
            """A state has the batch of another input, which no shape says before they meet; a condition from a number."""
            side = lambda k: [node("Concat", ["s", "x"], [f"j{k}"], axis=1), node("MatMul", [f"j{k}", f"w{k}"], [f"h{k}"])]  # noqa: E731
            yes = helper.make_graph(side(0), "yes", [], [helper.make_tensor_value_info("h0", FLOAT, None)])
            no = helper.make_graph(side(1), "no", [], [helper.make_tensor_value_info("h1", FLOAT, None)])
            nodes = [node("Equal", ["rate", "slow"], ["c"]), helper.make_node("If", ["c"], ["y"], name="choice", then_branch=yes, else_branch=no)]
            inputs = {"x": (FLOAT, ["n", 4]), "s": (FLOAT, ["m", 3]), "rate": (INT64, [])}
            graph = written(model_of(nodes, inputs, ["y"], {"slow": np.int64(8000), "w0": floats(7, 5), "w1": floats(7, 5)}),
                            [{"x": x, "s": floats(3, 3), "rate": np.array(rate)} for rate in (8000, 16000)], 1)
            assert ops(graph)["MatMul"] == 0

        def integers():
            """Rounded operands in front of both branches are still fused: each has its own DequantizeLinear."""
            codes = lambda *shape: rng.integers(-127, 128, shape).astype(np.int8)  # noqa: E731
            quantize = lambda source, out: node("QuantizeLinear", [source, "s", "z"], [out])  # noqa: E731
            dequantize = lambda source, out: node("DequantizeLinear", [source, "s", "z"], [out])  # noqa: E731
            nodes = [quantize("x", "xq"), dequantize("xq", "xd")]
            constants = {"s": np.float32(0.05), "z": np.uint8(128), "zw": np.int8(0), "sw": np.float32(0.01)}
            for side in "ab":
                constants[f"w{side}"] = codes(6, 3, 3, 3)
                nodes += [node("DequantizeLinear", [f"w{side}", "sw", "zw"], [f"v{side}"]), node("Conv", ["xd", f"v{side}"], [f"y{side}"]),
                          quantize(f"y{side}", f"q{side}"), dequantize(f"q{side}", f"d{side}")]
            nodes.append(node("Where", ["c", "da", "db"], ["y"]))
            graph = written(model_of(nodes, {"x": (FLOAT, ["n", 3, 8, 8])} | scalar, ["y"], constants), [{"x": floats(2, 3, 8, 8), "c": c} for c in both], 1)
            expected = {"DequantizeLinear": 3, "Conv": 1, "QuantizeLinear": 1}
            assert branches(graph) == [{"then_branch": expected, "else_branch": expected}], f"{branches(graph)}"
            options = onnxruntime.SessionOptions()
            options.optimized_model_filepath = str(root / "fused.onnx")
            onnxruntime.InferenceSession(str(root / "out.onnx"), options, providers=["CPUExecutionProvider"])
            for side in branches(onnx.load(str(root / "fused.onnx")).graph)[0].values():
                assert side["QLinearConv"] == 1, f"ONNX Runtime runs {side}"

        report.case("two sides", two_sides)
        report.case("a condition with axes, and an operand that is an input", condition_with_axes)
        report.case("what others read stays outside", shared)
        report.case("several results of one choice", two_values)
        report.case("light branches, broadcast operands and masks stay Where", left_alone)
        report.case("two choices in a row", in_a_row)
        report.case("choices that would wait for each other", crossed)
        report.case("a choice in a branch", nested)
        report.case("a state beside the input", state)
        report.case("integers in branches", integers)
    report.finish(at_least=10)


if __name__ == "__main__":
    main(sys.argv[1])
