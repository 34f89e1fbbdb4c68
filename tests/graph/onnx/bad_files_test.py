"""Damaged, hostile and unsupported ONNX files: each gets exit code 1 and one line that says what and where,
in a second and within little memory.

    python3 bad_files_test.py build/bin/ds_export
"""
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile

from onnx_support import Report
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 20260103
MEMORY = 1 << 30  # bytes of address space; the files are tiny
F = np.float32


def node(op, inputs, outputs=("y",), **attributes):
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def tensor(name, dims, kind=TensorProto.FLOAT, **fields):
    made = TensorProto(name=name, dims=dims, data_type=kind)
    for key, value in fields.items():
        getattr(made, key).extend(value) if isinstance(value, list) else setattr(made, key, value)
    return made


def model(nodes, tensors=(), shape=(1, 3, 8, 8), opset=17, ir=8, outputs=("y",), inputs=None, domains=()):
    graph = helper.make_graph(
        nodes, "bad", inputs or [helper.make_tensor_value_info("x", 1, None if shape is None else list(shape))],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs], list(tensors))
    opsets = [helper.make_opsetid("", opset)] if opset else []
    opsets += [helper.make_opsetid(domain, 1) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir)


def external(dims, **entries):
    made = tensor("c", dims, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        made.external_data.add(key=key, value=str(value))
    return model([node("Add", ["x", "c"])], [made], shape=dims)


def edited(made, edit):
    edit(made)
    return made


def numbers(name, *values):
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def cases():
    """(name, model or bytes, words that the message must have)"""
    relu = model([node("Relu", "x")])
    whole = relu.SerializeToString()
    add = [node("Add", ["x", "c"])]
    huge = [1 << 20, 1 << 20]
    body = helper.make_graph([], "then", [], [helper.make_tensor_value_info("x", 1, [1])])
    yield "empty file", b"", ["not an ONNX model"]
    yield "text", b"import torch\n" * 20, ["not an ONNX model"]
    yield "zeros", bytes(100), ["not an ONNX model"]
    yield "truncated", whole[:-7], ["not an ONNX model"]
    yield "no graph", edited(model([]), lambda m: m.ClearField("graph")), ["no outputs"]
    yield "no IR version", edited(model([node("Relu", "x")]), lambda m: m.ClearField("ir_version")), ["IR version"]
    yield "IR from the future", model([node("Relu", "x")], ir=99), ["IR version 99"]
    yield "opset from the future", model([node("Relu", "x")], opset=99), ["opset 99", "7 to"]
    yield "opset too old", model([node("Relu", "x")], opset=6), ["opset 6"]
    yield "no opset", model([node("Relu", "x")], opset=None), ["no ai.onnx opset"]
    yield "opset twice", model([node("Relu", "x")], domains=["ai.onnx"]), ["twice"]
    yield "unknown op", model([node("Bogus", "x", name="head")]), ['"head"', "Bogus", "bad.onnx"]
    yield "misspelt op", model([node("Conw", "x", name="head")]), ['"head"', "nearest to it are Conv"]
    yield "vendor's domain", model([node("Attention", "x", domain="com.microsoft")], domains=["com.microsoft"]), ["com.microsoft"]
    yield "control flow", model([node("Loop", ["", "", "x"], body=body)]), ["Loop", "not supported"]
    yield "subgraph attribute", model([node("Relu", "x", body=body)]), ["subgraph"]
    yield "missing input", model([node("Relu", ["nowhere"])]), ['"nowhere"']
    yield "missing output", model([node("Relu", "x", ["z"])]), ['"y"']
    yield "no outputs", model([node("Relu", "x")], outputs=()), ["no outputs"]
    yield "output twice", model([node("Relu", "x")], outputs=("y", "y")), ["twice"]
    yield "cycle", model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"])]), ["cycle"]
    yield "node reads itself", model([node("Add", ["x", "y"])]), ["cycle"]
    yield "value written twice", model([node("Relu", "x"), node("Sigmoid", "x")]), ['"y"', "twice"]
    yield "initialiser twice", model(add, [tensor("c", [1], raw_data=bytes(4))] * 2), ["twice"]
    yield "initialiser without name", model(add, [tensor("", [1], raw_data=bytes(4))]), ["no name"]
    yield "value overwrites the input", model([node("Relu", "x", ["x"])], outputs=("x",)), ["twice"]
    yield "too few bytes", model(add, [tensor("c", [8], raw_data=bytes(31))]), ["32 bytes", "31"]
    yield "too many bytes", model(add, [tensor("c", [8], raw_data=bytes(33))]), ["32 bytes", "33"]
    yield "too few floats", model(add, [tensor("c", [8], float_data=[1., 2.])]), ["float_data"]
    yield "a terabyte of nothing", model(add, [tensor("c", huge)]), ["float_data has 0"]
    yield "extents overflow", model(add, [tensor("c", [1 << 40, 1 << 40])]), ["overflows"]
    yield "negative extent", model(add, [tensor("c", [-1, 2], raw_data=bytes(8))]), ["negative"]
    yield "two data fields", model(add, [tensor("c", [1], raw_data=bytes(4), float_data=[1.])]), ["more than one"]
    yield "string tensor", model(add, [tensor("c", [1], TensorProto.STRING, string_data=[b"a"])]), ["string"]
    yield "type 77", model(add, [tensor("c", [1], 77, raw_data=b"a")]), ["77"]
    yield "int8 of 300", model(add, [tensor("c", [1], TensorProto.INT8, int32_data=[300])]), ["300", "int8"]
    yield "sparse initialiser", edited(model([node("Relu", "x")]), lambda m: m.graph.sparse_initializer.add()), ["parse"]
    yield "input without shape", model([node("Relu", "x")], shape=None), ['"x"', "shape"]
    yield "input with negative extent", model([node("Relu", "x")], shape=(-4, 3)), ["-4"]
    yield "input is a sequence", model([node("Relu", "x")], inputs=[
        helper.make_tensor_sequence_value_info("x", 1, None)]), ["not a tensor"]
    yield "input twice", model([node("Relu", "x")], inputs=[helper.make_tensor_value_info("x", 1, [1])] * 2), ["twice"]
    yield "shapes that do not add", model(add, [tensor("c", [7], raw_data=bytes(28))]), ["Add", "[7]"]
    yield "convolution of wrong depth", model(
        [node("Conv", ["x", "c"])], [tensor("c", [4, 5, 1, 1], raw_data=bytes(80))]), ["Conv"]
    yield "kernel without extent", model([node("MaxPool", "x", kernel_shape=[0, 0])]), ["MaxPool"]
    yield "stride 0", model([node("MaxPool", "x", kernel_shape=[2, 2], strides=[0, 0])]), ["MaxPool"]
    yield "required attribute absent", model([node("MaxPool", "x")]), ["kernel_shape"]
    yield "attribute of wrong type", model([node("Softmax", "x", axis=1.5)]), ["axis"]
    yield "attribute of wrong type, old opset", model([node("Softmax", "x", axis="one")], opset=11), ["axis"]
    yield "attribute twice", edited(model([node("Softmax", "x", axis=1)]),
                                    lambda m: m.graph.node[0].attribute.append(m.graph.node[0].attribute[0])), ["twice"]
    yield "unknown attribute", model([node("Relu", "x", slope=.5)]), ["slope"]
    yield "too many inputs", model([node("Relu", ["x", "x"])]), ["inputs"]
    yield "no inputs", model([node("Conv", [])]), ["inputs"]
    yield "axis out of range", model([node("Softmax", "x", axis=9)]), ["9"]
    yield "axis out of range, old opset", model([node("Softmax", "x", axis=-9)], opset=11), ["-9"]
    yield "reshape to other size", model([node("Reshape", ["x", "c"])], [numbers("c", 5, 7)]), ["Reshape"]
    yield "reshape to overflow", model([node("Reshape", ["x", "c"])], [numbers("c", 1 << 62, 1 << 62)]), ["Reshape"]
    yield "gigantic constant", model([node("ConstantOfShape", ["c"], ["b"]), node("Add", ["x", "b"])],
                                     [numbers("c", 1 << 32, 1 << 32)]), ["ConstantOfShape"]
    yield "resize of nothing", model([node("Resize", ["", "", "", "c"], axes=[2])], [numbers("c", 5)], opset=18), ["absent"]
    yield "split into wrong parts", model([node("Split", ["x", "c"], ["y", "z"], axis=1)], [numbers("c", 1, 9)]), ["Split"]
    yield "constant without value", model([node("Constant", [], ["c"]), node("Add", ["x", "c"])]), ["Constant"]
    yield "function's attribute", edited(model([node("Softmax", "x", axis=1)]), lambda m: setattr(
        m.graph.node[0].attribute[0], "ref_attr_name", "a")), ["function"]
    yield "node without output", model([node("Relu", "x", [])]), ["no output"]
    yield "control characters in a name", model([node("Relu", ["a\nb\x1b[31m"])]), ["a\\nb"]
    yield "control characters in a node's name", model([node("Relu", ["x", "x"], name="a\nb\x1b[31m")]), ["a\\x0ab"]
    yield "a name of a megabyte", model([node("Relu", ["x", "x"], name="n" * (1 << 20))]), ["nnn..."]
    yield "external, control characters", external([4], location="a\nb"), ["a\\x0ab"]
    yield "external, absent", external([4], location="gone.bin"), ["gone.bin", "does not exist"]
    yield "external, above", external([4], location="../secret.bin"), ["plain path"]
    yield "external, hidden above", external([4], location="sub/../../secret.bin"), ["plain path"]
    yield "external, absolute", external([4], location="/etc/passwd"), ["plain path"]
    yield "external, no location", external([4], offset=0), ["plain path"]
    yield "external, link out", external([4], location="link.bin"), ["outside"]
    yield "external, folder link out", external([4], location="out/secret.bin"), ["outside"]
    yield "external, a folder", external([4], location="sub"), ["regular file"]
    yield "external, a pipe", external([4], location="pipe"), ["regular file"]
    yield "external, past the end", external([1024], location="data.bin"), ["outside its data file"]
    yield "external, offset past the end", external([4], location="data.bin", offset=1 << 60), ["outside its data file"]
    yield "external, negative offset", external([4], location="data.bin", offset=-4), ["byte count"]
    yield "external, wrong length", external([4], location="data.bin", length=15), ["16 bytes"]
    yield "external, huge", external(huge, location="data.bin"), ["outside its data file"]
    overlapping = [tensor(f"c{i}", [15], data_location=TensorProto.EXTERNAL) for i in range(3)]
    for part in overlapping:
        part.external_data.add(key="location", value="data.bin")
        part.external_data.add(key="offset", value="4")
    yield "external, overlapping", model([node("Sum", ["c0", "c1", "c2"])], overlapping), ["overlap"]


def deep(levels):
    """A message nested deeper than any honest file; built by hand, since protobuf's Python refuses it."""
    inner = b""
    for _ in range(levels):  # field 4 of TypeProto (sequence) holds field 1 (its element type)
        for tag in (0x0a, 0x22):
            size, head = len(inner), b""
            while size >= 128:
                head, size = head + bytes([size & 127 | 128]), size >> 7
            inner = bytes([tag]) + head + bytes([size]) + inner
    made = model([node("Relu", "x")])
    made.graph.input[0].type.Clear()
    made.graph.input[0].type.MergeFromString(b"")
    wrapped = b"\x12" + varint(len(inner)) + inner  # ValueInfoProto.type
    graph = b"\x5a" + varint(len(wrapped)) + wrapped  # GraphProto.input
    return b"\x08\x08" + b"\x3a" + varint(len(graph)) + graph


def varint(number):
    out = b""
    while number >= 128:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(program):
    print(f"seed {SEED}")
    report = Report()
    # A program built with AddressSanitizer reserves terabytes of address space.
    sanitized = b"__asan_init" in pathlib.Path(program).read_bytes()
    with tempfile.TemporaryDirectory() as root:
        folder = pathlib.Path(root) / "models"
        (folder / "sub").mkdir(parents=True)
        (pathlib.Path(root) / "secret.bin").write_bytes(bytes(64))
        (folder / "link.bin").symlink_to("../secret.bin")
        (folder / "out").symlink_to("..")
        (folder / "data.bin").write_bytes(bytes(64))
        os.mkfifo(folder / "pipe")
        path = folder / "bad.onnx"

        def export(arguments):
            return subprocess.run([program, *arguments], capture_output=True, timeout=20,
                                  preexec_fn=None if sanitized else limit_memory)

        def refused(data, words, code=1, arguments=None):
            path.write_bytes(data if isinstance(data, bytes) else data.SerializeToString())
            target = pathlib.Path(root) / "out.onnx"
            done = export(arguments or ["--model", str(path), "--format", "onnx", "--output", str(target)])
            message = done.stderr.decode()
            assert done.returncode == code, f"exit code {done.returncode}: {message}"
            assert code != 1 or message.count("\n") == 1, f"not one line: {message}"
            assert code != 1 or arguments or str(path) in message, f"does not name the file: {message}"
            assert "\x1b" not in message, "escape codes"
            assert len(message) < 5000, f"{len(message)} characters"
            assert "Softplus" not in message, "it lists every operator"
            for word in words:
                assert word in message, f"{word} is not in: {message}"
            assert not target.exists(), "it wrote a file"

        for name, data, words in cases():
            report.case(name, lambda: refused(data, words))
        report.case("nested 10,000 deep", lambda: refused(deep(10000), ["not an ONNX model"]))
        report.case("no such file", lambda: refused(b"", ["No such file"], 1, ["--model", "/nowhere/x.onnx", "--describe"]))
        report.case("a folder", lambda: refused(b"", [str(folder)], 1, ["--model", str(folder), "--describe"]))
        report.case("unknown zoo model", lambda: refused(b"", ["resnet20"], 1, ["--model", "zoo:resnet2O", "--describe"]))
        report.case("no arguments", lambda: refused(b"", ["--model"], 2, ["--format", "onnx"]))
        report.case("unknown format", lambda: refused(b"", ["format"], 2, ["--model", "x", "--format", "h5", "--output", "y"]))
        report.case("format without output", lambda: refused(b"", ["--output"], 2, ["--model", "x", "--format", "onnx"]))
        report.case("unknown flag", lambda: refused(b"", ["--frobnicate"], 2, ["--model", "x", "--describe", "--frobnicate"]))

        def flipped():
            """Any one byte changed: a clear error or a model, never a crash."""
            rng = random.Random(SEED)
            good = model([node("Conv", ["x", "c"], ["t"], pads=[1, 1, 1, 1]), node("Relu", ["t"])],
                         [tensor("c", [4, 3, 3, 3], raw_data=bytes(432))]).SerializeToString()
            for _ in range(60):
                at = rng.randrange(len(good))
                path.write_bytes(good[:at] + bytes([rng.randrange(256)]) + good[at + 1:])
                done = export(["--model", str(path), "--describe"])
                assert done.returncode in (0, 1), f"byte {at}: exit code {done.returncode}"
                assert done.stderr.count(b"\n") == done.returncode, f"byte {at}: {done.stderr}"

        report.case("flipped bytes", flipped)
    report.finish(at_least=60)


if __name__ == "__main__":
    main(sys.argv[1])
