"""Runs a run's model.onnx in ONNX Runtime on the Fashion-MNIST test set and compares with what the run says of itself.

    .venv/bin/python3 launch/check_onnx.py runs/quickstart [--at-least 0.88]
"""
import argparse
import gzip
import json
import pathlib
import re
import sys

import numpy as np
import onnxruntime

FOLDERS = ["data/fashion-mnist", "/usr/share/datasets/fashion-mnist"]
# Training may run in bf16, ONNX Runtime runs in fp32: a few images near the border change sides, more of them after a short run.
TOLERANCE = 0.01
BATCH = 500


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


def accuracy_in_onnx_runtime(run, config):
    path = setting(config, "path").strip('"')
    folders = [path] if path else FOLDERS
    mean, stddev = (float(setting(config, key, r"\[([^],]*)\]")) for key in ("mean", "stddev"))
    labels = read(folders, "t10k-labels-idx1-ubyte", 8)
    images = read(folders, "t10k-images-idx3-ubyte", 16).reshape(len(labels), 1, 28, 28)
    count = min(int(setting(config, "test_limit")) or len(labels), len(labels))
    session = onnxruntime.InferenceSession(str(run / "model.onnx"), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    hits = 0
    for start in range(0, count, BATCH):
        stop = min(start + BATCH, count)
        batch = (images[start:stop].astype(np.float32) / 255 - mean) / stddev
        logits = session.run(None, {name: batch.astype(np.float32)})[0]
        hits += int((logits.argmax(1) == labels[start:stop]).sum())
    return hits / count, count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--at-least", type=float, default=0, help="fail below this accuracy, 0 to 1")
    arguments = parser.parse_args()
    config = (arguments.run / "config.yaml").read_text()
    claimed = json.loads((arguments.run / "summary.json").read_text())["test_accuracy"]
    accuracy, count = accuracy_in_onnx_runtime(arguments.run, config)
    print(f"ONNX Runtime: {100 * accuracy:.2f} % on {count} test images; Downstream: {100 * claimed:.2f} %")
    if abs(accuracy - claimed) > TOLERANCE:
        sys.exit("check_onnx: the exported network does not do what the trained one did")
    if min(accuracy, claimed) < arguments.at_least:
        sys.exit(f"check_onnx: {100 * arguments.at_least:.0f} % were expected")


if __name__ == "__main__":
    main()
