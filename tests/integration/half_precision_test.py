"""ONNX files that compute in half precision, as ONNX Runtime's converter makes them, with float32 at their ends and without: they are quantised and trained
in float32, and the programs say so.

    half_precision_test.py DS_QUANTIZE DS_TRAIN
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto
from onnxruntime.transformers.float16 import convert_float_to_float16

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from attention_mask_test import LENGTH, Net, chosen, quantize, run, samples  # noqa: E402
from case_report import Report  # noqa: E402

DS_QUANTIZE, DS_TRAIN = sys.argv[1:3]
LEAST_SNR = 24.0
NOTE = "half precision"
CONFIG = """
model: {onnx: half.onnx}
data: {type: tensors, path: data, batch_size: 16}
loss: {name: cross_entropy}
run: {epochs: 1, output: run}
optimizer: {learning_rate: 0.005}
"""


def make(folder, keep_io_types):
    net = Net(chosen(-1e4))
    net.save(folder / "float.onnx")
    half = convert_float_to_float16(onnx.load(folder / "float.onnx"), keep_io_types=keep_io_types)
    assert any(t.data_type == TensorProto.FLOAT16 for t in half.graph.initializer)
    onnx.save(half, folder / "half.onnx")


def types(path):
    model = onnx.load(str(path))
    return {t.data_type for t in model.graph.initializer} | {v.type.tensor_type.elem_type for v in list(model.graph.input) + list(model.graph.output)}


def quantises(folder, keep_io_types):
    make(folder, keep_io_types)
    done = quantize(DS_QUANTIZE, folder, "half.onnx", "integers.onnx")
    assert done.returncode == 0, done.stderr
    assert NOTE in done.stdout + done.stderr, done.stdout
    assert TensorProto.FLOAT16 not in types(folder / "integers.onnx")
    expected = run(folder / "float.onnx")
    snr = 10 * np.log10(np.square(expected).sum() / np.square(run(folder / "integers.onnx") - expected).sum())
    assert snr >= LEAST_SNR, f"{snr:.1f} dB"
    return f"{snr:.1f} dB"


def trains(folder, keep_io_types):
    make(folder, keep_io_types)
    quantize(DS_QUANTIZE, folder, "half.onnx", "integers.onnx")  # for its data
    labels = run(folder / "float.onnx").argmax(-1)
    for part in ("train", "test"):
        (folder / "data" / part).mkdir(exist_ok=True)
        for name, values in samples(2).items():
            np.save(folder / "data" / part / f"{name}.npy", values)
        np.save(folder / "data" / part / "labels.npy", labels)
    for file in (folder / "data").glob("*.npy"):
        file.unlink()
    (folder / "train.yaml").write_text(CONFIG)
    done = subprocess.run([DS_TRAIN, "--config", "train.yaml"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert NOTE in done.stdout + done.stderr, done.stdout
    (written,) = folder.glob("run/**/model.onnx")
    assert TensorProto.FLOAT16 not in types(written)
    moved = np.abs(run(written) - run(folder / "float.onnx")).max()
    agree = (run(written).argmax(-1) == labels).mean()
    assert moved > 1e-4 and agree > .9 and labels.shape[1] == LENGTH, (moved, agree)


def main():
    onnxruntime.set_default_logger_severity(3)
    report = Report()
    for keep in (True, False):
        for name, function in (("quantises", quantises), ("trains", trains)):
            with tempfile.TemporaryDirectory() as scratch:
                report.case(f"{name}, {'float32' if keep else 'float16'} at its ends", lambda f=function, s=scratch, k=keep: f(pathlib.Path(s), k))
    report.finish(4)


if __name__ == "__main__":
    main()
