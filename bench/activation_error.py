"""What calibrated ranges lose of each activation: relative squared error by layer, by method.

    .venv/bin/python bench/activation_error.py RUN [RUN ...] [--bits 8 4] [--methods auto kl mse min-max] [--images 2000] [--output DIR]

Each RUN is a folder of ds_train with a Fashion-MNIST model. ds_quantize calibrates with each method; the errors are those of its scales on the
float network's values for test images, which ONNX Runtime computes, in double precision (tests/support/activation_error.py). "over_min_max":
a layer's error over that of min-max, geometric mean and least over the layers. Weights have 8 bits; the first and the last layer's inputs too.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "launch"), str(ROOT / "tests/support")]
import check_onnx  # noqa: E402
from activation_error import relative_squared_errors  # noqa: E402


def measure(run, bits, method, images, args):
    output = args.output / run.name / f"A{bits}-{method}.onnx"
    output.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([args.program, "--model", run / "model.onnx", "--data", run / "config.yaml", "--output", output, "--activation-bits", str(bits),
                    "--method", method, "--repair", "none"], check=True, stdout=subprocess.DEVNULL)
    report = json.loads(output.with_suffix(".json").read_text())
    low = [activation for activation in report["activations"] if activation["bits"] == bits]
    return relative_squared_errors(run / "model.onnx", low, images), report["drop_points"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=pathlib.Path, nargs="+")
    parser.add_argument("--bits", type=int, nargs="*", default=[8, 4])
    parser.add_argument("--methods", nargs="*", default=["min-max", "kl", "mse", "auto"])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/bin/ds_quantize")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "runs/activation_error")
    args = parser.parse_args()
    for run in args.runs:
        images = check_onnx.read_test_images((run / "config.yaml").read_text())[0][:args.images]
        for bits in args.bits:
            min_max = None
            for method in args.methods:
                errors, drop = measure(run, bits, method, images, args)
                min_max = errors if method == "min-max" else min_max
                worst = max(errors, key=errors.get)
                row = {"run": run.name, "bits": bits, "method": method, "activations": len(errors), "worst": worst,
                       "worst_percent": round(100 * errors[worst], 4), "drop_points": round(drop, 2)}
                if min_max is not None:
                    ratios = [errors[name] / min_max[name] for name in errors]
                    row |= {"over_min_max": round(statistics.geometric_mean(ratios), 3), "least_over_min_max": round(min(ratios), 3)}
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
