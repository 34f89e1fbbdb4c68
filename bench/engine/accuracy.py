"""Accuracy on Fashion-MNIST's whole test set, in the edge engine and in ONNX Runtime, image by image.

    PYTHON bench/engine/accuracy.py BUILD RUN/config.yaml FILE.onnx [FILE.onnx ...]

Each FILE.onnx is compiled (bin/ds_export) and given the same images in both runtimes, on one thread. ONNX Runtime computes what the file says, also
where its fused products of bytes would saturate. A line a file: both accuracies, on how many images the two decide differently, the largest difference
of a logit as a share of the logits' range.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("launch", "tests/support", "tests/deploy/engine/compile"):
    sys.path.insert(0, str(ROOT / folder))

from check_onnx import read_test_images  # noqa: E402
from engine import Engine  # noqa: E402
from exact_products import session  # noqa: E402


def of_onnx_runtime(loaded, name, images):
    return np.concatenate([loaded.run(None, {name: images[i:i + 500]})[0] for i in range(0, len(images), 500)])


def of_engine(build, path, name, images):
    with tempfile.TemporaryDirectory(prefix="ds_accuracy") as folder:
        dsm = pathlib.Path(folder) / "model.dsm"
        subprocess.run([build / "bin/ds_export", "--model", path, "--format", "dsm", "--output", dsm], check=True, stdout=subprocess.DEVNULL)
        engine = Engine(next(build.rglob("libds_engine.so")), dsm)
        logits = np.concatenate([engine.run({name: image[None]})[0] for image in images])
        engine.close()
        return logits


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("config", type=pathlib.Path, help="the run's, whose data section is read")
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    arguments = parser.parse_args()
    images, labels = read_test_images(arguments.config.read_text(encoding="utf-8"))
    print("| file | engine, % | ONNX Runtime, % | images | decided differently | largest difference of a logit, of the range |\n|---|---|---|---|---|---|")
    for path in arguments.files:
        loaded = session(path)
        name = loaded.get_inputs()[0].name
        ours, theirs = of_engine(arguments.build, path, name, images), of_onnx_runtime(loaded, name, images)
        accuracies = [100 * (logits.argmax(1) == labels).mean() for logits in (ours, theirs)]
        apart = int((ours.argmax(1) != theirs.argmax(1)).sum())
        off = np.abs(ours - theirs).max() / (theirs.max() - theirs.min())
        print(f"| {path.name} | {accuracies[0]:.2f} | {accuracies[1]:.2f} | {len(labels)} | {apart} | {off:.1e} |", flush=True)


if __name__ == "__main__":
    main()
