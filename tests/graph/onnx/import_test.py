"""What trains of an imported file, what of it is read, and what is said.

    python3 import_test.py build/bin/ds_export
"""
import pathlib
import re
import subprocess
import sys
import tempfile

from onnx_support import TOLERANCE, Report, convert, ds_export, largest_error, run
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

SEED = 20261128
RNG = np.random.default_rng(SEED)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, list(inputs), list(outputs), name=f"{op}_{outputs[0]}", **attributes)


def floats(name, *shape, kind=np.float32):
    return numpy_helper.from_array(RNG.standard_normal(shape).astype(kind), name)


def given(name, values, kind=np.float32):
    return numpy_helper.from_array(np.array(values, dtype=kind), name)


def model(nodes, tensors, shape=("batch", 4), outputs=("y",), kind=1, opset=17):
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", kind, list(shape))],
                              [helper.make_tensor_value_info(name, 1, None) for name in outputs], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def linear(name, source, out, weight):
    return node("MatMul", [source, weight], [out])


def main(program):
    print(f"seed {SEED}")
    report = Report()
    with tempfile.TemporaryDirectory() as root:
        root = pathlib.Path(root)

        def describe(made, folder=root):
            path = folder / "m.onnx"
            path.write_bytes(made.SerializeToString())
            done = ds_export(program, "--model", path, "--describe")
            assert done.returncode == 0, done.stderr
            found = re.search(r"^([\d,]+) values in (\d+) tensors? train, (none is frozen|([\d,]+) in (\d+) (?:is|are) frozen: (.*))$",
                              done.stdout, re.M)
            assert found, done.stdout
            values = int(found[1].replace(",", ""))
            return values, [] if found[6] is None else found[6].split(", "), done

        def trains(made, values, frozen=()):
            """So many values train, these are frozen; the written file computes the same, and the same trains of it."""
            found, names, _ = describe(made)
            assert (found, names) == (values, list(frozen)), f"{found} train, frozen {names}"
            before, after = root / "m.onnx", root / "after.onnx"
            convert(program, before, after)
            shape = [d.dim_value or 3 for d in made.graph.input[0].type.tensor_type.shape.dim]
            integer = made.graph.input[0].type.tensor_type.elem_type == 7
            x = RNG.integers(0, 4, shape) if integer else RNG.standard_normal(shape).astype(np.float32)
            error = largest_error(ReferenceEvaluator(made).run(None, {"x": x}), run(after, {"x": x}))
            assert error <= TOLERANCE, f"error {error:.2e} of the range"
            again, _, _ = describe(onnx.load(str(after)))
            assert again == values, f"{again} train of the written file"
            return onnx.load(str(after))

        def read_directly(written, *names):
            made = {output for n in written.graph.node for output in n.output}
            for name in names:
                readers = [n.op_type for n in written.graph.node if name in n.input]
                assert readers and not set(readers) & {"Transpose", "Reshape", "Cast", "Squeeze"}, f"{name}: {readers}"
                assert name not in made

        def behind(chain, stored, shape=(4, 3)):
            nodes, value = [], "fc.weight"
            tensors = [stored]
            for i, (op, extra, attributes) in enumerate(chain):
                names = []
                for j, tensor in enumerate(extra):
                    tensor.name = f"c{i}_{j}"
                    tensors.append(tensor)
                    names.append(tensor.name)
                nodes.append(node(op, [value, *names], [f"w{i}"], **attributes))
                value = f"w{i}"
            return model(nodes + [linear("fc", "x", "y", value)], tensors)

        def layouts():
            read_directly(trains(behind([("Transpose", [], {"perm": [1, 0]})], floats("fc.weight", 3, 4)), 12), "fc.weight")
            read_directly(trains(behind([("Cast", [], {"to": 1})], floats("fc.weight", 4, 3, kind=np.float16)), 12), "fc.weight")
            read_directly(trains(behind([("Cast", [], {"to": 1})], floats("fc.weight", 4, 3, kind=np.float64)), 12), "fc.weight")
            read_directly(trains(behind([("Reshape", [given("", [4, 3], np.int64)], {})], floats("fc.weight", 2, 6)), 12), "fc.weight")
            read_directly(trains(behind([("Squeeze", [given("", [0, 3], np.int64)], {}), ("Transpose", [], {}), ("Identity", [], {})],
                                        floats("fc.weight", 1, 3, 4, 1)), 12), "fc.weight")

        def scaled():
            scale = given("", 0.25)
            trains(behind([("Transpose", [], {"perm": [1, 0]}), ("Mul", [scale], {})], floats("fc.weight", 3, 4)), 12)
            # The weight trains, not what a kernel's mask or an unnamed scale is.
            trains(behind([("Div", [given("", [1, 2, 3])], {})], floats("fc.weight", 4, 3)), 12, ["c0_0"])

        def tied():
            nodes = [node("Gather", ["table.weight", "x"], ["e"]), node("Transpose", ["table.weight"], ["t"], perm=[1, 0]),
                     node("MatMul", ["e", "t"], ["y"])]
            written = trains(model(nodes, [floats("table.weight", 6, 4)], ("batch", 5), kind=7), 24)
            assert [n.op_type for n in written.graph.node] == ["Gather", "Transpose", "MatMul"], "it is no longer one weight"

        def twice():
            nodes = [node("Transpose", ["fc.weight"], ["t1"], perm=[1, 0]), node("MatMul", ["x", "t1"], ["h"]),
                     node("Transpose", ["fc.weight"], ["t2"], perm=[1, 0]), node("MatMul", ["h", "t2"], ["y"])]
            read_directly(trains(model(nodes, [floats("fc.weight", 4, 4)]), 16), "fc.weight")

        def begun():
            """Ones that an exporter stored once for two layers, along any axis: each layer has its own."""
            nodes = [node("Conv", ["x", "a.weight"], ["c"]), node("Mul", ["c", "a.gamma"], ["m"]), node("Conv", ["m", "b.weight"], ["d"]),
                     node("Mul", ["d", "a.gamma"], ["y"])]
            trains(model(nodes, [floats("a.weight", 3, 2, 1, 1), floats("b.weight", 3, 3, 1, 1), given("a.gamma", np.ones((3, 1, 1)))], ("batch", 2, 5, 5)), 21)

        def filled():
            """A group norm as torch.export takes it apart: its instance norm has a number for all groups, which is nobody's."""
            nodes = [node("InstanceNormalization", ["x", "val_9", "val_12"], ["n"]), node("Mul", ["n", "norm.weight"], ["m"]),
                     node("Add", ["m", "norm.bias"], ["y"])]
            tensors = [given("val_9", [1]), given("val_12", [0]), floats("norm.weight", 3, 1, 1), floats("norm.bias", 3, 1, 1)]
            trains(model(nodes, tensors, ("batch", 1, 5)), 6)

        def standardised(opset, kind=np.float32, computed=False):
            # What F.batch_norm(weight.reshape(1, out, -1), training=True) becomes.
            tensors = [floats("conv.weight", 3, 2, 3, 3, kind=kind), given("conv.gain", RNG.uniform(.5, 2, (3, 1, 1, 1)), kind),
                       given("to", [1, 3, -1], np.int64), given("back", [3, 2, 3, 3], np.int64), given("flat", [-1], np.int64),
                       given("zero", [0, 0, 0], kind), given("mean", [0, 0, 0], kind), given("var", [1, 1, 1], kind)]
            nodes = [node("Reshape", ["conv.weight", "to"], ["rows"]), node("Reshape", ["conv.gain", "flat"], ["gain"]),
                     node("BatchNormalization", ["rows", "gain", "zero", "mean", "var"], ["unit", "m", "v"], training_mode=1, epsilon=1e-6),
                     node("Reshape", ["unit", "back"], ["w" if kind == np.float32 else "wide"])]
            if computed:  # as torch.export takes it apart
                nodes[2] = node("BatchNormalization", ["rows", "gain", "zero", "m", "v"], ["unit"], epsilon=1e-6)
                nodes[2:2] = [node("ReduceMean", ["rows"], ["m3"], axes=[0, 2]), node("Sub", ["rows", "m3"], ["d"]), node("Mul", ["d", "d"], ["q"]),
                              node("ReduceMean", ["q"], ["v"], axes=[0, 2], keepdims=0), node("ReduceMean", ["rows"], ["m"], axes=[0, 2], keepdims=0)]
            if kind != np.float32:
                nodes.append(node("Cast", ["wide"], ["w"], to=1))
            made = model(nodes + [node("Conv", ["x", "w"], ["y"])], tensors, ("batch", 2, 5, 5), opset=opset)
            _, _, done = describe(made)
            assert "note:" not in done.stderr, done.stderr
            written = trains(made, 54 + 3, ["zero"])
            assert "BatchNormalization" not in [n.op_type for n in written.graph.node], "the weight's statistics would be gathered in training"

        def roles():
            """Positions, class token, bias, affine: yes. Mask, unnamed constants, input statistics: no."""
            affine = [node("Sub", ["x", "mean"], ["c"]), node("Conv", ["c", "w"], ["k"]), node("Mul", ["k", "g"], ["s"]),
                      node("Add", ["s", "onnx::Add_7"], ["y"])]
            trains(model(affine, [given("mean", RNG.standard_normal((1, 2, 1, 1))), floats("w", 3, 2, 1, 1), floats("g", 3, 1, 1),
                                  floats("onnx::Add_7", 3, 1, 1)], ("batch", 2, 5, 5)), 12, ["mean"])
            tokens = [node("Shape", ["x"], ["s"], start=0, end=1), node("Concat", ["s", "ones"], ["to"], axis=0),
                      node("Expand", ["cls_token", "to"], ["cls"]), node("Concat", ["cls", "x"], ["all"], axis=1),
                      node("Add", ["all", "pos_embed"], ["p"]), node("Add", ["p", "attn_mask"], ["q"]), node("Mul", ["q", "onnx::Mul_9"], ["y"])]
            trains(model(tokens, [floats("cls_token", 1, 1, 4), floats("pos_embed", 1, 6, 4), floats("attn_mask", 6, 4),
                                  floats("onnx::Mul_9", 6, 4), given("ones", [1, 1], np.int64)], ("batch", 5, 4)), 28, ["attn_mask", "onnx::Mul_9"])

        def never():
            infinite = np.zeros((3, 3), np.float32)
            infinite[0, 1] = -np.inf
            trains(model([node("MatMul", ["x", "w"], ["s"]), node("Add", ["s", "block.bias"], ["t"]), node("Softmax", ["t"], ["y"])],
                         [floats("w", 4, 3), given("block.bias", infinite)], (3, 4)), 12, ["block.bias"])

        def constants():
            """Weights in Constant nodes train by their layer; numbers there do not by any name."""
            nodes = [helper.make_node("Constant", [], ["w"], value=floats("", 4, 3)), helper.make_node("Constant", [], ["block.scale"], value=floats("", 5, 3)),
                     linear("fc", "x", "h", "w"), node("Mul", ["h", "block.scale"], ["y"])]
            found, names, _ = describe(model(nodes, [], ("batch", 5, 4)))
            assert (found, names) == (12, ["block.scale"]), f"{found} train, frozen {names}"

        def folded_gain():
            """Of a standardised weight: an exporter has folded gain and scale into one and taken the name."""
            tensors = [floats("conv.weight", 3, 2, 3, 3), given("to", [1, 3, -1], np.int64), given("onnx::BatchNormalization_7", [0.5, 2, 1]),
                       given("back", [3, 2, 3, 3], np.int64), given("onnx::BatchNormalization_8", [0, 0, 0]), given("mean", [0, 0, 0]),
                       given("var", [1, 1, 1])]
            nodes = [node("Reshape", ["conv.weight", "to"], ["rows"]),
                     node("BatchNormalization", ["rows", "onnx::BatchNormalization_7", "onnx::BatchNormalization_8", "mean", "var"], ["unit", "m", "v"],
                          training_mode=1, epsilon=1e-6),
                     node("Reshape", ["unit", "back"], ["w"]), node("Conv", ["x", "w"], ["y"])]
            trains(model(nodes, tensors, ("batch", 2, 5, 5)), 54 + 3, ["onnx::BatchNormalization_8"])

        def networks_of_constants():
            """Position biases that a small network makes of coordinates; rotary frequencies, also where a weight stands."""
            nodes = [node("MatMul", ["attn.rel_coords", "onnx::MatMul_5"], ["a"]), node("Add", ["a", "attn.mlp.fc1.bias"], ["b"]), node("Relu", ["b"], ["c"]),
                     node("MatMul", ["c", "onnx::MatMul_6"], ["bias"]), node("Add", ["x", "bias"], ["s"]), node("Softmax", ["s"], ["y"])]
            trains(model(nodes, [floats("attn.rel_coords", 5, 2), floats("onnx::MatMul_5", 2, 4), floats("attn.mlp.fc1.bias", 4),
                                 floats("onnx::MatMul_6", 4, 3)], ("batch", 5, 3)), 24, ["attn.rel_coords"])
            rotary = [node("MatMul", ["x", "fc.weight"], ["h"]), node("MatMul", ["onnx::MatMul_3", "onnx::MatMul_4"], ["angle"]),
                      node("Cos", ["angle"], ["cos"]), node("Mul", ["h", "cos"], ["y"])]
            trains(model(rotary, [floats("fc.weight", 2, 2), floats("onnx::MatMul_3", 5, 1), floats("onnx::MatMul_4", 1, 2)], ("batch", 5, 2)), 4,
                   ["onnx::MatMul_3", "onnx::MatMul_4"])
            trains(model([node("MatMul", ["x", "stft.basis_buffer"], ["h"]), node("MatMul", ["h", "fc.weight"], ["y"])],
                         [floats("stft.basis_buffer", 4, 3), floats("fc.weight", 3, 2)]), 6, ["stft.basis_buffer"])

        def layer_scale():
            """A vector on a residual branch trains whatever the branch ends in; two vectors on a sum, as rotary positions have, do not."""
            scaled = [node("AveragePool", ["x"], ["p"], kernel_shape=[3, 3], pads=[1] * 4), node("Sub", ["p", "x"], ["d"]),
                      node("Mul", ["d", "onnx::Mul_7"], ["m"]), node("Add", ["x", "m"], ["r"]), node("Conv", ["r", "w"], ["y"])]
            trains(model(scaled, [floats("onnx::Mul_7", 2, 1, 1), floats("w", 3, 2, 1, 1)], ("batch", 2, 5, 5)), 8)
            both = [node("Mul", ["x", "onnx::Mul_8"], ["a"]), node("Relu", ["x"], ["r"]), node("Mul", ["r", "onnx::Mul_9"], ["b"]),
                    node("Add", ["a", "b"], ["s"]), node("Conv", ["s", "w"], ["y"])]
            trains(model(both, [floats("onnx::Mul_8", 2, 1, 1), floats("onnx::Mul_9", 2, 1, 1), floats("w", 3, 2, 1, 1)], ("batch", 2, 5, 5)), 6,
                   ["onnx::Mul_8", "onnx::Mul_9"])

        def no_bias():
            """PyTorch's newer exporter writes one zero for all channels where a layer has no bias; it did train. A parameter of one element does."""
            nodes = [node("Shape", ["conv.weight"], ["s"], start=0, end=1), helper.make_node("Constant", [], ["val_1"], value_ints=[1]),
                     node("Expand", ["s", "val_1"], ["e"]), helper.make_node("Constant", [], ["val_3"], value=given("", 0)),
                     node("CastLike", ["val_3", "x"], ["val_4"]), node("Expand", ["val_4", "e"], ["b"]), node("Conv", ["x", "conv.weight", "b"], ["y"])]
            written = trains(model(nodes, [floats("conv.weight", 3, 2, 3, 3)], ("batch", 2, 5, 5)), 54)
            assert [(n.op_type, len(n.input)) for n in written.graph.node] == [("Conv", 2)], written.graph.node
            nodes = [node("Expand", ["conv.bias", "to"], ["b"]), node("Conv", ["x", "conv.weight", "b"], ["y"])]
            trains(model(nodes, [floats("conv.weight", 3, 2, 3, 3), floats("conv.bias", 1), given("to", [3], np.int64)], ("batch", 2, 5, 5)), 55)

        def training_mode():
            tensors = [floats("bn.weight", 4), floats("bn.bias", 4), given("bn.running_mean", [0, 0, 0, 0]), given("bn.running_var", [1, 1, 1, 1]),
                       given("ratio", 0.5), given("on", True, np.bool_)]
            nodes = [node("BatchNormalization", ["x", *[t.name for t in tensors[:4]]], ["h", "m", "v"], training_mode=1),
                     node("Dropout", ["h", "ratio", "on"], ["y"])]
            _, _, done = describe(model(nodes, tensors))
            notes = [line for line in done.stderr.splitlines() if line.startswith("note:")]
            assert len(notes) == 2, done.stderr
            assert "BatchNormalization_h" in notes[0] and "running statistics" in notes[0], notes
            assert "Dropout_y" in notes[1] and "nothing is dropped" in notes[1], notes

        def paddle():
            values, _, done = describe(model([linear("fc", "x", "y", "w")], [floats("w", 4, 3)], (-1, 4)))
            assert "input x float32[?, 4]" in done.stdout, done.stdout

        def cache(links_out):
            """The layout in which Hugging Face's client keeps a download."""
            repository = root / ("bad" if links_out else "good") / "models--org--net"
            snapshot, blobs = repository / "snapshots" / "0123abc" / "onnx", repository / "blobs"
            snapshot.mkdir(parents=True)
            blobs.mkdir()
            made = model([linear("fc", "x", "y", "fc.weight")], [floats("fc.weight", 4, 3)])
            wanted = numpy_helper.to_array(made.graph.initializer[0])
            onnx.save(made, str(blobs / "aaaa"), save_as_external_data=True, location="model.onnx_data", size_threshold=0)
            (blobs / "model.onnx_data").rename(repository / "elsewhere" if links_out else blobs / "bbbb")
            (snapshot / "model.onnx").symlink_to("../../../blobs/aaaa")
            (snapshot / "model.onnx_data").symlink_to("../../../elsewhere" if links_out else "../../../blobs/bbbb")
            done = ds_export(program, "--model", snapshot / "model.onnx", "--format", "onnx", "--output", root / "o.onnx")
            assert (done.returncode != 0) == links_out, done.stderr
            assert not links_out or "outside the model's folder" in done.stderr, done.stderr
            if not links_out:
                written = onnx.load(str(root / "o.onnx")).graph.initializer[0]
                np.testing.assert_array_equal(numpy_helper.to_array(written), wanted)

        def weights_are_not_read(external):
            """A description's memory does not grow with the weights (sparse files: they take no room on the disk either)."""
            folder = root / f"large{external}"
            folder.mkdir()
            size, count = 1 << 13, 2  # 256 MiB each
            made = model([node("Transpose", ["a.weight"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"], ["h"]), node("MatMul", ["h", "b.weight"], ["y"])],
                         [], ("batch", size))
            for name in ("a.weight", "b.weight"):
                tensor = TensorProto(name=name, dims=[size, size], data_type=1)
                if external:
                    tensor.data_location = TensorProto.EXTERNAL
                    # The second does not lie where it could be mapped.
                    for key, value in (("location", "data"), ("offset", 0 if name == "a.weight" else 4 * size * size + 4)):
                        tensor.external_data.add(key=key, value=str(value))
                else:
                    tensor.raw_data = bytes(4 * size * size)
                made.graph.initializer.append(tensor)
            path = folder / "m.onnx"
            path.write_bytes(made.SerializeToString())
            if external:
                with open(folder / "data", "wb") as file:
                    file.truncate(count * 4 * size * size + 4)
            code = ("import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True); print(done.stdout, done.stderr);"
                    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)")
            done = subprocess.run([sys.executable, "-c", code, program, "--model", str(path), "--describe"], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            assert f"{count * size * size:,} values in 2 tensors train, none is frozen" in done.stdout, done.stdout
            used = int(done.stdout.splitlines()[-1]) // 1024
            print(f"     {used} MiB for {count * 4 * size * size >> 20} MiB of weights")
            assert used < 100, f"{used} MiB"
            path.unlink()

        report.case("weights in another layout or type", layouts)
        report.case("weights times a constant", scaled)
        report.case("one weight in two layouts", tied)
        report.case("a layer that is used twice", twice)
        report.case("ones of two layers", begun)
        report.case("an instance norm's ones and zeros", filled)
        report.case("weights standardised by a batch norm", lambda: standardised(17))
        report.case("weights standardised by statistics that nodes compute", lambda: standardised(17, computed=True))
        report.case("weights standardised in double precision", lambda: standardised(17, np.float64))
        report.case("roles and names", roles)
        report.case("what is not finite", never)
        report.case("Constant nodes", constants)
        report.case("the gain of a standardised weight, folded", folded_gain)
        report.case("networks of constants", networks_of_constants)
        report.case("layer scale", layer_scale)
        report.case("a layer without bias", no_bias)
        report.case("training mode is said", training_mode)
        report.case("Paddle's unknown extents", paddle)
        report.case("a download cache", lambda: cache(False))
        report.case("a link out of a download cache", lambda: cache(True))
        report.case("a description reads no weights", lambda: weights_are_not_read(False))
        report.case("a description reads no external weights", lambda: weights_are_not_read(True))
    report.finish(at_least=14)


if __name__ == "__main__":
    main(sys.argv[1])
