"""Functions and branches are inlined at import: ONNX Runtime computes the same before and after.

    python3 inline_test.py build/bin/ds_export
"""
import pathlib
import sys
import tempfile

from onnx_support import TOLERANCE, Report, ds_export, largest_error, run
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 20260714
FLOAT = TensorProto.FLOAT
ONNX17 = helper.make_opsetid("", 17)
LOCAL = helper.make_opsetid("local", 1)


def model_of(nodes, inputs, outputs, constants=(), functions=(), opset=ONNX17):
    """`inputs`: name -> (type, shape)."""
    graph = helper.make_graph(
        nodes, "inline", [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants])
    return helper.make_model(graph, functions=list(functions), opset_imports=[opset, LOCAL], ir_version=8)


def branch(name, nodes, outputs, constants=()):
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(o, FLOAT, None) for o in outputs],
                             [numpy_helper.from_array(np.asarray(value), n) for n, value in constants])


def choice(condition, outputs, yes, no, name="choice"):
    return helper.make_node("If", [condition], outputs, name=name, then_branch=yes, else_branch=no)


def inlined(program, folder, model, feeds, *arguments, ifs=0):
    """Converts; compares in ONNX Runtime; returns what was written, in which so many choices are an If again (branches_test.py)."""
    onnx.save(model, folder / "in.onnx")
    done = ds_export(program, "--model", folder / "in.onnx", "--format", "onnx", "--output", folder / "out.onnx", *arguments)
    assert done.returncode == 0, done.stderr
    written = onnx.load(str(folder / "out.onnx"))
    onnx.checker.check_model(written, full_check=True)
    assert not written.functions and not any(node.domain for node in written.graph.node)
    assert sum(node.op_type == "If" for node in written.graph.node) == ifs
    for values in feeds:
        kept = {value.name for value in written.graph.input}
        error = largest_error(run(folder / "in.onnx", values), run(folder / "out.onnx", {n: v for n, v in values.items() if n in kept}))
        assert error <= TOLERANCE, f"error {error:.2e} of the range"
    return written


def refused(program, folder, model, *words):
    onnx.save(model, folder / "in.onnx")
    done = ds_export(program, "--model", folder / "in.onnx", "--describe")
    assert done.returncode == 1, f"exit code {done.returncode}"
    for word in words:
        assert word in done.stderr, f"'{word}' is not in: {done.stderr}"


def branch_cases(report, program, folder, rng):
    x = rng.standard_normal((3, 4)).astype(np.float32)
    w = rng.standard_normal((4, 4)).astype(np.float32)
    square = {"x": (FLOAT, ["n", 4])}

    def two_ways(condition):
        """x + 1 or matmul(relu(x), w); the inner names of both branches are the same."""
        return choice(condition, ["y"],
                      branch("yes", [helper.make_node("Add", ["x", "one"], ["inner"]), helper.make_node("Identity", ["inner"], ["result"])],
                             ["result"], [("one", np.float32(1))]),
                      branch("no", [helper.make_node("Relu", ["x"], ["inner"]), helper.make_node("MatMul", ["inner", "one"], ["result"])],
                             ["result"], [("one", w)]))

    def constant_condition():
        for value, op in ((True, "Add"), (False, "MatMul")):
            model = model_of([two_ways("c")], square, ["y"], [("c", np.array(value))])
            written = inlined(program, folder, model, [{"x": x}])
            assert op in [node.op_type for node in written.graph.node], "the other branch was taken"
            assert "Where" not in [node.op_type for node in written.graph.node], "a known condition was not followed"

    report.case("If of a constant", constant_condition)

    def condition_of_shape():
        nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "last"], ["e"]),
                 helper.make_node("Equal", ["e", "four"], ["c"]), two_ways("c")]
        model = model_of(nodes, square, ["y"], [("last", np.int64(1)), ("four", np.int64(4))])
        written = inlined(program, folder, model, [{"x": x}])
        assert "Where" not in [node.op_type for node in written.graph.node]

    report.case("If of a shape", condition_of_shape)

    def weights_keep_names():
        model = model_of([two_ways("c")], square, ["y"], [("c", np.array(False))])
        written = inlined(program, folder, model, [{"x": x}])
        assert [tensor.name for tensor in written.graph.initializer] == ["one"]

    report.case("weights of a branch keep their names", weights_keep_names)

    def open_condition():
        model = model_of([two_ways("c")], square | {"c": (TensorProto.BOOL, [])}, ["y"])
        inlined(program, folder, model, [{"x": x, "c": np.array(c)} for c in (True, False)], ifs=1)
        done = ds_export(program, "--model", folder / "in.onnx", "--describe")
        assert " Where " in done.stdout, done.stdout

    report.case("If of an input, equal shapes", open_condition)

    def condition_of_rank_two():
        model = model_of([choice("c", ["y"], branch("yes", [helper.make_node("ReduceMean", ["x"], ["a"], keepdims=0)], ["a"]),
                                 branch("no", [helper.make_node("ReduceMean", ["x"], ["b"], keepdims=0, axes=[0, 1])], ["b"]))],
                         {"x": (FLOAT, [3, 4]), "c": (TensorProto.BOOL, [1, 1])}, ["y"])
        inlined(program, folder, model, [{"x": x, "c": np.array([[c]])} for c in (True, False)])

    report.case("a condition of rank 2 adds no axes", condition_of_rank_two)

    def nested():
        inner = branch("inner_yes", [helper.make_node("Mul", ["x", "inner"], ["result"])], ["result"])
        other = branch("inner_no", [helper.make_node("Sub", ["x", "inner"], ["result"])], ["result"])
        outer = branch("outer", [helper.make_node("Relu", ["x"], ["inner"]), choice("d", ["result"], inner, other, "second")], ["result"])
        model = model_of([choice("c", ["y"], outer, branch("plain", [helper.make_node("Neg", ["x"], ["inner"])], ["inner"]))],
                         square | {"d": (TensorProto.BOOL, [])}, ["y"], [("c", np.array(True))])
        inlined(program, folder, model, [{"x": x, "d": np.array(d)} for d in (True, False)])

    report.case("nested If", nested)

    def several_outputs():
        yes = branch("yes", [helper.make_node("Split", ["x"], ["a", "b"], axis=1)], ["a", "b"])
        no = branch("no", [helper.make_node("Split", ["x"], ["a", "b"], axis=1)], ["b", "a"])
        model = model_of([choice("c", ["y", "z"], yes, no)], square | {"c": (TensorProto.BOOL, [])}, ["y", "z"])
        inlined(program, folder, model, [{"x": x, "c": np.array(c)} for c in (True, False)])

    report.case("If with two outputs", several_outputs)
    squeeze = [choice("c", ["y"], branch("yes", [helper.make_node("Squeeze", ["x", "last"], ["a"])], ["a"]),
                      branch("no", [helper.make_node("Identity", ["x"], ["b"])], ["b"]))]
    extent = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "at"], ["e"]),
              helper.make_node("Equal", ["e", "at"], ["c"])]
    squeezed = model_of(extent + squeeze, {"x": (FLOAT, ["n", "m"])}, ["y"], [("last", np.array([1])), ("at", np.int64(1))])
    report.case("an If whose branches differ in shape is refused with the mend",
                lambda: refused(program, folder, squeezed, '"choice" (If)', "branches give the shapes", "--input-shape"))

    def decided_by_shapes():
        for extents, data in (("3x1", x[:, :1]), ("3x4", x)):
            inlined(program, folder, squeezed, [{"x": data}], "--input-shape", f"x={extents}")
        for text, word in (("x=3", "does not fit"), ("z=3x4", "no input"), ("x=3x0", "write it as"), ("x", "write it as")):
            done = ds_export(program, "--model", folder / "in.onnx", "--describe", "--input-shape", text)
            assert done.returncode == 1 and word in done.stderr, done.stderr

    report.case("--input-shape decides it", decided_by_shapes)

    def clashing_weights():
        """Both branches' weights are kept, and their names tell which is which."""
        model = model_of([two_ways("c")], square | {"c": (TensorProto.BOOL, [])}, ["y"])
        written = inlined(program, folder, model, [{"x": x, "c": np.array(True)}], ifs=1)
        (made,) = [node for node in written.graph.node if node.op_type == "If"]
        assert [[tensor.name for tensor in side.g.initializer] for side in made.attribute] == [["one"], ["one.else_branch"]], made
        done = ds_export(program, "--model", folder / "in.onnx", "--describe")
        note = [line for line in done.stderr.splitlines() if line.startswith("note:")]
        assert len(note) == 1 and "\"choice\" (If) runs both branches" in note[0] and "--input-value c=" in note[0], done.stderr

    report.case("both branches' weights and a note", clashing_weights)
    two_rates = two_networks(rng)

    def one_of_two_networks():
        """Two networks in one file, of which neither takes the other's input, as silero_vad has them."""
        for rate, width in ((16000, 6), (8000, 3)):
            feeds = {"x": rng.standard_normal((2, width)).astype(np.float32), "sr": np.array(rate, np.int64)}
            written = inlined(program, folder, two_rates, [feeds], "--input-value", f"sr={rate}", "--input-shape", f"x=?x{width}")
            assert [value.name for value in written.graph.input] == ["x"]
            assert [tensor.dims[0] for tensor in written.graph.initializer if len(tensor.dims) == 2] == [width], "the other network is there, too"
            assert "Where" not in [node.op_type for node in written.graph.node]

    report.case("--input-value keeps one of two networks", one_of_two_networks)

    def refused_without_value():
        onnx.save(two_rates, folder / "in.onnx")
        done = ds_export(program, "--model", folder / "in.onnx", "--describe", "--input-shape", "x=?x6")
        assert done.returncode == 1 and "--input-value sr=NUMBER" in done.stderr and 'If "rate"' in done.stderr, done.stderr

    report.case("without it the file is refused with the mend", refused_without_value)

    def refused_values():
        onnx.save(two_rates, folder / "in.onnx")
        for text, words in (("sr", "write it as"), ("sr=fast", "write it as"), ("sr=0.5", "does not hold the value 0.5"), ("sr=1e30", "does not hold"),
                            ("sr=1,2", "2 values do not fit"), ("rate=1", "no input"), ("x=1", "--input-shape")):
            done = ds_export(program, "--model", folder / "in.onnx", "--describe", "--input-value", text)
            assert done.returncode == 1 and words in done.stderr, f"{text}: {done.stderr}"

    report.case("values that do not fit are refused", refused_values)

    def given_values():
        """Several values, a mask, a float; none of them trains."""
        kinds = {"x": (FLOAT, [2, 3]), "scale.weight": (FLOAT, [3]), "mask": (TensorProto.BOOL, [3])}
        model = model_of([helper.make_node("Mul", ["x", "scale.weight"], ["h"]), helper.make_node("Where", ["mask", "h", "x"], ["y"])], kinds,
                         ["y", "scale.weight"])
        feeds = {"x": x[:2, :3], "scale.weight": np.array([0.5, -2, 1e-3], np.float32), "mask": np.array([True, False, True])}
        written = inlined(program, folder, model, [feeds], "--input-value", "scale.weight=0.5,-2,1e-3", "--input-value", "mask=1,0,1")
        assert [value.name for value in written.graph.input] == ["x"]
        done = ds_export(program, "--model", folder / "out.onnx", "--describe")
        assert "0 values in 0 tensors train" in done.stdout, done.stdout

    report.case("given values are constants", given_values)


def two_networks(rng):
    def network(name, width):
        w = rng.standard_normal((width, 2)).astype(np.float32)
        return branch(name, [helper.make_node("MatMul", ["x", f"{name}.w"], ["h"]), helper.make_node("Tanh", ["h"], ["r"])], ["r"], [(f"{name}.w", w)])

    nodes = [helper.make_node("Equal", ["sr", "wide"], ["c"]), choice("c", ["y"], network("fast", 6), network("slow", 3), "rate")]
    return model_of(nodes, {"x": (FLOAT, ["n", "m"]), "sr": (TensorProto.INT64, [])}, ["y"], [("wide", np.int64(16000))])


def function(name, inputs, outputs, nodes, attributes=(), defaults=(), opset=ONNX17):
    return helper.make_function("local", name, inputs, outputs, nodes, [opset, LOCAL], list(attributes), list(defaults))


def referring(op, inputs, outputs, kind, **attributes):
    """A node whose attributes are those of its function, by name."""
    node = helper.make_node(op, inputs, outputs)
    for name, origin in attributes.items():
        attribute = node.attribute.add()
        attribute.name, attribute.ref_attr_name, attribute.type = name, origin, kind
    return node


def function_cases(report, program, folder, rng):
    x = rng.standard_normal((3, 4)).astype(np.float32)
    w = rng.standard_normal((4, 4)).astype(np.float32)
    here = {"x": (FLOAT, ["n", 4])}

    def call(name, inputs, outputs, **attributes):
        return helper.make_node(name, inputs, outputs, domain="local", name=f"call_{outputs[0]}", **attributes)

    leaky = function("Leaky", ["a"], ["b"], [referring("LeakyRelu", ["a"], ["h"], onnx.AttributeProto.FLOAT, alpha="slope"),
                                             helper.make_node("Add", ["h", "a"], ["b"])],
                     attributes=["slope"])
    default = function("Default", ["a"], ["b"], [referring("LeakyRelu", ["a"], ["b"], onnx.AttributeProto.FLOAT, alpha="slope")],
                       defaults=[helper.make_attribute("slope", 0.5)])
    optional = function("Optional", ["a", "low", "high"], ["b"], [helper.make_node("Clip", ["a", "low", "high"], ["b"])])
    layer = function("Layer", ["a", "weight"], ["b"], [helper.make_node("MatMul", ["a", "weight"], ["h"]), call("Leaky", ["h"], ["b"], slope=0.2)])
    functions = [leaky, default, optional, layer]
    for name, nodes in {
            "a function called twice": [call("Leaky", ["x"], ["h"], slope=0.1), call("Leaky", ["h"], ["y"], slope=0.3)],
            "nested functions": [call("Layer", ["x", "w"], ["h"]), call("Layer", ["h", "w"], ["y"])],
            "a function's default attribute": [call("Default", ["x"], ["h"]), call("Default", ["h"], ["y"], slope=0.25)],
            "a function's absent input": [call("Optional", ["x", "", "w0"], ["y"])],
            "a call in a branch": [choice("c", ["y"], branch("yes", [call("Leaky", ["x"], ["h"], slope=0.1)], ["h"]),
                                          branch("no", [call("Default", ["x"], ["h"])], ["h"]))]}.items():
        constants = [("w", w)] if "nested" in name else [("w0", np.float32(0.5))] if "absent" in name else [("c", np.array(True))] \
            if "branch" in name else []
        report.case(name, lambda nodes=nodes, constants=constants: inlined(
            program, folder, model_of(nodes, here, ["y"], constants, functions), [{"x": x}]) and None)
    loop = function("Loop", ["a"], ["b"], [call("Loop", ["a"], ["b"])])
    report.case("a function that calls itself is refused",
                lambda: refused(program, folder, model_of([call("Loop", ["x"], ["y"])], here, ["y"], functions=[loop]), "calls itself"))
    doubling = [function(f"F{i}", ["a"], ["b"], [call(f"F{i + 1}", ["a"], ["h"]), call(f"F{i + 1}", ["h"], ["b"])]) for i in range(40)]
    doubling.append(function("F40", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])]))
    report.case("functions that unfold without end are refused",
                lambda: refused(program, folder, model_of([call("F0", ["x"], ["y"])], here, ["y"], functions=doubling), "unfold to over"))
    old = function("Old", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], opset=helper.make_opsetid("", 12))
    report.case("a function of another opset is refused",
                lambda: refused(program, folder, model_of([call("Old", ["x"], ["y"])], here, ["y"], functions=[old]), "opset 12"))


def main(program):
    report = Report()
    rng = np.random.default_rng(SEED)
    print(f"seed {SEED}")
    with tempfile.TemporaryDirectory() as folder:
        branch_cases(report, program, pathlib.Path(folder), rng)
        function_cases(report, program, pathlib.Path(folder), rng)
    report.finish(at_least=22)


if __name__ == "__main__":
    main(sys.argv[1])
