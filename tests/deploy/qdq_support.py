"""What the export tests share: float models with believable statistics, min-max plans, what ONNX Runtime makes of a file."""
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper
    from safetensors.numpy import load_file, save_file
except ImportError as error:
    print(f"skipped: {error.name} is not installed (launch/setup.sh installs it)")
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from case_report import Report  # noqa: E402,F401
from exact_products import exact  # noqa: E402

onnxruntime.set_default_logger_severity(3)
F = np.float32
WEIGHT_SLOT = {"Conv": 1, "Gemm": 1, "MatMul": 1}


class Tools:
    """The programs, and a folder for their files."""

    def __init__(self, programs, folder):
        self.ds_export, self.qdq, self.runner = programs
        self.folder = pathlib.Path(folder)

    def call(self, *arguments):
        done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{pathlib.Path(arguments[0]).name} {arguments[1]}: {done.stderr}"
        return done.stdout

    def zoo(self, name, rng, *arguments):
        """A zoo model for inference, batch norms folded, with statistics that matter; also the file before folding."""
        before, after = self.folder / f"{name}.onnx", self.folder / f"{name}.folded.onnx"
        self.call(self.ds_export, "--model", f"zoo:{name}", "--format", "onnx", "--output", before, *arguments)
        randomise(before, rng)
        self.call(self.qdq, "fold", before, after)
        return before, after

    def save(self, model, name="model"):
        path = self.folder / f"{name}.onnx"
        onnx.save(onnx.shape_inference.infer_shapes(model), str(path))
        return path

    def export(self, folded, plan, *flags, name="quantised"):
        """(path, report)"""
        path, plan_path = self.folder / f"{name}.onnx", self.folder / "plan.json"
        plan_path.write_text(json.dumps(plan))
        report = json.loads(self.call(self.qdq, "export", folded, plan_path, path, *flags))
        onnx.checker.check_model(str(path), full_check=True)
        return path, report

    def refused(self, folded, plan, *flags):
        """The one line that an export fails with."""
        path, plan_path = self.folder / "refused.onnx", self.folder / "plan.json"
        plan_path.write_text(json.dumps(plan))
        done = subprocess.run([self.qdq, "export", folded, plan_path, path, *flags], capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 1, f"it ended with {done.returncode} instead of an error: {done.stderr}"
        assert not path.exists(), "a file was left behind"
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    def execute(self, path, feeds):
        """The model's outputs, by name, on our own executor."""
        save_file({k: np.ascontiguousarray(v) for k, v in feeds.items()}, self.folder / "in.safetensors")
        self.call(self.runner, path, self.folder / "in.safetensors", self.folder / "out.safetensors")
        return load_file(self.folder / "out.safetensors")


def randomise(path, rng):
    """Batch norms of a fresh model do nothing: give them statistics, or folding would be tested with ones."""
    model = onnx.load(str(path))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            for slot in (1, 2, 3, 4):
                low, high = (-.2, .2) if slot in (2, 3) else (.7, 1.3)
                values = rng.uniform(low, high, list(tensors[node.input[slot]].dims)).astype(F)
                tensors[node.input[slot]].CopyFrom(numpy_helper.from_array(values, node.input[slot]))
    onnx.save(model, str(path))


def session(path, optimised=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if optimised:
        options.optimized_model_filepath = str(optimised)
    else:
        exact(options)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(path, feeds):
    """The model's outputs, by name, in ONNX Runtime."""
    loaded = session(path)
    return dict(zip([o.name for o in loaded.get_outputs()], loaded.run(None, feeds)))


def optimised_ops(path):
    """How often each operator is in the graph that ONNX Runtime really runs."""
    target = pathlib.Path(path).with_suffix(".optimised")
    session(path, target)
    return collections.Counter(node.op_type for node in onnx.load(str(target)).graph.node)


def with_all_values(path):
    """The model with every float value between as an output too, as bytes."""
    model = onnx.load(str(path))
    known = {v.name: v for v in model.graph.value_info}
    model.graph.output.extend(v for v in known.values() if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)
    return model.SerializeToString()


def ranges(path, feeds):
    """(min, max) of every float value for a batch: of inputs, of values between, of outputs."""
    loaded = onnxruntime.InferenceSession(with_all_values(path), providers=["CPUExecutionProvider"])
    values = dict(zip([o.name for o in loaded.get_outputs()], loaded.run(None, feeds))) | feeds
    return {name: (float(v.min()), float(v.max())) for name, v in values.items() if v.dtype == F}


def activation(low, high, bits=8, signed=False):
    """Min-max parameters as quant/affine.h defines them, computed apart from it."""
    low, high = min(low, 0.), max(high, 0.)
    top = 2 ** (bits - 1) - 1 if signed else 2 ** bits - 1
    span = max(-low, high) if signed else high - low
    scale = F(span / top) if span > 0 else F(1)
    zero = 0 if signed else int(np.rint(F(-low) / scale))
    return dict(bits=bits, signed=signed, scales=[float(scale)], zero_points=[zero])


def weight(values, bits, axis=0, group=0):
    """Symmetric parameters of a weight: a channel along `axis`, or a group along it."""
    top = 2 ** (bits - 1) - 1
    if group:
        parts = np.array_split(values, range(group, values.shape[axis], group), axis)
        largest = np.concatenate([np.abs(part).max(axis, keepdims=True) for part in parts], axis)
    else:
        largest = np.abs(values).max(tuple(i for i in range(values.ndim) if i != axis))
    scales = np.where(largest > 0, largest / top, 1).astype(F).flatten()
    return dict(bits=bits, signed=True, narrow=True, axis=axis, group=group, scales=scales.tolist(),
                zero_points=[0] * scales.size)


def weights_of(model):
    """(node, name, values, axis of the output channels) of every weight."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        slot = WEIGHT_SLOT.get(node.op_type)
        if slot is None or node.input[slot] not in tensors:
            continue
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        axis = 0 if node.op_type == "Conv" or transposed else 1
        yield node, node.input[slot], numpy_helper.to_array(tensors[node.input[slot]]), axis


def min_max_plan(path, feeds, bits=8, ends=8):
    """Activations at 8 bits, weights at `bits`, those of the first and the last layer at `ends`."""
    weights = list(weights_of(onnx.load(str(path))))
    at = {name: ends if i in (0, len(weights) - 1) else bits for i, (_, name, _, _) in enumerate(weights)}
    return dict(activations={name: activation(*r) for name, r in ranges(path, feeds).items()},
                weights={name: weight(values, at[name], axis) for _, name, values, axis in weights},
                left_in_float={})


def fake_quantised(values, params):
    """A weight as its codes have it, by its plan (no groups)."""
    shape = [1] * values.ndim
    shape[params["axis"]] = -1
    scale = np.array(params["scales"], F).reshape(shape)
    top = 2 ** (params["bits"] - 1) - 1
    return (np.clip(np.rint(values / scale), -top, top) * scale).astype(F)


def with_weights(path, plan, target):
    """The float model with the plan's weights in it: what is left to differ is the activations' eight bits."""
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        if tensor.name in plan["weights"]:
            values = fake_quantised(numpy_helper.to_array(tensor), plan["weights"][tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(target))
    return target


def with_values_given(path, target):
    """A readable quantised model taken apart: what it dequantises is an output, and what reads it reads an input of its own
    instead, "<name>.given". So every layer is seen with the very codes that another runtime had before it."""
    model = onnx.load(str(path))
    made = {o: n for n in model.graph.node for o in n.output}
    types = {v.name: v for v in [*model.graph.value_info, *model.graph.output]}
    names = [n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and is_activation(n, made)]
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name in names:
                node.input[i] = name + ".given"
    outputs = {o.name for o in model.graph.output}
    model.graph.output.extend(types[name] for name in names if name not in outputs)
    for name in names:
        given = onnx.ValueInfoProto()
        given.CopyFrom(types[name])
        given.name = name + ".given"
        model.graph.input.append(given)
    onnx.save(model, str(target))
    return names


def is_activation(node, made):
    """True for a DequantizeLinear of what was computed, not of a constant."""
    while node is not None and node.op_type in ("DequantizeLinear", "Cast", "Clip"):
        node = made.get(node.input[0])
    return node is not None


def values_in_runtime(path, names, feeds):
    """Values between, by name, as ONNX Runtime computes them in its optimised graph."""
    model = onnx.load(str(path))
    types = {v.name: v for v in [*model.graph.value_info, *model.graph.output]}
    outputs = {o.name for o in model.graph.output}
    model.graph.output.extend(types[name] for name in names if name not in outputs)
    loaded = onnxruntime.InferenceSession(model.SerializeToString(), exact(onnxruntime.SessionOptions()), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in loaded.get_outputs()], loaded.run(None, feeds)))


def snr(reference, found):
    """Signal to noise, dB."""
    reference, found = reference.astype(np.float64), found.astype(np.float64)
    return 10 * np.log10((reference ** 2).sum() / max(((reference - found) ** 2).sum(), 1e-300))


def run_cases(programs, cases, seed, at_least):
    """A test's main: `cases(tools, rng)` gives names, each with what to run."""
    print(f"seed {seed}")
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases(Tools(programs, folder), np.random.default_rng(seed)):
            report.case(name, case)
    report.finish(at_least=at_least)
