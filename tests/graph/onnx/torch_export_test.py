"""Networks as PyTorch's two exporters write them: imported, written again, and the same in ONNX Runtime.

    python3 torch_export_test.py build/bin/ds_export
"""
import io
import contextlib
import logging
import pathlib
import re
import sys
import tempfile
import warnings

from onnx_support import TOLERANCE, Report, convert, ds_export, largest_error, random_feeds, run
import numpy as np
import onnx

try:
    import torch
    from torch import nn
except ImportError:
    print("skipped: torch is not installed")
    sys.exit(77)

SEED = 20260104
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.pool, self.act, self.gate = nn.AdaptiveAvgPool2d(1), nn.ReLU(), nn.Hardsigmoid()
        self.down, self.up = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x):
        return x * self.gate(self.up(self.act(self.down(self.pool(x)))))


def mobile_block():
    """What MobileNetV3 is made of, with the head as torchvision writes it."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16, eps=1e-3, momentum=.01), nn.Hardswish(),
        nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU(), SqueezeExcite(16),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 32), nn.Hardswish(), nn.Dropout(.2), nn.Linear(32, 10))


class Attention(nn.Module):
    def __init__(self, width=16, heads=4):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.heads = heads
        self.position = nn.Parameter(torch.randn(1, 9, width))

    def forward(self, x):
        x = x + self.position
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-2, -1) / 2.0).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(b, t, c))
        return (x + self.mlp(x)).mean(1)


class View(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 5)

    def forward(self, x):
        x = nn.functional.silu(self.conv(x))
        return nn.functional.softmax(self.fc(x.view(x.size(0), -1)), dim=1)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)

    def forward(self, x):
        low = nn.functional.silu(self.a(x))
        high = nn.functional.silu(self.b(low))
        up = nn.functional.interpolate(high, scale_factor=2.0, mode="nearest")
        left, right = torch.cat([low, up], 1).chunk(2, 1)
        pooled = nn.functional.max_pool2d(left, 5, 1, 2)
        return nn.functional.pad(pooled + right.clamp(-1, 1), (1, 0, 0, 1))


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.norm, self.head = nn.Embedding(20, 8), nn.LayerNorm(8), nn.Linear(8, 20)

    def forward(self, tokens):
        return self.head(self.norm(self.table(tokens)))


NETWORKS = {
    # Network, shape, parameters that the exporters fold into others (two batch norms of 16 into convolutions).
    "mobile block": (mobile_block, (2, 3, 32, 32), 32),
    "attention": (Attention, (2, 9, 16), 0),
    "view": (View, (2, 3, 8, 8), 0),
    "detector": (Detector, (2, 3, 16, 16), 0),
    "text": (Text, (2, 7), 0),
}


def main(program):
    print(f"seed {SEED}, torch {torch.__version__}")
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    report = Report()
    exporters = ["script"]
    try:
        import onnxscript  # noqa: F401
        exporters.append("dynamo")
    except ImportError:
        print("torch.onnx.export(dynamo=True) not tested: onnxscript is not installed")
    with tempfile.TemporaryDirectory() as folder:
        before, after = pathlib.Path(folder) / "before.onnx", pathlib.Path(folder) / "after.onnx"

        def export(network, sample, exporter, opset, **extra):
            arguments = {"dynamo": exporter == "dynamo", "input_names": ["x"], "output_names": ["y"], **extra}
            if opset:
                arguments["opset_version"] = opset
            if exporter == "dynamo":
                arguments["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
            else:
                arguments["dynamic_axes"] = {"x": {0: "batch"}, "y": {0: "batch"}}
            with contextlib.redirect_stdout(io.StringIO()):
                torch.onnx.export(network, (sample,), str(before), **arguments)

        def compare(make, shape, folded, exporter, opset):
            network = make().eval()
            with torch.no_grad():  # parameters that are equal would be shared by the exporter
                for parameter in network.parameters():
                    parameter.add_(torch.randn_like(parameter) * .1)
            text = len(shape) == 2
            sample = torch.randint(0, 20, shape) if text else torch.randn(shape)
            export(network, sample, exporter, opset)
            convert(program, before, after)
            for batch in (1, 3):
                feeds = random_feeds(before, rng, batch)
                error = largest_error(run(before, feeds), run(after, feeds))
                assert error <= TOLERANCE, f"error {error:.2e} of the range"
            described = ds_export(program, "--model", before, "--describe").stdout.splitlines()[-1]
            found = int(re.findall(r"[\d,]+", described)[1].replace(",", ""))
            wanted = sum(p.numel() for p in network.parameters()) - folded
            assert found == wanted, f"{found} trainable parameters of {wanted}: {described}"

        for name, (make, shape, folded) in NETWORKS.items():
            for exporter in exporters:
                for opset in ((11, 13, 17) if exporter == "script" else (None, 20)):
                    if name == "attention" and opset == 11:
                        continue  # LayerNorm is many nodes there; 13 shows the same
                    report.case(f"{name}, {exporter} exporter, opset {opset or 'default'}",
                                lambda: compare(make, shape, folded, exporter, opset))

        def training_form(mode, wanted_norms):
            """Exported for training: what is written computes as PyTorch does in evaluation."""
            network = mobile_block()
            with torch.no_grad():
                network(torch.randn(16, 3, 32, 32))  # running statistics that are not 0 and 1
            network.eval()
            export(network, torch.randn(2, 3, 32, 32), "script", 17, training=mode, do_constant_folding=False,
                   keep_initializers_as_inputs=True)
            convert(program, before, after)
            norms = sum(node.op_type == "BatchNormalization" for node in onnx.load(str(after)).graph.node)
            assert norms == wanted_norms, f"{norms} batch norms of {wanted_norms}"
            x = rng.standard_normal((3, 3, 32, 32)).astype(np.float32)
            with torch.no_grad():
                wanted = network.eval()(torch.from_numpy(x)).numpy()
            error = largest_error([wanted], run(after, {"x": x}))
            assert error <= TOLERANCE, f"error {error:.2e} of the range"

        modes = torch.onnx.TrainingMode
        report.case("exported with TrainingMode.PRESERVE", lambda: training_form(modes.PRESERVE, 2))
        report.case("exported with TrainingMode.TRAINING", lambda: training_form(modes.TRAINING, 2))
    report.finish(at_least=10)


if __name__ == "__main__":
    main(sys.argv[1])
