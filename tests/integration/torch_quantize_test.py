"""MobileNetV3-Large, ResNet-50 and a small network of all that joins integers (gates, SiLU, RepVGG blocks, concatenations, constants) as PyTorch's
exporters write them, through ds_quantize: they run in ONNX Runtime without any arithmetic in float, are as near to the float model as ONNX Runtime's
own static quantisation brings them, and the report's list of nodes that stay in float, each with its reason, is what ONNX Runtime really leaves in float.

    torch_quantize_test.py DS_QUANTIZE
"""
import collections
import contextlib
import io
import json
import logging
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from case_report import Report  # noqa: E402
from exact_products import exact  # noqa: E402

try:
    import numpy as np
    import onnx
    import onnxruntime
    import torch
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from torch import nn
except ImportError as error:
    print(f"skipped: {error.name} is not installed (launch/setup.sh installs it)")
    sys.exit(77)

from mobilenet_v3 import MobileNetV3Large  # noqa: E402
from resnet50 import ResNet50  # noqa: E402

SEED = 20261127
CLASSES, SIDE = 10, 64
CONFIG = f"""
model: {{name: resnet8}}
data: {{type: synthetic, channels: 3, height: {SIDE}, width: {SIDE}, classes: {CLASSES}, size: 40, test_batch_size: 8, mean: [0.5, 0.5, 0.5],
       stddev: [0.25, 0.25, 0.25]}}
"""
# A deep network of random weights amplifies what rounding does to its first layers, so how near is near is measured: with the ranges that
# ONNX Runtime's min-max calibration finds on pictures of the same kind, dB. Other pictures changed either side by up to 3.
MARGIN = 4.0
LEAST_SNR = 5.0
FLOAT_REASON = re.compile(r'node "(.*)" \((\w+)\) stays float: (.+)')
# Names of operators in ONNX Runtime's optimised graph for what fusions make of ours.
FUSED = {"FusedConv": "Conv", "NhwcFusedConv": "Conv", "FusedGemm": "Gemm"}
NOT_COMPUTED = {"QuantizeLinear", "DequantizeLinear"}
ARITHMETIC = {"Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "HardSigmoid", "Sigmoid", "GlobalAveragePool", "ReduceMean", "BatchNormalization",
              "Concat", "LeakyRelu"}

onnxruntime.set_default_logger_severity(3)
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


class Joined(nn.Module):
    """What stands between layers in networks of these years, once each."""
    layers_when_merged = 9    # the three branches of the block are one, the norm behind the concatenation is one more

    def __init__(self, channels, classes):
        super().__init__()
        conv = lambda i, o, k, **more: nn.Sequential(nn.Conv2d(i, o, k, padding=k // 2, bias=False, **more), nn.BatchNorm2d(o))  # noqa: E731
        self.stem = conv(channels, 16, 3, stride=2)
        self.three, self.one, self.norm = conv(16, 16, 3), conv(16, 16, 1), nn.BatchNorm2d(16)
        self.depthwise = conv(16, 16, 3, groups=16)
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.branch = conv(16, 16, 3)
        self.joined = nn.BatchNorm2d(32)
        self.scale, self.shift = nn.Parameter(torch.rand(1, 32, 1, 1) + .5), nn.Parameter(torch.randn(32, 1, 1))
        self.last = conv(32, 32, 1)
        self.head = nn.Linear(32, classes)

    def forward(self, x):
        x = nn.functional.silu(self.stem(x))
        x = torch.relu(self.three(x) + self.one(x) + self.norm(x))
        x = nn.functional.hardswish(self.depthwise(x))
        x = x * torch.sigmoid(self.excite(nn.functional.silu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        y = nn.functional.leaky_relu(self.branch(x), .1)
        x = torch.relu(self.joined(torch.cat([x, y], 1)))
        x = nn.functional.max_pool2d(x * self.scale, 2) + self.shift
        return self.head(nn.functional.silu(self.last(x)).mean((2, 3)))


def images(count):
    """Drawn as the synthetic data set is, from which ds_quantize calibrates: a smooth pattern and as much noise, normalised by CONFIG."""
    corners = torch.randint(0, 256, (count, 3, 5, 5)).float()
    pattern = nn.functional.interpolate(corners, SIDE, mode="bilinear", align_corners=True)
    pixels = (pattern + torch.randint(0, 256, pattern.shape)) / 2
    return (pixels / 255 - .5) / .25


def with_statistics(network):
    """Weights and running statistics that are not all alike, and activations of a size that a trained network has."""
    torch.manual_seed(SEED)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, .8, 1.2)
            nn.init.uniform_(module.bias, -.1, .1)
            module.momentum = None    # the mean of all batches seen
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, .05)
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(images(16))
    return network.eval()


def export(network, path, exporter):
    sample = images(2)
    arguments = {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    if exporter == "script":
        arguments = {"dynamo": False, "opset_version": 17, "dynamic_axes": {"x": {0: "batch"}}}
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(network, (sample,), str(path), input_names=["x"], output_names=["y"], **arguments)
    return onnx.load(str(path)).opset_import[0].version


def run(path, x, optimised=None):
    if optimised:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(optimised)
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), exact(options), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


class Pictures(CalibrationDataReader):
    def __init__(self):
        self.batches = iter([{"x": images(8).numpy()} for _ in range(4)])

    def get_next(self):
        return next(self.batches, None)


def theirs(source, folder):
    """ONNX Runtime's static quantisation, set up as it advises for its CPU kernels."""
    prepared, target = folder / "prepared.onnx", folder / "theirs.onnx"
    whole = folder / "whole.onnx"    # its preprocessing does not find weights in a file beside the model
    onnx.save(onnx.load(str(source)), str(whole))
    quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(target), Pictures(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax)
    return target


def snr(expected, found):
    noise = np.square(found.astype(np.float64) - expected).sum()
    return 10 * np.log10(np.square(expected.astype(np.float64)).sum() / max(noise, 1e-300))


def float_ops(optimised):
    """Operators that ONNX Runtime computes in float, by its own graph."""
    model = onnx.load(str(optimised))
    names = []
    for node in model.graph.node:
        integer = node.op_type.startswith("QLinear") or node.op_type == "QGemm"
        if not integer and node.op_type not in NOT_COMPUTED:
            names.append(FUSED.get(node.op_type, node.op_type))
    return collections.Counter(names)


def quantises(program, folder, network, exporter):
    source, target, optimised = (folder / f"{part}.onnx" for part in ("float", "quantised", "optimised"))
    opset = export(network, source, exporter)
    (folder / "config.yaml").write_text(CONFIG)
    # Random weights: what all layers lose together is nobody's fault, and nothing is to stay float for it.
    done = subprocess.run([program, "--model", source, "--data", folder / "config.yaml", "--output", target, "--samples", "32", "--method",
                           "min-max", "--least-snr", "0"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(target.with_suffix(".json").read_text())
    left = [match.groups() for match in map(FLOAT_REASON.fullmatch, report["warnings"]) if match]
    x = images(8).numpy()
    expected = run(source, x)
    found, rival = snr(expected, run(target, x, optimised)), snr(expected, run(theirs(source, folder), x))
    assert found >= max(rival - MARGIN, LEAST_SNR), f"{found:.1f} dB, ONNX Runtime's own quantisation {rival:.1f}"
    left_there, ours = float_ops(optimised), collections.Counter(op for _, op, _ in left)
    # Only what moves numbers may be counted differently: it has no arithmetic of its own.
    for op in ARITHMETIC:
        assert left_there[op] == ours[op], f"{op}: ONNX Runtime leaves {left_there[op]} in float, the report names {ours[op]}"
        assert left_there[op] == 0, dict(left_there)
    layers = getattr(network, "layers_when_merged", sum(isinstance(module, (nn.Conv2d, nn.Linear)) for module in network.modules()))
    assert len(report["layers"]) == layers, f"{len(report['layers'])} layers of {layers}"
    kinds = ", ".join(f"{count} {op}" for op, count in sorted(collections.Counter(op for _, op, _ in left).items())) or "nothing"
    return f"{found:.1f} dB (ONNX Runtime's own quantisation {rival:.1f}), opset {opset}, in float: {kinds}"


def main(program):
    print(f"seed {SEED}, torch {torch.__version__}")
    torch.set_num_threads(1)
    exporters = ["script"]
    try:
        import onnxscript  # noqa: F401
        exporters.append("dynamo")
    except ImportError:
        print("torch.onnx.export(dynamo=True) not tested: onnxscript is not installed")
    report = Report()
    for name, make in (("ResNet-50", ResNet50), ("MobileNetV3-Large", MobileNetV3Large), ("Joined", Joined)):
        network = with_statistics(make(3, CLASSES))
        for exporter in exporters:
            with tempfile.TemporaryDirectory() as folder:
                report.case(f"{name}, {exporter} exporter",
                            lambda: quantises(program, pathlib.Path(folder), network, exporter))
    report.finish(at_least=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
