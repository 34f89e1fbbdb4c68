"""One step of SGD on networks of timm and torchvision: PyTorch against Downstream on what both of PyTorch's exporters write of them.

    PYTHON bench/zoo_step.py [NAME ...] [--exporters script dynamo] [--folded FOLDER] [--keep FOLDER] [--batches N] [--describe] [--json FILE]

PYTHON is an environment with torch, torchvision, timm, onnx, onnxscript, onnxruntime and safetensors. Networks are export_zoo.py's, with
parameters no two of which are equal (exporters store equal ones once). They are exported as docs/onnx.md says for fine-tuning: batch norms kept. With
--folded, FOLDER being export_zoo.py's, its files are tried instead, whose batch norms are folded: PyTorch's network is folded alike.

The step: two pictures, cross entropy (per pixel for segmentation; mean squared error over all outputs of the detector), batch norms with the batch's
statistics, no momentum, no decay. ds_train does it on the file, and ONNX Runtime runs the model that it leaves. The oracle is PyTorch in double
precision; "PyTorch" is what PyTorch in single precision is off by. Both are the largest difference of the outputs after the step in evaluation mode, as a
share of the largest change that the step makes. "double" is the same of the file in double precision through our importer and executor
(build/bin/gradient_step): what is left there is not rounding. "statistics" is that of the batch norms' running ones, in double.
"""
import argparse
import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import export_zoo
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
PICTURES, SEED = 2, 14
SIDE = 128  # of pictures, where a network takes any
TARGET_CHANGE = 0.1  # of the outputs' deviation
MOMENTUM = 0.125  # exact in ONNX's attributes, which are single precision
FLOAT, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE


_single = torch.Tensor.float
# EfficientViT's attention asks for single precision, which would make the oracle one of single precision.
torch.Tensor.float = lambda tensor: tensor if tensor.dtype == torch.float64 else _single(tensor)


class Joined(torch.nn.Module):
    """A detector's outputs as one, since a loss has one."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return torch.cat(self.model(x), -1).flatten(1)


def side_of(name, folded):
    fixed = folded or name in export_zoo.DETECTION or any(part in name for part in ("vit_", "deit", "swin", "maxvit", "levit", "vgg11"))
    return export_zoo.SIZES.get(name, 224) if fixed else SIDE


def network(name, side, settled, folded):
    """Of export_zoo.py's seeds; nothing random in training."""
    model = export_zoo.build(name)
    if settled:
        export_zoo.settle(model, side)
    for module in model.modules():
        if isinstance(getattr(module, "eps", None), float):
            module.eps = float(np.float32(module.eps))
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            # export_zoo.py's files have what None became: statistics that stay.
            module.momentum = 0.0 if folded else MOMENTUM
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        # What timm drops through functions: paths, and GhostNet's features before its classifier.
        for chance in ("drop_prob", "drop_rate"):
            if isinstance(getattr(module, chance, None), float):
                setattr(module, chance, 0.0)
    return model


def fold(model, x):
    """Batch norms behind a convolution go into it, as both exporters do it for evaluation."""
    made, pairs, names = {}, [], {module: name for name, module in model.named_modules()}
    kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)

    def remember(module, _, output):
        made[id(output)] = (module, output)  # alive, so that its id stays its own

    def pair(module, inputs):
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    hooks = [module.register_forward_hook(remember) for module in names if isinstance(module, kinds)]
    hooks += [module.register_forward_pre_hook(pair) for module in names if isinstance(module, torch.nn.BatchNorm2d)]
    before = evaluate(model, x)
    for hook in hooks:
        hook.remove()
    for layer, norm in pairs:
        fused = torch.nn.utils.fusion.fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, torch.nn.ConvTranspose2d))
        fused.bias.requires_grad_(True)
        behind = torch.nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else torch.nn.Identity()
        for kept, new in ((layer, fused), (norm, behind)):
            parent, _, name = names[kept].rpartition(".")
            setattr(model.get_submodule(parent), name, new)
        if np.abs(evaluate(model, x) - before).max() > 1e-3 * np.abs(before).max():  # another layer reads the convolution, too
            for kept in (layer, norm):
                parent, _, name = names[kept].rpartition(".")
                setattr(model.get_submodule(parent), name, kept)
    return model


def move_apart(model):
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.1 * torch.rand(parameter.shape, generator=generator))
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))


def export(model, x, exporter, path):
    """As docs/onnx.md says. train() first: some networks keep what they computed for evaluation, as LeViT its biases."""
    model.train().eval()
    if exporter == "script":
        torch.onnx.export(model, (x,), str(path), dynamo=False, opset_version=17, training=torch.onnx.TrainingMode.PRESERVE,
                          do_constant_folding=False, input_names=["input"], dynamic_axes={"input": {0: "N"}})
    else:
        torch.onnx.export(model, (x,), str(path), dynamo=True, optimize=False, external_data=False, input_names=["input"],
                          dynamic_shapes=({0: torch.export.Dim("N", min=1, max=4096)},), verbose=False)


def outputs_of(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0].astype(np.float64)


def loss_of(outputs, labels):
    if labels.is_floating_point():
        return torch.nn.functional.mse_loss(outputs, labels.to(outputs.dtype))
    return torch.nn.functional.cross_entropy(outputs, labels)


def tied(parameters):
    """Groups of equal values, which exporters store once; ones and zeros the importer gives to each layer again."""
    groups = {}
    for parameter in parameters:
        own = parameter if parameter.ndim == 1 and bool((parameter == parameter[0]).all()) else None
        groups.setdefault((tuple(parameter.shape), own if own is not None else parameter.detach().numpy().tobytes()), []).append(parameter)
    return groups.values()


def with_gradients(model, x, labels, ties):
    """A copy that has seen the batch in training mode; with `ties`, parameters that are equal share one gradient."""
    model = copy.deepcopy(model).train()
    groups = tied(model.parameters()) if ties else []
    loss_of(model(x), labels).backward()
    for group in groups:
        gradients = [parameter.grad for parameter in group if parameter.grad is not None]
        for parameter in group:
            parameter.grad = sum(gradients) if gradients else None
    return model.eval()


def step(model, rate):
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad
    return model


def evaluate(model, x):
    with torch.no_grad():
        return model.eval()(x).numpy().astype(np.float64)


def rate_for(model, x, change):
    """The rate at which the outputs of a network with gradients change by about so much."""
    tiny = 1e-6
    before = evaluate(model, x)
    step(model, tiny)
    moved = np.abs(evaluate(model, x) - before).max() / tiny
    step(model, -tiny)
    return float(np.float32(change / moved))


CONFIG = """
run: {{name: step, output: {folder}/runs, epochs: 1, threads: 1}}
model: {{onnx: {file}}}
data: {{type: tensors, path: {folder}/data, batch_size: {pictures}, test_batch_size: {pictures}}}
loss: {{name: {loss}}}
optimizer: {{name: sgd, learning_rate: {rate!r}, momentum: 0, nesterov: false, weight_decay: 0}}
schedule: {{name: constant}}
precision: {{mode: fp32}}
checkpoint: {{enabled: false}}
log: {{tensorboard: false}}
"""


def our_step(file, x, labels, rate, folder):
    """What trains, in ds_train's words, and the file that it leaves."""
    for split in ("train", "test"):
        (folder / "data" / split).mkdir(parents=True, exist_ok=True)
        name = onnx.load(str(file), load_external_data=False).graph.input[0].name
        np.save(folder / "data" / split / f"{name}.npy", x.numpy())
        np.save(folder / "data" / split / "labels.npy", labels.numpy())
    loss = "mse" if labels.is_floating_point() else "cross_entropy"
    (folder / "c.yaml").write_text(CONFIG.format(folder=folder, file=file, pictures=PICTURES, loss=loss, rate=float(rate)))
    done = subprocess.run([ROOT / "build/bin/ds_train", "--config", folder / "c.yaml"], capture_output=True, text=True, timeout=1800)
    if done.returncode != 0:
        raise RuntimeError("ds_train: " + done.stderr.strip()[-300:])
    (trains,) = re.findall(r"^model: (.* train.*)$", done.stdout, re.M)
    return trains, folder / "runs/step/model.onnx"


def widen_tensor(tensor):
    if tensor.data_type == FLOAT:
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), name))


def widen(source, target):
    """The same model in double precision; scales of Resize stay as ONNX wants them."""
    model = onnx.load(str(source))
    kept = {name for node in model.graph.node if node.op_type == "Resize" for name in node.input[1:3]}
    made_by = {output: node for node in model.graph.node for output in node.output}
    kept_nodes = {id(made_by[name]) for name in kept if name in made_by}
    for tensor in model.graph.initializer:
        if tensor.name not in kept:
            widen_tensor(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if id(node) in kept_nodes:
                continue
            if node.op_type in ("Cast", "Constant", "ConstantOfShape") and attribute.type == onnx.AttributeProto.TENSOR:
                widen_tensor(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
                attribute.i = DOUBLE
            if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                values = np.array(attribute.f if attribute.name == "value_float" else list(attribute.floats), np.float64)
                attribute.CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(values)))
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == FLOAT:
            value.type.tensor_type.elem_type = DOUBLE
    del model.graph.value_info[:]
    onnx.save(model, str(target))


def double_step(file, x, labels, rate, folder):
    widen(file, folder / "double.onnx")
    save_file({"input": x.double().numpy(), "labels": labels.double().numpy() if labels.is_floating_point() else labels.numpy()},
              folder / "in.safetensors")
    loss = "mse" if labels.is_floating_point() else "cross_entropy"
    done = subprocess.run([ROOT / "build/bin/gradient_step", folder / "double.onnx", loss, repr(float(rate)), folder / "in.safetensors",
                           folder / "out.safetensors"], capture_output=True, text=True, timeout=1800)
    if done.returncode != 0:
        raise RuntimeError("gradient_step: " + done.stderr.strip()[-300:])
    return load_file(folder / "out.safetensors")


def worst_by_name(model, before, found):
    """Of tensors that have PyTorch's names: the one whose change is off most, as a share of its own change."""
    was = dict(before.state_dict())
    worst = {"parameter": (0.0, ""), "statistic": (0.0, "")}
    for name, expected in model.state_dict().items():
        if name not in found or found[name].shape != tuple(expected.shape) or not expected.is_floating_point():
            continue
        change = float((expected - was[name]).abs().max())
        # MatMul's weight is stored the other way round.
        ways = [found[name], found[name].T] if found[name].ndim == 2 and len(set(expected.shape)) == 1 else [found[name]]
        error = min(float(np.abs(way - expected.numpy()).max()) for way in ways)
        share = error / change if change > 0 else error
        kind = "statistic" if ".running_" in "." + name else "parameter"
        worst[kind] = max(worst[kind], (share, name))
    return worst


class Case:
    """One network, its pictures, and PyTorch's steps."""

    def __init__(self, name, folded, settled):
        self.name, self.folded = name, folded
        size = side_of(name, folded)
        self.model = network(name, size, settled, folded)
        if not folded:
            move_apart(self.model)
        if name in export_zoo.DETECTION:
            self.model = Joined(self.model)
        self.model.eval()
        self.size = size
        self.pictures(0)
        if folded:
            self.model = fold(self.model, self.x)
        # Before anything is evaluated: what a network keeps for evaluation must not be in its export.
        self.reference = copy.deepcopy(self.model)
        self.count = self.parameters()

    def pictures(self, batch):
        self.x = torch.randn((PICTURES, 3, self.size, self.size), generator=torch.Generator().manual_seed(13 + batch))

    def adopt(self, file):
        """Values as the exporter rounded them when it folded; biases of zeros that it left out do not train."""
        stored = {}
        for tensor in onnx.load(str(file)).graph.initializer:
            stored.setdefault(tuple(tensor.dims), []).append(numpy_helper.to_array(tensor))
        with torch.no_grad():
            for parameter in self.reference.parameters():
                values = parameter.numpy()
                error, nearest = min(((float(np.abs(values - each).max()), i) for i, each in enumerate(stored.get(values.shape, []))), default=(np.inf, 0))
                if error <= 1e-5 * np.abs(values).max():
                    parameter.copy_(torch.from_numpy(stored[values.shape][nearest].copy()))
                elif not values.any():
                    parameter.requires_grad_(False)
        self.count = self.parameters()

    def steps(self):
        x, wide = self.x, copy.deepcopy(self.reference).double()
        rng = np.random.default_rng(SEED)
        before = evaluate(wide, x.double())
        if self.name in export_zoo.DETECTION:
            self.labels = torch.from_numpy((before + rng.standard_normal(before.shape)).astype(np.float32))
        else:
            self.labels = torch.from_numpy(rng.integers(0, before.shape[1], before.shape[:1] + before.shape[2:]))
        self.before, self.wide = before, wide
        self.stepped = with_gradients(wide, x.double(), self.labels, self.folded)
        self.rate = rate_for(self.stepped, x.double(), TARGET_CHANGE * before.std())
        self.after = evaluate(step(self.stepped, self.rate), x.double())
        self.change = np.abs(self.after - before).max()
        narrow = step(with_gradients(self.reference, x, self.labels, self.folded), self.rate)
        self.theirs = self.error(evaluate(narrow, x))

    def parameters(self):
        trained = [p for p in self.reference.parameters() if p.requires_grad]
        groups = tied(trained) if self.folded else [[p] for p in trained]
        return sum(group[0].numel() for group in groups)

    def error(self, found):
        return float(np.abs(found - self.after).max() / self.change)

    def describe(self, file):
        """Without a step: how many values train, and the frozen ones' names."""
        done = subprocess.run([ROOT / "build/bin/ds_export", "--model", file, "--describe"], capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise RuntimeError("ds_export: " + done.stderr.strip()[-300:])
        (trains,) = re.findall(r"^(.* values in .* train, .*)$", done.stdout, re.M)
        return dict(trained=int(trains.split()[0].replace(",", "")), expected=self.count, trains=trains)

    def compare(self, file, folder):
        trains, written = our_step(file, self.x, self.labels, self.rate, folder)
        row = dict(trained=int(trains.split()[0].replace(",", "")), expected=self.count, trains=trains, torch=self.theirs)
        row["ours"] = self.error(outputs_of(written, self.x))
        found = double_step(file, self.x, self.labels, self.rate, folder)
        row["double"] = self.error(found["after"])
        row["double_before"] = float(np.abs(found["before"] - self.before).max() / self.change)
        worst = worst_by_name(self.stepped, self.wide, found)
        row["worst"], row["statistics"] = worst["parameter"], worst["statistic"]
        return row

    def compare_all(self, file, folder, batches):
        """A step on each of several batches from the same network: medians in single precision, the worst in double."""
        rows = []
        for batch in range(batches):
            self.pictures(batch)
            self.steps()
            within = folder / str(batch)
            within.mkdir()
            rows.append(self.compare(file, within))
        row = max(rows, key=lambda each: each["double"])
        each_of = {key: [each[key] for each in rows] for key in ("ours", "torch")}
        return row | {key: float(np.median(values)) for key, values in each_of.items()} | {"batches": each_of}


def files_of(case, exporter, args, folder):
    if args.folded:
        return args.folded / f"{case.name}.{exporter}.onnx"
    path = (args.keep or folder) / f"{case.name}.{exporter}.train.onnx"
    if not path.exists():
        export(copy.deepcopy(case.model), case.x, exporter, path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", default=["unet"] + export_zoo.TIMM + export_zoo.TORCHVISION + export_zoo.SEGMENTATION + export_zoo.DETECTION)
    parser.add_argument("--exporters", nargs="+", default=["script", "dynamo"])
    parser.add_argument("--folded", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path, help="where exported files stay, and are taken from")
    parser.add_argument("--describe", action="store_true", help="no step: only whether as many values train as PyTorch has parameters")
    parser.add_argument("--batches", type=int, default=1, help="a step on each of so many: medians in single precision, whose rounding is chance")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        case = Case(name, bool(args.folded), not args.describe)
        for exporter in args.exporters:
            row = dict(name=name, exporter=exporter)
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                try:
                    file = files_of(case, exporter, args, folder)
                    if args.folded:
                        case.adopt(file)
                    if args.describe:
                        row |= case.describe(file)
                        print(f"{name:30} {exporter:7} trained {row['trained'] - row['expected']:+9}: {row['trains']}", flush=True)
                        continue
                    row |= case.compare_all(file, folder, args.batches)
                    print(f"{name:30} {exporter:7} trained {row['trained'] - row['expected']:+9} ours {row['ours']:.1e} PyTorch {row['torch']:.1e} "
                          f"double {row['double']:.1e} statistics {row['statistics'][0]:.1e} worst {row['worst'][0]:.1e} {row['worst'][1]}", flush=True)
                except Exception as error:  # noqa: BLE001 - a line of the table, not its end
                    row["why"] = str(error)
                    print(f"{name:30} {exporter:7} {type(error).__name__}: {str(error)[:400]}", flush=True)
            if args.json:
                with args.json.open("a") as out:
                    out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    sys.exit(main())
