"""Runs a run's model.onnx in ONNX Runtime on the Fashion-MNIST test set and compares with summary.json.

    .venv/bin/python3 launch/check_onnx.py runs/quickstart
"""
import gzip
import json
import pathlib
import re
import sys

import numpy as np
import onnxruntime

FOLDERS = ["data/fashion-mnist", "/usr/share/datasets/fashion-mnist"]
# Training may run in bf16, ONNX Runtime runs in fp32: a few images near the border may change sides, more of them after a short run.
TOLERANCE = 0.01


def read(name, offset):
    for folder in FOLDERS:
        path = pathlib.Path(folder) / name
        if path.exists():
            return np.frombuffer(gzip.open(path).read(), np.uint8, offset=offset)
    sys.exit(f"{name} is in none of {', '.join(FOLDERS)}; install dataset-fashion-mnist")


def statistics(config, key):
    match = re.search(rf"^\s*{key}:\s*\[([^\]]*)\]", config, re.M)
    return float(match.group(1).split(",")[0])


def main():
    run = pathlib.Path(sys.argv[1])
    config = (run / "config.yaml").read_text()
    summary = json.loads((run / "summary.json").read_text())
    images = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).astype(np.float32) / 255
    images = (images - statistics(config, "mean")) / statistics(config, "stddev")
    labels = read("t10k-labels-idx1-ubyte.gz", 8)
    limit = int(re.search(r"^\s*test_limit:\s*(\d+)", config, re.M).group(1)) or len(labels)
    session = onnxruntime.InferenceSession(str(run / "model.onnx"), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    hits = 0
    for start in range(0, limit, 500):
        stop = min(start + 500, limit)
        logits = session.run(None, {name: images[start:stop]})[0]
        hits += int((logits.argmax(1) == labels[start:stop]).sum())
    accuracy = hits / limit
    print(f"ONNX Runtime: {100 * accuracy:.2f} % on {limit} test images; Downstream: {100 * summary['test_accuracy']:.2f} %")
    if abs(accuracy - summary["test_accuracy"]) > TOLERANCE:
        sys.exit("the exported model does not do what the trained one did")


if __name__ == "__main__":
    main()
