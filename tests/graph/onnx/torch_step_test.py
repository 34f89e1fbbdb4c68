"""One step of training on a network that PyTorch exported, against PyTorch's own step.

    python3 torch_step_test.py build/bin/ds_train
"""
import contextlib
import copy
import io
import logging
import pathlib
import subprocess
import sys
import tempfile
import warnings

from onnx_support import Report
import numpy as np
import onnxruntime

try:
    import torch
    from torch import nn
except ImportError:
    print("skipped: torch is not installed")
    sys.exit(77)

SEED = 20261129
SAMPLES, SIDE, CLASSES, RATE = 16, 16, 5, 0.1
# Of the change that the step makes to the logits.
TOLERANCE = 1e-5
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


class Transformer(nn.Module):
    """Patches, a class token, positions, one pre-norm block, as ViT has them."""

    def __init__(self, width=16, heads=2):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * .1)
        self.pos_embed = nn.Parameter(torch.randn(1, 17, width) * .1)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head, self.heads = nn.Linear(width, CLASSES), heads

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        attention = (q @ k.transpose(-2, -1) * (c // self.heads) ** -.5).softmax(-1)
        x = x + self.proj((attention @ v).transpose(1, 2).reshape(b, t, c))
        return self.head(self.norm3(x + self.mlp(self.norm2(x)))[:, 0])


class StandardisedConv(nn.Conv2d):
    """Weight standardisation through batch_norm, as timm writes it."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.gain = nn.Parameter(torch.rand(self.out_channels, 1, 1, 1) + .5)
        self.scale = self.weight[0].numel() ** -.5 * 1.7

    def forward(self, x):
        weight = nn.functional.batch_norm(self.weight.reshape(1, self.out_channels, -1), None, None, weight=(self.gain * self.scale).view(-1),
                                          training=True, momentum=0., eps=1e-6).reshape_as(self.weight)
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def standardised():
    return nn.Sequential(StandardisedConv(1, 8, 3, 2, 1), nn.SiLU(), StandardisedConv(8, 8, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                         nn.Linear(32, CLASSES))


def batch_norms():
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8),
                         nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))


def as_layers_begin():
    """Norms of ones and zeros: the newer exporter writes the equal ones of all layers as one tensor."""
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 16), nn.ReLU(), nn.LayerNorm(16),
                         nn.Linear(16, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, CLASSES))


def idx(path, array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(int(extent).to_bytes(4, "big") for extent in array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def export(network, path, dynamo):
    """As docs/onnx.md says."""
    sample = torch.randn(2, 1, SIDE, SIDE)
    with contextlib.redirect_stdout(io.StringIO()):
        if dynamo:
            torch.onnx.export(network, (sample,), str(path), input_names=["x"], output_names=["y"], dynamic_shapes=({0: torch.export.Dim("batch")},))
            return
        torch.onnx.export(network, sample, str(path), dynamo=False, opset_version=17, training=torch.onnx.TrainingMode.PRESERVE,
                          do_constant_folding=False, input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "batch"}})


def logits(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.astype(np.float32)})[0].astype(np.float64)


def main(program):
    print(f"seed {SEED}, torch {torch.__version__}")
    torch.set_num_threads(1)
    report = Report()
    with tempfile.TemporaryDirectory() as root:
        root = pathlib.Path(root)
        rng = np.random.default_rng(SEED)
        pixels = rng.integers(0, 256, (SAMPLES, SIDE, SIDE))
        labels = rng.integers(0, CLASSES, SAMPLES)
        labels[:CLASSES] = np.arange(CLASSES)
        for split in ("train", "t10k"):
            idx(root / f"{split}-images-idx3-ubyte", pixels)
            idx(root / f"{split}-labels-idx1-ubyte", labels)
        x = (pixels[:, None] / 255. - .5) / .25

        def step(make, *overrides, frozen=(), dynamo=False):
            torch.manual_seed(SEED)
            network = make()
            network.eval()
            file = root / "net.onnx"
            export(network, file, dynamo)
            parameters = sum(p.numel() for name, p in network.named_parameters() if name not in frozen)
            config = root / "c.yaml"
            config.write_text(f"""
run: {{name: step, output: {root / 'runs'}, epochs: 1, threads: 1}}
model: {{onnx: {file}}}
data: {{type: idx, path: {root}, batch_size: {SAMPLES}, mean: [0.5], stddev: [0.25]}}
optimizer: {{name: sgd, learning_rate: {RATE}, momentum: 0, nesterov: false, weight_decay: 0}}
schedule: {{name: constant}}
precision: {{mode: fp32}}
checkpoint: {{enabled: false}}
""")
            done = subprocess.run([program, "--config", str(config), *overrides], capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            assert f"model: {parameters:,} values in " in done.stdout, done.stdout
            written = sorted((root / "runs").glob("step*/model.onnx"), key=lambda path: path.stat().st_mtime)[-1]

            oracle = copy.deepcopy(network).double().train()
            before = network.double().eval()(torch.from_numpy(x)).detach().numpy()
            nn.functional.cross_entropy(oracle(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
            with torch.no_grad():
                for name, parameter in oracle.named_parameters():
                    if name not in frozen:
                        parameter -= RATE * parameter.grad
            after = oracle.eval()(torch.from_numpy(x)).detach().numpy()
            change = np.abs(after - before).max()
            error = np.abs(logits(written, x) - after).max() / change
            print(f"     {parameters} parameters, the logits change by {change:.3f}, error {error:.1e} of that")
            assert error <= TOLERANCE, f"error {error:.1e} of the change"

        report.case("transformer", lambda: step(Transformer))
        report.case("weight standardisation", lambda: step(standardised))
        report.case("batch norms", lambda: step(batch_norms))
        report.case("a frozen position", lambda: step(Transformer, "model.freeze=[pos_*]", frozen=("pos_embed",)))
        report.case("a network as it begins", lambda: step(as_layers_begin))
        report.case("a network as it begins, by the newer exporter", lambda: step(as_layers_begin, dynamo=True))
    report.finish(at_least=6)


if __name__ == "__main__":
    main(sys.argv[1])
