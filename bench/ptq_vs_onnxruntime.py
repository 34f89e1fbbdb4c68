"""Accuracy after quantisation without training: ds_quantize against ONNX Runtime's static quantisation, same models, same data.

    .venv/bin/python bench/ptq_vs_onnxruntime.py RUN [RUN ...] [--cases CASE ...] [--samples 1024] [--output DIR] [--keep]

A case is W4A8, W4A4 and so on, calibrated alone, "W4A4 adaround" or "W4A4 qdrop", with that --repair, or one of ONNX Runtime's two. --keep takes
files that are there already as they are, so that a long comparison can be made in pieces.

Each RUN is a folder of ds_train with a Fashion-MNIST model (one a seed). Every quantised file is run in ONNX Runtime over the whole test set;
the figures are drops against the float model there, in points, mean and standard deviation over the runs, and the files' sizes; and, finer than the
accuracy, by which a file may win or lose a few images by chance, the share of images of which it says what the float model says, and the relative squared
error of its logits, means over the runs. ONNX Runtime
quantises per channel, weights s8, activations u8 (its S8S8 form is no better), with its min-max and entropy calibration, after its own
preprocessing. Latency: median over batches of one image on one thread, a ratio to the float model's in the same process.
"""
import argparse
import gzip
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "launch"))
import check_onnx  # noqa: E402

OURS = ["W8A8", "W6A8", "W4A8", "W4A4", "W3A8", "W2A8", "W4A4 adaround", "W4A4 qdrop", "W2A8 adaround"]
THEIRS = {"ONNX Runtime min-max": CalibrationMethod.MinMax, "ONNX Runtime entropy": CalibrationMethod.Entropy}


class Images(CalibrationDataReader):
    def __init__(self, name, images):
        self.batches = iter([{name: images[i:i + 32]} for i in range(0, len(images), 32)])

    def get_next(self):
        return next(self.batches, None)


def training_images(config, count):
    path = check_onnx.setting(config, "path").strip('"')
    mean, stddev = (float(check_onnx.setting(config, key, r"\[([^],]*)\]")) for key in ("mean", "stddev"))
    raw = check_onnx.read([path] if path else check_onnx.FOLDERS, "train-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    chosen = np.random.default_rng(1).choice(len(raw), count, replace=False)
    return ((raw[chosen].astype(np.float32) / 255 - mean) / stddev).astype(np.float32)


def widths(case):
    """Of weights and of activations, and how roundings are learnt."""
    return re.fullmatch(r"W(\d)A(\d)(?: (\w+))?", case).groups(default="none")


def ours(run, output, case, args):
    bits, activation_bits, repair = widths(case)
    if not (args.keep and output.exists()):
        subprocess.run([args.program, "--model", run / "model.onnx", "--data", run / "config.yaml", "--output", output, "--bits", bits,
                        "--activation-bits", activation_bits, "--repair", repair, "--samples", str(args.samples)], check=True,
                       stdout=subprocess.DEVNULL)
    return json.loads(output.with_suffix(".json").read_text())["quantized_accuracy"]


def theirs(run, output, method, images):
    with tempfile.TemporaryDirectory() as folder:
        prepared = pathlib.Path(folder) / "prepared.onnx"
        quant_pre_process(str(run / "model.onnx"), str(prepared), skip_symbolic_shape=True)
        name = onnxruntime.InferenceSession(str(prepared), providers=["CPUExecutionProvider"]).get_inputs()[0].name
        quantize_static(str(prepared), str(output), Images(name, images), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=method)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=pathlib.Path, nargs="+")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/bin/ds_quantize")
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--cases", nargs="*", default=[*OURS, *THEIRS])
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "runs/ptq")
    parser.add_argument("--keep", action="store_true", help="do not make files again that are there")
    args = parser.parse_args()
    drops, agreements, errors, sizes, speeds = ({case: [] for case in args.cases} for _ in range(5))
    for run in args.runs:
        config = (run / "config.yaml").read_text()
        images, labels = check_onnx.read_test_images(config)
        calibration = training_images(config, args.samples)
        base = check_onnx.Model(run / "model.onnx")
        exact, latency = base.logits(images), base.latency_ms(images[:1])
        accuracy = float((exact.argmax(1) == labels).mean())
        folder = args.output / run.name
        folder.mkdir(parents=True, exist_ok=True)
        for case in args.cases:
            file = folder / f"{case.replace(' ', '_')}.onnx"
            claimed = None
            if case not in THEIRS:
                claimed = ours(run, file, case, args)
            elif not (args.keep and file.exists()):
                theirs(run, file, THEIRS[case], calibration)
            model = check_onnx.Model(file)
            rounded = model.logits(images)
            got = float((rounded.argmax(1) == labels).mean())
            if claimed is not None and abs(got - claimed) > 0.003:
                sys.exit(f"{file}: {got} in ONNX Runtime, {claimed} says ds_quantize")
            drops[case].append(100 * (accuracy - got))
            agreements[case].append(100 * float((rounded.argmax(1) == exact.argmax(1)).mean()))
            errors[case].append(100 * float(np.square(rounded - exact, dtype=np.float64).sum() / np.square(exact, dtype=np.float64).sum()))
            sizes[case].append(100 * file.stat().st_size / (run / "model.onnx").stat().st_size)
            speeds[case].append(latency / model.latency_ms(images[:1]))
            print(f"  {run.name}, {case}: {100 * got:.2f} % of {100 * accuracy:.2f} %", file=sys.stderr, flush=True)
    for case in args.cases:
        print(json.dumps({"case": case, "models": len(args.runs), "drop_mean": round(statistics.mean(drops[case]), 3),
                          "drop_sd": round(statistics.stdev(drops[case]), 3) if len(args.runs) > 1 else None,
                          "drops": [round(drop, 2) for drop in drops[case]],
                          "agreement_percent": round(statistics.mean(agreements[case]), 2),
                          "logit_error_percent": round(statistics.mean(errors[case]), 4),
                          "size_percent": round(statistics.mean(sizes[case]), 2),
                          "speed_over_float": round(statistics.median(speeds[case]), 2)}), flush=True)


if __name__ == "__main__":
    main()
