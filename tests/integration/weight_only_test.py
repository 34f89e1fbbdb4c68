"""Matrices in blocks, a text model's and a large classifier's: weight_only_test.py DS_EXPORT DS_QUANTIZE. In ONNX Runtime every quantised matrix is
multiplied in blocks, nothing is rounded but weights, and the logits are as near to the float model's as so many bits allow."""
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from case_report import Report  # noqa: E402

try:
    import numpy as np
    import onnx
    import onnxruntime
except ImportError as error:
    print(f"skipped: {error.name} is not installed (launch/setup.sh installs it)")
    sys.exit(77)

SEED, LENGTH = 20261128, 32
# Of the whole model's logits, whose weights are random; measured: 14.3 to 15.7, and 36.3.
LEAST_SNR = {4: 13.0, 8: 35.0}
# The product in blocks against the same file computed in float, node by node: it may round activations to 8 bits.
SAME_SNR = 35.0
CONFIG = f"""
model: {{name: gpt_nano}}
data: {{type: text, path: TEXT, sequence_length: {LENGTH}, batch_size: 4, test_batch_size: 4}}
"""


def run(path, tokens, optimised=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if optimised is None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    else:
        options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: tokens})[0]


def snr(expected, found):
    return 10 * np.log10(np.square(expected).sum() / max(np.square(found - expected).sum(), 1e-30))


def case(program, folder, bits, group):
    source, target, optimised = folder / "float.onnx", folder / f"w{bits}g{group}.onnx", folder / "optimised.onnx"
    done = subprocess.run([program, "--model", source, "--data", folder / "config.yaml", "--output", target, "--weights-only", "--bits", str(bits),
                           "--end-bits", str(bits)] + (["--group", str(group)] if group else []), capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    kinds = collections.Counter(node.op_type for node in onnx.load(str(target)).graph.node)
    assert kinds["QuantizeLinear"] == 0 and kinds["DequantizeLinear"] > 0, kinds
    tokens = np.random.default_rng(SEED).integers(0, 256, (2, LENGTH))
    expected, found = run(source, tokens, optimised), run(target, tokens, optimised)
    kinds = collections.Counter(node.op_type for node in onnx.load(str(optimised)).graph.node)
    layers = len(json.loads(target.with_suffix(".json").read_text())["layers"])
    assert kinds["MatMulNBits"] == layers >= 9 and kinds["DequantizeLinear"] == 0, f"{kinds} of {layers} layers"
    near, same = snr(expected, found), snr(run(target, tokens), found)
    assert near > LEAST_SNR[bits] and same > SAME_SNR, f"{near:.1f} dB from the float model, {same:.1f} dB from itself in float"
    return f"{near:.1f} dB ({same:.0f} from itself in float), {layers} matrices, {target.stat().st_size / source.stat().st_size:.1%} of the bytes"


def classifier(ds_export, program, folder):
    """MobileNetV2 at 4 bits: its large last layer in blocks, all else in integers, and the file smaller for it."""
    source, optimised = folder / "mobilenet.onnx", folder / "optimised.onnx"
    subprocess.run([ds_export, "--model", "zoo:mobilenet_v2", "--classes", "1000", "--format", "onnx", "--output", source], check=True, stdout=subprocess.DEVNULL)
    (folder / "pictures.yaml").write_text("model: {name: resnet8}\n"
                                          "data: {type: synthetic, height: 32, width: 32, classes: 1000, size: 40, test_batch_size: 8}\n")
    sizes = {}
    for flag in ("--block-classifier", "--no-block-classifier"):
        target = folder / f"mobilenet{flag}.onnx"
        done = subprocess.run([program, "--model", source, "--data", folder / "pictures.yaml", "--output", target, "--bits", "4", "--repair", "none", "--samples",
                               "32", flag], capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stderr
        run(target, np.random.default_rng(SEED).normal(size=(1, 3, 32, 32)).astype(np.float32), optimised)
        kinds = collections.Counter(node.op_type for node in onnx.load(str(optimised)).graph.node)
        blocks = int(flag == "--block-classifier")
        assert kinds["MatMulNBits"] == blocks and kinds["QGemm"] == 1 - blocks and kinds["Gemm"] == kinds["Conv"] == 0, kinds
        sizes[flag] = target.stat().st_size / source.stat().st_size
    with_blocks, without = sizes.values()
    assert with_blocks < .83 * without, sizes
    return f"{with_blocks:.1%} of the bytes instead of {without:.1%}"


def main(ds_export, ds_quantize):
    print(f"seed {SEED}")
    onnxruntime.set_default_logger_severity(3)
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "text.txt").write_bytes(np.random.default_rng(SEED).integers(32, 126, 4000, dtype=np.uint8).tobytes())
        (folder / "config.yaml").write_text(CONFIG.replace("TEXT", str(folder / "text.txt")))
        subprocess.run([ds_export, "--model", "zoo:gpt_nano", "--classes", "256", "--sequence-length", str(LENGTH), "--format", "onnx", "--output",
                        folder / "float.onnx"], check=True, stdout=subprocess.DEVNULL)
        for bits, group in ((4, 0), (4, 128), (8, 64)):
            report.case(f"{bits} bits, blocks of {group or 32}", lambda: case(ds_quantize, folder, bits, group))
        report.case("a classifier", lambda: classifier(ds_export, ds_quantize, folder))
    report.finish(at_least=4)


if __name__ == "__main__":
    main(*sys.argv[1:])
