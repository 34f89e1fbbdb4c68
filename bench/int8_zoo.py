"""INT8 files of image models in ONNX Runtime: ds_quantize against quantize_static, model by model, on one thread.

    bench/export_zoo.py FOLDER                         (in an environment with timm and torchvision)
    .venv/bin/python bench/int8_zoo.py FOLDER [NAME ...] [--samples 16] [--methods MinMax Entropy Percentile] [--output DIR] [--no-times]

Both calibrate on the same synthetic pictures (smooth patterns and noise, normalised) and are compared on others of the same kind: signal to noise of
the outputs against the float model's (logits, maps of segmentation, boxes and scores of detection: the worst output counts), of all pictures together and,
in brackets, of the median picture: one unlike those of the calibration can outweigh all others. Time is the least of rounds that take turns (a shared
machine only ever adds). quantize_static is set up as ONNX Runtime advises for its CPU kernels: its preprocessing, QDQ, weights s8 per channel, activations
u8. Its decibels are the best that `--methods` give, its time that of the first one's file: the graph is the same. With --output its files stay and are used
again. Weights are random, so that decibels are lower than a trained model's; they compare the two, and say little else. Decibels are those of the files: where
the processor's products of bytes saturate (no VNNI), they are computed without fusions (tests/support/exact_products.py); times are of the kernels as they are.
"""
import argparse
import collections
import contextlib
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
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))
import exact_products  # noqa: E402
ROUNDS, RUNS, TEST = 7, 4, 16
NOT_COMPUTED = {"QuantizeLinear", "DequantizeLinear", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Shape", "Gather", "Slice", "Concat", "Cast",
                "Identity", "Split", "Expand", "ConstantOfShape", "Constant", "NhwcMaxPool"}


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


def session(path, optimised=None, exact=False):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if exact:
        exact_products.exact(options)
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


def theirs(source, target, name, samples, method):
    if target.exists():
        return
    prepared, unfinished = target.with_suffix(".prepared.onnx"), target.with_suffix(".unfinished.onnx")
    with contextlib.redirect_stdout(None):
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(str(prepared), str(unfinished), Reader(name, samples), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod[method])
    prepared.unlink()
    unfinished.rename(target)


def snr(expected, found):
    noise = np.square(found.astype(np.float64) - expected).sum()
    return 10 * np.log10(np.square(expected.astype(np.float64)).sum() / max(noise, 1e-300))


def worst_snr(expected, found):
    """Least over the outputs; the samples of one are taken together."""
    return min(snr(np.concatenate(x), np.concatenate(y)) for x, y in zip(zip(*expected), zip(*found)))


def decibels(expected, found):
    """Of all samples together, and of the median one."""
    return worst_snr(expected, found), float(np.median([worst_snr([x], [y]) for x, y in zip(expected, found)]))


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


def compare(source, folder, args):
    run = session(source)
    first = run.get_inputs()[0]
    side = first.shape[2]
    rng = np.random.default_rng(5)
    calibration, test = pictures(args.samples, side, rng), pictures(TEST, side, rng)
    results = lambda of: [of.run(None, {first.name: x[None]}) for x in test]  # noqa: E731
    expected = results(run)
    file = folder / f"{source.stem}.ours.onnx"
    jobs = {"ours": (file, lambda: ours(source, file, {first.name: calibration}, {first.name: test}, args.flags.split()))}
    for method in args.methods:
        path = folder / f"{source.stem}.{method}.{args.samples}.onnx"
        jobs[method] = (path, lambda path=path, method=method: theirs(source, path, first.name, calibration, method))
    near, failed, timed, static = {}, {}, {"fp32": run}, args.methods[0]
    for key, (path, make) in jobs.items():
        try:
            make()
            near[key] = decibels(expected, results(session(path, exact=True)))
            if key in ("ours", static) and (args.times or key == "ours"):
                timed[key] = session(path, folder / f"{key}.optimised.onnx")
        except Exception as error:  # noqa: BLE001 - a model that one of the two cannot do is a line of the table
            failed[key] = "failed: " + str(error).splitlines()[0][:100]
    least = times(timed, {first.name: test[:1]}) if args.times else {}
    best = max((method for method in args.methods if method in near), key=near.get, default=None)
    ms = lambda key: f"{least[key] * 1e3:.2f}" if key in least else failed.get(key, "")  # noqa: E731
    ratio = lambda key: f"{least['ours'] / least[key]:.2f}" if "ours" in least and key in least else ""  # noqa: E731
    db = lambda key: f"{near[key][0]:.1f} ({near[key][1]:.1f})" if key in near else ""  # noqa: E731
    floats = ", ".join(f"{n} {op}" for op, n in sorted(left_in_float(folder / "ours.optimised.onnx").items())) if "ours" in near else ""
    if args.each:
        print("\n".join(f"    {method} {db(method) or failed[method]}" for method in args.methods), file=sys.stderr)
    return (f"| {source.stem} | {ms('fp32')} | {ms('ours')} | {db('ours')} | {ms(static)} | {db(best)} | {best} | {ratio('fp32')} | {ratio(static)} | "
            f"{floats or 'nothing'} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--methods", nargs="+", default=["MinMax", "Entropy", "Percentile"], choices=["MinMax", "Entropy", "Percentile"])
    parser.add_argument("--no-times", dest="times", action="store_false", help="decibels only")
    parser.add_argument("--each", action="store_true", help="each method's decibels, on stderr")
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--flags", default="", help="more options of ds_quantize, in one argument")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    paths = [path for path in sorted(args.folder.glob("*.onnx")) if not args.names or any(path.name.startswith(name) for name in args.names)]
    print("| model | fp32, ms | ours, ms | dB | static, ms | best dB | by | ours / fp32 | ours / static | float in ours |\n" + "| --- " * 10 + "|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.output or pathlib.Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            print(compare(path, folder, args), flush=True)
            if not args.output:
                shutil.rmtree(folder)
                folder.mkdir()


if __name__ == "__main__":
    sys.exit(main())
