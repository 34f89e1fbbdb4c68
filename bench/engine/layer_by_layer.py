"""The edge engine against ONNX Runtime, a layer at a time, so that differences do not add up.

    PYTHON bench/engine/layer_by_layer.py BUILD FILE.onnx [FILE.onnx ...] [--seeds 2] [--plain] [--worst 5]

FILE.onnx is quantised with QuantizeLinear and DequantizeLinear. Between two tensors of codes lies a layer: what one QuantizeLinear reads, back to the
codes that it comes from. Each layer is cut out, compiled, and given the codes that ONNX Runtime has there in a run of the whole network; the codes
that it makes are compared with ONNX Runtime's. BUILD is the build folder (bin/ds_export, libds_engine.so). Where a
processor has no VNNI, ONNX Runtime's integer kernels saturate sums of two products at 16 bits, and codes differ by tens: there --plain has it compute
in float what lies between DequantizeLinear and QuantizeLinear, as the file says it.
"""
import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/deploy/engine/compile"))
from engine import Engine  # noqa: E402

Layer = collections.namedtuple("Layer", "name op codes inputs model")
INPUT_KINDS = {TensorProto.FLOAT: np.float32, TensorProto.INT64: np.int64}


def session(model, plain):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Network:
    """Codes are all the results of QuantizeLinear that no initialiser makes."""

    def __init__(self, model):
        self.model, graph = onnx.shape_inference.infer_shapes(model, strict_mode=True), model.graph
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = {port.name: port for port in graph.input if port.name not in self.initializers}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.shapes = {info.name: info for info in [*self.model.graph.value_info, *graph.input, *self.model.graph.output]}
        self.codes = [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] not in self.initializers]

    def behind(self, node):
        """The nodes of a layer in order, the codes and the inputs that it begins from."""
        ends, nodes, seen = {}, [], set()

        def visit(name):
            maker = self.makers.get(name)
            if not name or name in seen or name in self.initializers:
                return
            seen.add(name)
            if name in self.inputs or (maker.op_type == "QuantizeLinear" and maker.input[0] not in self.initializers):
                ends[name] = maker
                return
            for before in maker.input:
                visit(before)
            if maker not in nodes:
                nodes.append(maker)
        visit(node.input[0])
        return nodes, ends

    def layer(self, node, floats):
        """`floats`: shape of each code tensor."""
        nodes, ends = self.behind(node)
        if not any(step.op_type != "DequantizeLinear" for step in nodes) or not ends:
            return None
        front, ports = [], []
        for name, maker in ends.items():
            if maker is None:
                ports.append(self.inputs[name])
                continue
            ports.append(helper.make_tensor_value_info(f"{name}.real", TensorProto.FLOAT, floats[name]))
            front.append(helper.make_node("QuantizeLinear", [f"{name}.real", *maker.input[1:]], [name], name=f"{name}.again", axis=1))
        back = [node, helper.make_node("DequantizeLinear", [node.output[0], *node.input[1:]], ["real"], name="back")]
        used = {name for step in [*front, *nodes, *back] for name in step.input}
        graph = helper.make_graph([*front, *nodes, *back], "layer", ports, [helper.make_tensor_value_info("real", TensorProto.FLOAT, floats[node.output[0]])],
                                  [tensor for name, tensor in self.initializers.items() if name in used])
        model = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        middle = [step for step in nodes if step.op_type not in ("DequantizeLinear", "QuantizeLinear")]
        return Layer(middle[-1].name or node.name, "+".join(step.op_type for step in middle), node.output[0], list(ends), model)

    def number(self, name):
        return onnx.numpy_helper.to_array(self.initializers[name])

    def real(self, name, codes):
        """What codes stand for; an input as it is."""
        maker = self.makers.get(name)
        if maker is None:
            return codes
        zero = self.number(maker.input[2]).astype(np.int32) if len(maker.input) > 2 else 0
        return (codes.astype(np.int32) - zero).astype(np.float32) * self.number(maker.input[1])


def fixed(model):
    """A batch that is left open is 1."""
    for port in model.graph.input:
        for extent in port.type.tensor_type.shape.dim:
            if not extent.HasField("dim_value"):
                extent.dim_value = 1
    return model


def feed_of(network, seed):
    random, feed = np.random.default_rng(seed), {}
    for name, port in network.inputs.items():
        shape = [extent.dim_value for extent in port.type.tensor_type.shape.dim]
        whole = INPUT_KINDS[port.type.tensor_type.elem_type] is np.int64
        feed[name] = random.integers(0, 10, shape) if whole else random.standard_normal(shape).astype(np.float32)
    return feed


def compare(export, library, path, seeds=2, plain=False):
    """For each layer its name, its operators, the greatest difference in codes, and the share of codes that differ; None for one that the engine refuses."""
    network = Network(fixed(onnx.load(path)))
    exposed = onnx.ModelProto()
    exposed.CopyFrom(network.model)
    named = {port.name for port in exposed.graph.output}
    exposed.graph.output.extend(helper.make_tensor_value_info(node.output[0], network.shapes[node.output[0]].type.tensor_type.elem_type, None)
                                for node in network.codes if node.output[0] not in named)
    runtime = session(exposed, plain)
    names = [port.name for port in runtime.get_outputs()]
    feeds = [feed_of(network, seed) for seed in range(seeds)]
    runs = [{**feed, **dict(zip(names, runtime.run(None, feed), strict=True))} for feed in feeds]
    shapes = {name: list(values.shape) for name, values in runs[0].items()}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        onnx_path, dsm = pathlib.Path(folder) / "layer.onnx", pathlib.Path(folder) / "layer.dsm"
        for node in network.codes:
            layer = network.layer(node, shapes)
            if layer is None:
                continue
            onnx.save(layer.model, onnx_path)
            done = subprocess.run([export, "--model", onnx_path, "--format", "dsm", "--output", dsm], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                found.append((layer.name, layer.op, None, done.stderr.strip().splitlines()[-1]))
                continue
            engine = Engine(library, dsm)
            worst, differing, count = 0, 0, 0
            scale = network.number(node.input[1])
            for run in runs:
                feed = {name if name in network.inputs else f"{name}.real": network.real(name, run[name]) for name in layer.inputs}
                ours = np.rint(engine.run(feed)[0] / scale)
                theirs = np.rint(network.real(layer.codes, run[layer.codes]) / scale)
                steps = np.abs(ours - theirs)
                worst, differing, count = max(worst, int(steps.max())), differing + int((steps > 0).sum()), count + steps.size
            engine.close()
            found.append((layer.name, layer.op, worst, differing / count))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=2, help="random inputs of each network")
    parser.add_argument("--plain", action="store_true", help="ONNX Runtime computes every node as it is written")
    parser.add_argument("--worst", type=int, default=5, help="layers shown of a network")
    args = parser.parse_args()
    library = next(args.build.rglob("libds_engine.so"))
    print("| network | layers | refused | codes that differ | greatest difference |\n| --- | --- | --- | --- | --- |")
    details = []
    for path in args.files:
        found = compare(args.build / "bin/ds_export", library, path, args.seeds, args.plain)
        ran = [row for row in found if row[2] is not None]
        share = np.mean([row[3] for row in ran]) if ran else 0
        print(f"| {path.stem} | {len(found)} | {len(found) - len(ran)} | {100 * share:.3f} % | {max((row[2] for row in ran), default=0)} |", flush=True)
        details += [(path.stem, *row) for row in found if row[2] is None][:args.worst]
        details += [(path.stem, *row) for row in sorted(ran, key=lambda row: -row[2]) if row[2] > 1][:args.worst]
    for row in details:
        print("   ", *row)


if __name__ == "__main__":
    main()
