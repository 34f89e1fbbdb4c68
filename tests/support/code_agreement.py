"""A quantised file's activation codes as several programs compute them, and how far they agree."""
import dataclasses
import pathlib
import subprocess

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from exact_products import exact, products_saturate
from safetensors.numpy import load_file, save_file

UNOPTIMISED = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
OPTIMISED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


def code_names(model):
    """What the DequantizeLinear nodes of activations read: codes that were computed, not constants."""
    made = {o: n for n in model.graph.node for o in n.output}
    types = {}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        maker = made.get(node.input[0])
        quantise = made.get(maker.input[0]) if maker is not None and maker.op_type == "Clip" else maker
        if quantise is not None and quantise.op_type == "QuantizeLinear":
            types[node.input[0]] = next(t.data_type for t in model.graph.initializer if t.name == quantise.input[2])
    return types


def with_codes(path, target):
    """A copy whose codes are outputs too; their names."""
    model = onnx.load(str(path))
    types = code_names(model)
    model.graph.output.extend(helper.make_tensor_value_info(name, kind, None) for name, kind in types.items())
    onnx.save(model, str(target))
    return list(types)


def cut_at_codes(path, target, codes):
    """A copy in which every layer reads codes that are given it, inputs "<name>.given", and all codes are outputs: so each layer of a
    program is seen with the codes that another one had before it. `codes`: some, for their types and shapes."""
    model = onnx.load(str(path))
    types = code_names(model)
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in types:
            node.input[0] += ".given"
    for name, kind in types.items():
        shape = ["batch", *codes[name].shape[1:]]
        model.graph.input.append(helper.make_tensor_value_info(name + ".given", kind, shape))
        model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    onnx.save(model, str(target))


def given(codes, names):
    return {name + ".given": codes[name] for name in names}


class Runtime:
    """ONNX Runtime on one thread, with or without its graph optimisation."""

    def __init__(self, path, level, optimised=None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = level
        if optimised:
            options.optimized_model_filepath = str(optimised)
        self.session = self.of(path, options)
        if products_saturate():
            self.session = self.of(path, exact(onnxruntime.SessionOptions()))
        self.names = [o.name for o in self.session.get_outputs()]

    @staticmethod
    def of(path, options):
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(self, feeds):
        return dict(zip(self.names, self.session.run(None, feeds)))


class Executor:
    """Our executor, which computes the file's fake quantisation in float32, through tests/deploy/graph_runner."""

    def __init__(self, program, path, folder):
        self.program, self.path, self.folder = program, path, pathlib.Path(folder)

    def run(self, feeds):
        source, target = self.folder / "in.safetensors", self.folder / "out.safetensors"
        save_file({k: np.ascontiguousarray(v) for k, v in feeds.items()}, source)
        done = subprocess.run([str(self.program), str(self.path), str(source), str(target)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return load_file(target)


@dataclasses.dataclass
class Agreement:
    """Of two programs' codes, over everything that was added."""
    same: dict = dataclasses.field(default_factory=dict)    # by activation: codes that are identical
    count: dict = dataclasses.field(default_factory=dict)
    largest: int = 0                                         # difference of two codes
    worst: str = ""

    def add(self, names, a, b):
        for name in names:
            difference = np.abs(a[name].astype(np.int64) - b[name].astype(np.int64))
            self.same[name] = self.same.get(name, 0) + int((difference == 0).sum())
            self.count[name] = self.count.get(name, 0) + difference.size
            if difference.max(initial=0) > self.largest:
                self.largest, self.worst = int(difference.max()), name

    @property
    def least_share(self):
        """Of the activation that agrees least."""
        return min(self.same[name] / self.count[name] for name in self.same)

    @property
    def share(self):
        return sum(self.same.values()) / sum(self.count.values())

    def __str__(self):
        return f"{self.share:.6%} of codes identical, {self.least_share:.6%} where it is least, none off by more than {self.largest}"
