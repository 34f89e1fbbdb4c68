"""Runs a run's model.onnx in ONNX Runtime on the Fashion-MNIST test set and compares with what the run says of itself. Quantised models
beside it (model-*.onnx with the report of ds_quantize) are checked likewise, and a table compares accuracy, size and latency. Where a
model has its .dsm file beside it, so does the edge engine (build/bin/ds_run and ds_bench), which must come to the same accuracy.

    .venv/bin/python3 launch/check_onnx.py runs/quickstart [--at-least 0.88]
"""
import argparse
import copy
import gzip
import json
import pathlib
import re
import statistics
import subprocess
import sys
import time

import numpy as np
import onnxruntime

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/support"))

import exact_products  # noqa: E402

FOLDERS = ["data/fashion-mnist", "/usr/share/datasets/fashion-mnist"]
# Training may run in bf16, ONNX Runtime runs in fp32: a few images near the border change sides, more of them after a short run.
TOLERANCE = 0.01
BATCH = 500
LATENCY_RUNS, LATENCY_WARM_UP = 200, 20
PROGRAMS = pathlib.Path(__file__).resolve().parent.parent / "build/bin"
# A quantised network's codes may be the engine's or ONNX Runtime's, one apart where a sum is near a half.
ENGINE_TOLERANCE = 0.002


def read(folders, name, header_bytes):
    for folder in folders:
        for path, opener in ((pathlib.Path(folder) / f"{name}.gz", gzip.open), (pathlib.Path(folder) / name, open)):
            if path.exists():
                with opener(path, "rb") as file:
                    return np.frombuffer(file.read(), np.uint8, offset=header_bytes)
    sys.exit(f"check_onnx: {name} is in none of {', '.join(folders)}; apt-get install dataset-fashion-mnist")


def setting(config, key, pattern=r"(.*)"):
    match = re.search(rf"^ *{key}: *{pattern}$", config, re.M)
    if match is None:
        sys.exit(f"check_onnx: the run's config.yaml has no {key} as expected")
    return match[1]


def read_test_images(config):
    path = setting(config, "path").strip('"')
    folders = [path] if path else FOLDERS
    mean, stddev = (float(setting(config, key, r"\[([^],]*)\]")) for key in ("mean", "stddev"))
    labels = read(folders, "t10k-labels-idx1-ubyte", 8)
    images = read(folders, "t10k-images-idx3-ubyte", 16).reshape(len(labels), 1, 28, 28)
    count = min(int(setting(config, "test_limit")) or len(labels), len(labels))
    return ((images[:count].astype(np.float32) / 255 - mean) / stddev).astype(np.float32), labels[:count]


class Model:
    """One ONNX file, run on one thread."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.path = path
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def run(self, images):
        return self.session.run(None, {self.input: images})[0]

    def logits(self, images):
        return np.concatenate([self.run(images[i:i + BATCH]) for i in range(0, len(images), BATCH)])

    def accuracy(self, images, labels):
        return float((self.logits(images).argmax(1) == labels).mean())

    def accuracy_as_written(self, images, labels):
        """That of what the file says, also where ONNX Runtime's products of bytes saturate."""
        as_written = copy.copy(self)
        as_written.session = exact_products.session(self.path)
        return as_written.accuracy(images, labels)

    def latency_ms(self, image):
        """Median of single images."""
        times = []
        for _ in range(LATENCY_RUNS + LATENCY_WARM_UP):
            start = time.perf_counter()
            self.run(image)
            times.append(time.perf_counter() - start)
        return 1e3 * statistics.median(times[LATENCY_WARM_UP:])


def check(what, accuracy, claimed, count):
    print(f"{what} in ONNX Runtime: {100 * accuracy:.2f} % on {count} test images; Downstream: {100 * claimed:.2f} %")
    if abs(accuracy - claimed) > TOLERANCE:
        sys.exit(f"check_onnx: {what} does not do in ONNX Runtime what Downstream says")


def program(name, *arguments):
    """What one of Downstream's programs prints as JSON."""
    command = [str(PROGRAMS / name), "--format", "json", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def engine_row(name, path, config, accuracy):
    """The edge engine's row of a model; `accuracy` is ONNX Runtime's, of what the file says."""
    ours = program("ds_run", "--model", path, "--data", config)["accuracy"] / 100
    if abs(ours - accuracy) > ENGINE_TOLERANCE:
        sys.exit(f"check_onnx: {path.name} in the edge engine: {100 * ours:.2f} %, in ONNX Runtime: {100 * accuracy:.2f} %")
    timed = program("ds_bench", "--model", path, "--runs", LATENCY_RUNS, "--warm-up", LATENCY_WARM_UP)
    return name, "edge engine", ours, path.stat().st_size, timed["median_ms"]


def rows_of(name, model, run, accuracy, images, labels):
    rows = [(name, "ONNX Runtime", accuracy, model.path.stat().st_size, model.latency_ms(images[:1]))]
    dsm = model.path.with_suffix(".dsm")
    if not dsm.exists():
        return rows
    written = model.accuracy_as_written(images, labels) if exact_products.products_saturate() else accuracy
    return [*rows, engine_row(name, dsm, run / "config.yaml", written)]


def print_table(rows):
    print(f"\n{'model':<6} {'runtime':<13} {'accuracy':>9} {'bytes':>9} {'of fp32':>8} {'ms an image':>12} {'speed':>7}")
    for name, runtime, accuracy, size, latency in rows:
        share, speed = 100 * size / rows[0][3], rows[0][4] / latency
        print(f"{name:<6} {runtime:<13} {100 * accuracy:>7.2f} % {size:>9} {share:>6.1f} % {latency:>12.3f} {speed:>6.2f}x")
    print("One thread, one image at a time; the median.\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--at-least", type=float, default=0, help="fail below this accuracy, 0 to 1")
    arguments = parser.parse_args()
    config = (arguments.run / "config.yaml").read_text()
    claimed = json.loads((arguments.run / "summary.json").read_text())["test_accuracy"]
    images, labels = read_test_images(config)
    model = Model(arguments.run / "model.onnx")
    accuracy = model.accuracy(images, labels)
    check("model.onnx", accuracy, claimed, len(labels))
    if min(accuracy, claimed) < arguments.at_least:
        sys.exit(f"check_onnx: {100 * arguments.at_least:.0f} % were expected")
    rows = rows_of("fp32", model, arguments.run, accuracy, images, labels)
    for path in sorted(arguments.run.glob("model-*.onnx"), reverse=True):   # INT8 before INT4
        report = json.loads(path.with_suffix(".json").read_text())
        quantised = Model(path)
        accuracy = quantised.accuracy(images, labels)
        check(path.name, accuracy, report["quantized_accuracy"], len(labels))
        rows += rows_of(f"INT{report['bits']}", quantised, arguments.run, accuracy, images, labels)
    if len(rows) > 1:
        print_table(rows)


if __name__ == "__main__":
    main()
