"""INT8 files of image models in ONNX Runtime: ds_quantize against quantize_static, model by model, on one thread.

    bench/export_zoo.py FOLDER                         (in an environment with timm and torchvision)
    .venv/bin/python bench/int8_zoo.py FOLDER [NAME ...] [--samples 32] [--output DIR]

Both calibrate on the same synthetic pictures (smooth patterns and noise, normalised) and are compared on others of the same kind: signal to noise of
the outputs against the float model's (logits, maps of segmentation, boxes and scores of detection: the worst output counts), and time, least of rounds that
take turns (a shared machine only ever adds). quantize_static is set up as ONNX Runtime advises for its CPU kernels: its preprocessing, QDQ, weights s8 per
channel, activations u8, ranges by min-max. Weights are random, so that decibels are lower than a trained model's; they compare the two, and say little else.
"""
import argparse
import collections
import json
import logging
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROUNDS, RUNS, TEST = 7, 4, 8
NOT_COMPUTED = {"QuantizeLinear", "DequantizeLinear", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Shape", "Gather", "Slice", "Concat", "Cast",
                "Identity", "Split", "Expand", "ConstantOfShape", "Constant"}


def pictures(count, side, rng):
    corners = rng.integers(0, 256, (count, 3, 5, 5)).astype(np.float64)
    at = np.linspace(0, 4, side)
    low = np.minimum(at.astype(int), 3)
    part = at - low
    rows = corners[:, :, low] * (1 - part)[:, None] + corners[:, :, low + 1] * part[:, None]
    pattern = rows[..., low] * (1 - part) + rows[..., low + 1] * part
    return (((pattern + rng.integers(0, 256, pattern.shape)) / 2 / 255 - .5) / .25).astype(np.float32)


class Reader(CalibrationDataReader):
    def __init__(self, name, samples):
        self.items = iter([{name: samples[i:i + 1]} for i in range(len(samples))])

    def get_next(self):
        return next(self.items, None)


def session(path, optimised=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if optimised:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def ours(source, target, calibration, test, flags):
    """ds_quantize without labels: each input's arrays by its name."""
    data = target.with_suffix(".data")
    data.mkdir(exist_ok=True)
    np.savez(data / "train.npz", **calibration)
    np.savez(data / "test.npz", **test)
    config = target.with_suffix(".yaml")
    config.write_text(f"data: {{type: tensors, path: {data}, test_batch_size: 4}}\n")
    samples = len(next(iter(calibration.values())))
    done = subprocess.run([ROOT / "build/bin/ds_quantize", "--model", source, "--data", config, "--output", target, "--samples", str(samples)] + flags,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError("ds_quantize: " + done.stderr.strip().splitlines()[-1][:160])


def theirs(source, target, name, samples):
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(target), Reader(name, samples), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    prepared.unlink()


def snr(expected, found):
    noise = np.square(found.astype(np.float64) - expected).sum()
    return 10 * np.log10(np.square(expected.astype(np.float64)).sum() / max(noise, 1e-300))


def worst_snr(expected, found):
    """Least over the outputs; the samples of one are taken together."""
    return min(snr(np.concatenate(x), np.concatenate(y)) for x, y in zip(zip(*expected), zip(*found)))


def times(sessions, feed):
    least = {key: float("inf") for key in sessions}
    for _ in range(ROUNDS):
        for key, run in sessions.items():
            run.run(None, feed)
            for _ in range(RUNS):
                start = time.perf_counter()
                run.run(None, feed)
                least[key] = min(least[key], time.perf_counter() - start)
    return least


def left_in_float(path):
    ops = collections.Counter(node.op_type for node in onnx.load(str(path)).graph.node)
    return {op: n for op, n in ops.items() if not op.startswith("QLinear") and op not in NOT_COMPUTED | {"QGemm"}}


def compare(source, folder, samples, flags):
    run = session(source)
    first = run.get_inputs()[0]
    side = first.shape[2]
    rng = np.random.default_rng(5)
    calibration, test = pictures(samples, side, rng), pictures(TEST, side, rng)
    files = {"ours": folder / f"{source.stem}.ours.onnx", "static": folder / f"{source.stem}.static.onnx"}
    failed, sessions = {}, {"fp32": run}
    for key, make in (("ours", lambda: ours(source, files["ours"], {first.name: calibration}, {first.name: test}, flags)),
                      ("static", lambda: theirs(source, files["static"], first.name, calibration))):
        try:
            make()
            sessions[key] = session(files[key], folder / f"{key}.optimised.onnx")
        except Exception as error:  # noqa: BLE001 - a model that one of the two cannot do is a line of the table
            failed[key] = str(error).splitlines()[0][:100]
    least = times(sessions, {first.name: test[:1]})
    results = {key: [s.run(None, {first.name: x[None]}) for x in test] for key, s in sessions.items()}
    near = {key: f"{worst_snr(results['fp32'], y):.1f}" for key, y in results.items()}
    cell = lambda key: f"{least[key] * 1e3:.2f} | {near[key]}" if key in sessions else f"failed: {failed[key]} | "  # noqa: E731
    ratio = lambda key: f"{least['ours'] / least[key]:.2f}" if "ours" in sessions and key in sessions else ""  # noqa: E731
    floats = ", ".join(f"{n} {op}" for op, n in sorted(left_in_float(folder / "ours.optimised.onnx").items())) if "ours" in sessions else ""
    return (f"| {source.stem} | {least['fp32'] * 1e3:.2f} | {cell('ours')} | {cell('static')} | {ratio('fp32')} | {ratio('static')} | "
            f"{floats or 'nothing'} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--flags", default="", help="more options of ds_quantize, in one argument")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    paths = [path for path in sorted(args.folder.glob("*.onnx")) if not args.names or any(path.name.startswith(name) for name in args.names)]
    print("| model | fp32, ms | ours, ms | dB | static, ms | dB | ours / fp32 | ours / static | float in ours |\n" + "| --- " * 9 + "|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.output or pathlib.Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            print(compare(path, folder, args.samples, args.flags.split()), flush=True)
            if not args.output:
                shutil.rmtree(folder)
                folder.mkdir()


if __name__ == "__main__":
    sys.exit(main())
