"""Do all that run a quantised file compute the same? Our executor's fake quantisation, the integer reference of tests/support, and ONNX
Runtime with and without its graph optimisation, over a whole test set: activation codes and decisions.

    .venv/bin/python bench/quantized_agreement.py RUN [RUN ...] [--cases W8A8 W4A4] [--codes 2000] [--output DIR]

Each RUN is a folder of ds_train with a Fashion-MNIST model; ds_quantize makes the quantised files. "By layer": each layer has ONNX
Runtime's own codes before it, so that what is counted is what one layer adds. "From the image on": each program
on its own codes all the way; a code that differs early makes others differ. Codes are compared over the first images (--codes), decisions
over all. What must hold: by layer at least 99.9 % identical and none off by more than 1, for every program; from the image on 99.9 % for the integer
reference, which sums exactly. Fake quantisation in float32 rounds within its sums and is not held to that (nor does ONNX Runtime reach it with itself).
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import onnx

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "launch"), str(ROOT / "tests/support")]
import check_onnx  # noqa: E402
from code_agreement import OPTIMISED, UNOPTIMISED, Agreement, Executor, Runtime, cut_at_codes, given, with_codes  # noqa: E402
from integer_reference import IntegerReference  # noqa: E402

BATCH = 200


def quantised(run, case, args):
    bits, activation_bits = re.fullmatch(r"W(\d)A(\d)", case).groups()
    path = args.output / run.name / f"{case}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([args.program, "--model", run / "model.onnx", "--data", run / "config.yaml", "--output", path, "--bits", bits,
                        "--activation-bits", activation_bits], check=True, stdout=subprocess.DEVNULL)
    return path


class Programs:
    """All that run one file, with its codes visible or without."""

    def __init__(self, path, images, args, folder):
        exposed, cut = pathlib.Path(folder) / "codes.onnx", pathlib.Path(folder) / "cut.onnx"
        self.names = with_codes(path, exposed)
        model = onnx.load(str(path))
        self.logits, self.image = model.graph.output[0].name, model.graph.input[0].name
        self.runtime, self.reference = Runtime(exposed, OPTIMISED), IntegerReference(model)
        cut_at_codes(path, cut, self.runtime.run({self.image: images[:1]}))
        self.whole = {"executor": Executor(args.runner, exposed, folder), "no graph optimisation": Runtime(exposed, UNOPTIMISED)}
        self.layers = {"executor": Executor(args.runner, cut, folder), "no graph optimisation": Runtime(cut, UNOPTIMISED)}
        self.plain = {"executor": Executor(args.runner, path, folder), "no graph optimisation": Runtime(path, UNOPTIMISED)}
        self.kinds = ("reference", *self.whole)


def compare_codes(programs, images):
    rows = {(name, how): Agreement() for how in ("by layer", "from the image on") for name in programs.kinds}
    names = programs.names
    for start in range(0, len(images), BATCH):
        feeds = {programs.image: images[start:start + BATCH]}
        theirs = programs.runtime.run(feeds)
        whole = {"reference": programs.reference.run(feeds, names)[1]}
        whole |= {name: program.run(feeds) for name, program in programs.whole.items()}
        layers = {"reference": programs.reference.run(feeds, names, theirs)[1]}
        layers |= {name: program.run(feeds | given(theirs, names)) for name, program in programs.layers.items()}
        for name in programs.kinds:
            rows[name, "from the image on"].add(names, whole[name], theirs)
            rows[name, "by layer"].add(names, layers[name], theirs)
    return rows


def other_decisions(programs, images):
    """How many images each program puts into another class than ONNX Runtime does."""
    others = dict.fromkeys(programs.kinds, 0)
    for start in range(0, len(images), BATCH):
        feeds = {programs.image: images[start:start + BATCH]}
        theirs = programs.runtime.run(feeds)[programs.logits].argmax(1)
        found = {"reference": programs.reference.run(feeds)[0]} | {name: program.run(feeds) for name, program in programs.plain.items()}
        for name in programs.kinds:
            others[name] += int((found[name][programs.logits].argmax(1) != theirs).sum())
    return others


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=pathlib.Path, nargs="+")
    parser.add_argument("--cases", nargs="*", default=["W8A8", "W4A4"])
    parser.add_argument("--codes", type=int, default=2000, help="images whose codes are compared")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/bin/ds_quantize")
    parser.add_argument("--runner", type=pathlib.Path, default=ROOT / "build/tests/deploy_graph_runner")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "runs/agreement")
    args = parser.parse_args()
    for run in args.runs:
        images, _ = check_onnx.read_test_images((run / "config.yaml").read_text())
        for case in args.cases:
            with tempfile.TemporaryDirectory() as folder:
                programs = Programs(quantised(run, case, args), images, args, folder)
                for (name, how), agreement in compare_codes(programs, images[:args.codes]).items():
                    print(json.dumps({"run": run.name, "case": case, "program": name, "codes": how, "images": min(args.codes, len(images)),
                                      "activations": len(programs.names), "count": sum(agreement.count.values()),
                                      "identical_percent": round(100 * agreement.share, 6),
                                      "least_activation_percent": round(100 * agreement.least_share, 6),
                                      "largest_step": agreement.largest}), flush=True)
                for name, count in other_decisions(programs, images).items():
                    print(json.dumps({"run": run.name, "case": case, "program": name, "images": len(images),
                                      "other_decisions": count}), flush=True)


if __name__ == "__main__":
    main()
