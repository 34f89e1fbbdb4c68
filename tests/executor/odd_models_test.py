"""Odd but valid models, as strangers bring them: import, executor, export and ONNX Runtime agree; odd and invalid ones get one clear error.

    python3 odd_models_test.py build/tests/executor/ds_executor_node_runner
"""
import pathlib
import sys
import tempfile

from model_cases import Case, check_cases
import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

SEED = 20261129
RNG = np.random.default_rng(SEED)
F = np.float32
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
X = RNG.standard_normal((3, 4)).astype(F)
W = RNG.standard_normal((4, 4)).astype(F)


def node(op, inputs, outputs=("y",), **attributes):
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def info(name, kind=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def array(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def model(nodes, inputs=None, outputs=("y",), constants=(), opset=17, kind=FLOAT, **more):
    """`inputs`: ValueInfoProtos; x [n, 4] by default. `outputs`: names (of `kind`) or ValueInfoProtos."""
    graph = helper.make_graph(nodes, "odd", [info("x", FLOAT, ["n", 4])] if inputs is None else inputs,
                              [o if isinstance(o, onnx.ValueInfoProto) else info(o, kind) for o in outputs],
                              [c if isinstance(c, TensorProto) else array(*c) for c in constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def same(name, made, feeds=None, **more):
    return Case(name, made, {"x": X} if feeds is None else feeds, **more)


def refused(name, made, *words):
    return Case(name, made, {"x": X}, refused=words)


def inputs_and_outputs():
    listed = model([node("MatMul", ["x", "w"])], [info("x", FLOAT, ["n", 4]), info("w", FLOAT, [4, 4])], constants=[("w", W)])
    yield same("an initialiser listed as an input", listed)
    yield same("an input that nothing reads", model([node("Relu", ["x"])], [info("x", FLOAT, ["n", 4]), info("z", FLOAT, ["n"])]), {"x": X, "z": X[:, 0]})
    yield same("an input as an output", model([node("Relu", ["x"])], outputs=["x", "y"]))
    yield same("only an input as an output", model([], outputs=["x"]))
    yield same("an initialiser as an output", model([node("Add", ["x", "w"])], outputs=["w", "y"], constants=[("w", W[0])]))
    yield same("a constant as an output", model([node("Constant", [], ["c"], value=array("", W)), node("MatMul", ["x", "c"])], outputs=["c", "y"]))
    yield same("an output that other nodes read", model([node("Relu", ["x"], ["h"]), node("Neg", ["h"])], outputs=["h", "y"]))
    chain = [node("Identity", [a], [b]) for a, b in (("x", "a"), ("a", "b"), ("b", "y"))]
    yield same("a chain of Identity", model(chain))
    yield same("a chain of Identity whose middle is an output, too", model(chain, outputs=["b", "y", "a"]))
    yield same("one value under two output names", model([node("Relu", ["x"], ["h"]), node("Identity", ["h"], ["y"]), node("Identity", ["h"], ["z"])],
                                                         outputs=["y", "z"]))
    yield refused("an output listed twice", model([node("Relu", ["x"])], outputs=["y", "y"]), "\"y\"", "twice")
    yield same("a scalar input", model([node("Mul", ["x", "s"])], [info("x", FLOAT, ["n", 4]), info("s", FLOAT, [])]), {"x": X, "s": np.array(2.5, F)})
    yield same("only scalars", model([node("Exp", ["x"])], [info("x", FLOAT, [])]), {"x": np.array(0.5, F)})
    yield same("an extent shared by two inputs", model([node("Add", ["x", "z"])], [info("x", FLOAT, ["n", 4]), info("z", FLOAT, ["n", 4])]),
               {"x": X, "z": X[::-1].copy()})
    yield same("extents named like values", model([node("Relu", ["x"], ["n"]), node("Neg", ["n"])], [info("x", FLOAT, ["n", "y"])]))
    yield same("an extent called by a formula", model([node("Relu", ["x"])], [info("x", FLOAT, ["2*seq + 1", 4])]))
    yield same("a batch of nothing", model([node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"])], constants=[("w", W)]), {"x": X[:0]})
    yield same("an input of a fixed extent of nothing", model([node("Concat", ["x", "z"], axis=0)], [info("x", FLOAT, ["n", 4]), info("z", FLOAT, [0, 4])]),
               {"x": X, "z": X[:0]})
    yield refused("an input without a shape", model([node("Relu", ["x"])], [info("x", FLOAT)]), "\"x\"", "no shape")


def operands():
    yield same("absent inputs in the middle", model([node("Clip", ["x", "", "high"])], constants=[("high", F(0.2))]))
    yield same("absent inputs at the end", model([node("Clip", ["x", "", ""])]))
    yield same("absent outputs before a used one", model([node("TopK", ["x", "k"], ["", "i"])], outputs=[info("i", INT64)], constants=[("k", [2])]))
    yield same("an absent output in the middle", model([node("Split", ["x", "s"], ["a", "", "b"], axis=1), node("Mul", ["a", "b"])],
                                                       constants=[("s", [1, 2, 1])]), by_standard=True)
    yield same("outputs that nothing reads", model([node("Split", ["x", "s"], ["a", "rest", "b"], axis=1), node("Mul", ["a", "b"])],
                                                   constants=[("s", [1, 2, 1])]))
    yield same("one operand several times", model([node("Concat", ["x", "x", "x"], ["h"], axis=1), node("Mul", ["h", "h"])]))
    yield same("nodes of no use", model([node("Relu", ["x"]), node("Exp", ["x"], ["dead"]), node("Log", ["dead"], ["deader"]),
                                         node("Constant", [], ["loose"], value_float=1.0)], constants=[("unused", W)]))
    yield same("a node before what it reads", model([node("Relu", ["h"]), node("Neg", ["x"], ["h"])]))
    yield refused("a circle", model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Neg", ["b"])]), "cycle")
    yield refused("an operand that nothing writes", model([node("Add", ["x", "ghost"])]), "\"ghost\"", "Add")
    yield refused("a value written twice", model([node("Relu", ["x"]), node("Neg", ["x"])]), "\"y\"", "twice")
    yield refused("an initialiser that a node writes", model([node("Relu", ["x"], ["w"]), node("Neg", ["w"])], constants=[("w", W)]), "\"w\"", "twice")
    yield same("Dropout's mask that nothing reads", model([node("Dropout", ["x"], ["y", "mask"])]))


def constants():
    yield same("Constant of every form", model([
        node("Constant", [], ["a"], value_float=0.5), node("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0, 4.0]),
        node("Constant", [], ["i"], value_int=1), node("Constant", [], ["j"], value_ints=[0, 2]), node("Constant", [], ["t"], value=array("", W)),
        node("Mul", ["x", "a"], ["h1"]), node("Add", ["h1", "b"], ["h2"]), node("MatMul", ["h2", "t"], ["h3"]), node("Gather", ["h3", "j"], ["h4"], axis=1),
        node("Gather", ["h4", "i"], axis=1)]))
    sparse = helper.make_sparse_tensor(array("v", np.array([1.5], F)), array("i", np.array([2], np.int64)), [4])
    yield refused("a sparse Constant", model([node("Constant", [], ["c"], sparse_value=sparse), node("Add", ["x", "c"])]), "sparse")
    yield refused("a Constant of text", model([node("Constant", [], ["c"], value_string="a"), node("Relu", ["x"])]), "string")
    yield refused("a sparse initialiser", sparse_initializer(), "sparse")
    yield same("an initialiser of no elements", model([node("Concat", ["x", "w"], axis=0)], constants=[("w", W[:0])]))
    yield same("axes of no elements", model([node("ReduceSum", ["x", "axes"], noop_with_empty_axes=1)], constants=[("axes", np.zeros(0, np.int64))]))
    yield same("indices as int32", model([node("Gather", ["x", "i"], axis=1)], constants=[("i", np.array([[3, 0], [1, 1]], np.int32))]))
    yield same("a mask of bool", model([node("Where", ["m", "x", "w"])], constants=[("m", np.array([True, False, True, True])), ("w", W[0])]))
    yield same("bools of more than one bit", model([node("Where", ["m", "x", "w"])],
                                                   constants=[helper.make_tensor("m", BOOL, [4], bytes([255, 0, 2, 1]), raw=True), ("w", W[0])]))
    yield same("a network in double", model([node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"])], [info("x", TensorProto.DOUBLE, ["n", 4])], ["y"],
                                            [("w", W.astype(np.float64))], kind=TensorProto.DOUBLE), {"x": X.astype(np.float64)})
    yield same("a network in half", model([node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"])], [info("x", TensorProto.FLOAT16, ["n", 4])], ["y"],
                                          [("w", W.astype(np.float16))], kind=TensorProto.FLOAT16), {"x": X.astype(np.float16)}, tolerance=2e-3)
    affine = [(name, value.astype(np.float16)) for name, value in (("s", X[0, :3]), ("b", X[1, :3]), ("m", X[2, :3]), ("v", np.abs(X[0, 1:]) + 1))]
    half = model([node("Conv", ["x", "w"], ["h"]), node("BatchNormalization", ["h", "s", "b", "m", "v"], ["n"]), node("Relu", ["n"], ["r"]),
                  node("GlobalAveragePool", ["r"], ["p"]), node("Flatten", ["p"], ["f"]), node("Gemm", ["f", "k", "b2"], ["g"], transB=1),
                  node("Cast", ["g"], ["y"], to=1)], [info("x", TensorProto.FLOAT16, ["n", 2, 6, 6])],
                 constants=[("w", RNG.standard_normal((3, 2, 3, 3)).astype(np.float16)), *affine, ("k", W[:, :3].astype(np.float16)),
                            ("b2", X[0].astype(np.float16))])
    yield same("a convolutional network in half", half, {"x": RNG.standard_normal((2, 2, 6, 6)).astype(np.float16)}, tolerance=5e-3)
    halves = helper.make_tensor("w", TensorProto.FLOAT16, [4, 4], W.astype(np.float16).flatten())
    yield same("halves in int32_data", model([node("Cast", ["w"], ["f"], to=1), node("MatMul", ["x", "f"])], constants=[halves]))
    brain = helper.make_tensor("w", TensorProto.BFLOAT16, [4, 4], W.flatten())
    yield same("weights of bfloat16", model([node("Cast", ["w"], ["f"], to=1), node("MatMul", ["x", "f"])], constants=[brain]))
    yield same("integers all the way", model([node("Mul", ["x", "two"], ["h"]), node("Sub", ["h", "one"])], [info("x", INT64, ["n", 2])], ["y"],
                                             [("two", np.int64(2)), ("one", np.int64(1))], kind=INT64), {"x": np.array([[5, 2**40]], np.int64)})
    yield same("int32 all the way", model([node("Div", ["x", "w"])], [info("x", TensorProto.INT32, ["n"])], ["y"],
                                          [("w", np.int32(3))], kind=TensorProto.INT32), {"x": np.array([7, -7, 0], np.int32)})
    pixels = RNG.integers(0, 256, (1, 2, 6, 6)).astype(np.uint8)
    yield same("pixels as uint8", model([node("Cast", ["x"], ["f"], to=1), node("Conv", ["f", "w"])], [info("x", TensorProto.UINT8, [1, 2, "h", "w_"])],
                                        constants=[("w", RNG.standard_normal((3, 2, 3, 3)).astype(F))]), {"x": pixels})
    yield same("Reshape with 0 and -1", model([node("Reshape", ["x", "to"])], constants=[("to", np.array([0, 2, -1]))]))
    yield same("Reshape to nothing, with allowzero", model([node("Reshape", ["x", "to"], allowzero=1)], [info("x", FLOAT, [0, 4])],
                                                           constants=[("to", np.array([2, 0]))]), {"x": X[:0]})


def sparse_initializer():
    made = model([node("Add", ["x", "s"])])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(array("s", np.array([1.5], F)), array("i", np.array([2], np.int64)), [4]))
    return made


def names_and_notes():
    strange = ["/layer.0/Mul:0", "größe 層", "a \"b\" 'c'\\n", "x" * 300]
    steps = zip(["x"] + strange, strange + ["y"])
    yield same("names with slashes, colons, unicode and quotes",
               model([helper.make_node("Add", [a, "w:0/b"], [b], name=b) for a, b in steps], constants=[("w:0/b", W[0])]))
    yield same("strange names of inputs and outputs", model([node("Relu", ["in:0/ü"], ["out/層:1"])], [info("in:0/ü", FLOAT, ["größe:0", 4])], ["out/層:1"]),
               {"in:0/ü": X})
    yield same("two nodes of one name", model([helper.make_node("Relu", ["x"], ["h"], name="n"), helper.make_node("Neg", ["h"], ["y"], name="n")]))
    noted = model([node("Relu", ["x"])])
    helper.set_model_props(noted, {"author": "a stranger", "größe": "層", "empty": ""})
    noted.doc_string = "words"
    noted.graph.node[0].doc_string = "more words"
    yield same("metadata", noted, metadata={"author": "a stranger", "größe": "層", "empty": ""})
    other = model([node("Relu", ["x"])])
    other.opset_import.extend([helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("com.example", 1)])
    yield same("domains that no node uses", other)
    spelt = model([helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx")])
    spelt.opset_import[0].domain = "ai.onnx"
    yield same("ai.onnx spelt out", spelt)
    wrong = model([node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"])], constants=[("w", W)])
    wrong.graph.value_info.append(info("h", FLOAT, ["n", 7]))
    yield same("value_info that is wrong", wrong)
    idle = model([node("Relu", ["x"])])
    idle.graph.value_info.append(info("nobody", FLOAT, [1]))
    idle.graph.quantization_annotation.add(tensor_name="nobody")
    yield same("notes about values that are not there", idle)
    yield same("an output's shape that is open, and is not", model([node("Reshape", ["x", "to"])], outputs=[info("y", FLOAT, ["a", "b"])],
                                                                   constants=[("to", np.array([-1, 2]))]))


def branch(name, nodes, outputs, constants=()):
    return helper.make_graph(nodes, name, [], [info(o) for o in outputs], [array(*c) for c in constants])


def referring(op, inputs, outputs, kind, **attributes):
    made = helper.make_node(op, inputs, outputs)
    for name, origin in attributes.items():
        made.attribute.add(name=name, ref_attr_name=origin, type=kind)
    return made


def subgraphs():
    inner = [node("Relu", ["x"], ["t"]), node("Add", ["t", "w"], ["r"])]
    yes = branch("yes", inner, ["r"], [("w", W[0])])
    no = branch("no", [node("Neg", ["x"], ["t"]), node("Mul", ["t", "w"], ["r"])], ["r"], [("w", W[1])])
    choice = node("If", ["c"], ["h"], then_branch=yes, else_branch=no, name="choice")
    after = node("Sub", ["h", "t_outer"])
    outer = node("Sigmoid", ["x"], ["t_outer"])
    for value in (True, False):
        yield same(f"names that both branches have, {value}", model([outer, choice, after], constants=[("c", np.array(value))]))
        yield same(f"names that both branches have, by an input, {value}",
                   model([outer, choice, after], [info("x", FLOAT, ["n", 4]), info("c", BOOL, [])]), {"x": X, "c": np.array(value)})
    plain = node("If", ["c"], ["y"], then_branch=branch("yes", [node("Identity", ["x"], ["r"])], ["r"]),
                 else_branch=branch("no", [node("Identity", ["w"], ["r"])], ["r"]))
    yield same("branches that hand on what is outside", model([plain], [info("x", FLOAT, [3, 4]), info("c", BOOL, [1])], constants=[("w", X)]),
               {"x": X, "c": np.array([False])})
    here = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    leaky = helper.make_function("local", "Leaky", ["a"], ["b"], [referring("LeakyRelu", ["a"], ["b"], AttributeProto.FLOAT, alpha="slope")], here, ["slope"])
    call = referring("Leaky", ["a"], ["m"], AttributeProto.FLOAT, slope="outer_slope")
    call.domain = "local"
    twice = helper.make_function("local", "Twice", ["a"], ["b"], [call, node("Add", ["m", "a"], ["b"])], here, ["outer_slope"])
    made = model([helper.make_node("Twice", ["x"], ["h"], domain="local", outer_slope=0.25),
                  helper.make_node("Twice", ["h"], ["y"], domain="local", outer_slope=0.75)], functions=[leaky, twice])
    made.opset_import.append(helper.make_opsetid("local", 1))
    yield same("attributes handed on from function to function", made)
    looped = helper.make_graph([node("Identity", ["go"], ["more"]), node("Relu", ["v"], ["w"])], "body",
                               [info("i", INT64, []), info("go", BOOL, []), info("v", FLOAT, None)], [info("more", BOOL, []), info("w")])
    yield refused("a Loop", model([node("Loop", ["n", "", "x"], ["y"], body=looped, name="rounds")], constants=[("n", np.int64(3))]), "Loop", "rounds")
    yield refused("a sequence", model([node("SequenceConstruct", ["x", "x"], ["s"]), node("SequenceErase", ["s"], ["t"]), node("SequenceAt", ["t", "n"])],
                                       constants=[("n", np.int64(0))]), "SequenceErase")
    yield refused("a cast to text", model([node("Cast", ["x"], ["s"], to=TensorProto.STRING), node("Relu", ["x"])]), "(string)")
    yield refused("an attribute of another type", model([node("Softmax", ["x"], axis="1")]), "axis", "Softmax")


def runtimes_own():
    """An LSTM whose state ONNX Runtime rounds at every step. Weights of 7 bits: with 8, its pairs of products saturate without VNNI."""
    def codes(low, high, *shape):
        return RNG.integers(low, high, shape).astype(np.int8)

    for direction, count in (("forward", 1), ("bidirectional", 2)):
        constants = [("w", codes(-60, 60, count, 5, 24)), ("r", codes(-60, 60, count, 6, 24)), ("b", (0.1 * RNG.standard_normal((count, 48))).astype(F))]
        for name in ("w", "r"):
            constants += [(f"{name}s", RNG.uniform(0.003, 0.006, count).astype(F)), (f"{name}z", codes(-3, 3, count))]
        lstm = node("DynamicQuantizeLSTM", ["x", "w", "r", "b", "lengths", "", "", "", "ws", "wz", "rs", "rz"], ["y", "h", "c"], domain="com.microsoft",
                    hidden_size=6, direction=direction)
        made = model([lstm], [info("x", FLOAT, ["t", "n", 5]), info("lengths", TensorProto.INT32, ["n"])], ["y", "h", "c"], constants)
        made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        feeds = {"x": RNG.standard_normal((7, 3, 5)).astype(F), "lengths": np.array([7, 7, 7], np.int32)}
        yield same(f"DynamicQuantizeLSTM, {direction}", made, feeds, tolerance=1e-4)
    spelt = model([node("DynamicQuantizeLSTM", ["x", "x", "x"])])
    yield refused("an operator of ONNX Runtime in the standard's domain", spelt, "DynamicQuantizeLSTM", "not supported")


def external(folder):
    """Weights in another file whose offset, length or both are not said."""
    (folder / "whole").write_bytes(W.tobytes())
    (folder / "shifted").write_bytes(b"\0" * 64 + W.tobytes())
    for name, entries in (("neither offset nor length", {"location": "whole"}), ("no length", {"location": "shifted", "offset": "64"}),
                          ("no offset", {"location": "whole", "length": str(W.nbytes)}),
                          ("a checksum", {"location": "whole", "offset": "0", "length": str(W.nbytes), "checksum": "0"})):
        tensor = TensorProto(name="w", dims=W.shape, data_type=FLOAT, data_location=TensorProto.EXTERNAL)
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        yield same(f"external data with {name}", model([node("MatMul", ["x", "w"])], constants=[tensor]))


def main(runner):
    print(f"seed {SEED}")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        cases = [case for part in (inputs_and_outputs, operands, constants, names_and_notes, subgraphs, runtimes_own) for case in part()]
        cases += external(folder)
        return check_cases(runner, folder, cases, at_least=65)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
