"""Do all that run a quantised file compute the same? Our executor's fake quantisation, the integer reference of tests/support, and ONNX
Runtime with and without its graph optimisation, over a whole test set: activation codes and decisions.

    .venv/bin/python bench/quantized_agreement.py RUN [RUN ...] [--cases W8A8 W4A4] [--limit N] [--output DIR]

Each RUN is a folder of ds_train with a Fashion-MNIST model; ds_quantize makes the quantised files. "By layer": each layer has ONNX
Runtime's own codes before it, so that what is counted is what one layer adds. "From the image on": each program
on its own codes all the way; a code that differs early makes others differ.
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


def compare(path, images, args, folder):
    exposed, cut = pathlib.Path(folder) / "codes.onnx", pathlib.Path(folder) / "cut.onnx"
    names = with_codes(path, exposed)
    model = onnx.load(str(path))
    logits, image = model.graph.output[0].name, model.graph.input[0].name
    runtime, reference = Runtime(exposed, OPTIMISED), IntegerReference(model)
    cut_at_codes(path, cut, runtime.run({image: images[:1]}))
    whole = {"executor": Executor(args.runner, exposed, folder), "no graph optimisation": Runtime(exposed, UNOPTIMISED)}
    layers = {"executor": Executor(args.runner, cut, folder), "no graph optimisation": Runtime(cut, UNOPTIMISED)}
    rows = {(name, how): Agreement() for how in ("by layer", "from the image on") for name in ("reference", *whole)}
    other_top1 = dict.fromkeys(("reference", *whole), 0)
    for start in range(0, len(images), BATCH):
        feeds = {image: images[start:start + BATCH]}
        theirs = runtime.run(feeds)
        outputs, codes = reference.run(feeds, names)
        found = {"reference": codes | outputs} | {name: program.run(feeds) for name, program in whole.items()}
        apart = {"reference": reference.run(feeds, names, theirs)[1]}
        apart |= {name: program.run(feeds | given(theirs, names)) for name, program in layers.items()}
        for name in found:
            rows[name, "from the image on"].add(names, found[name], theirs)
            rows[name, "by layer"].add(names, apart[name], theirs)
            other_top1[name] += int((found[name][logits].argmax(1) != theirs[logits].argmax(1)).sum())
    return names, rows, other_top1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=pathlib.Path, nargs="+")
    parser.add_argument("--cases", nargs="*", default=["W8A8", "W4A4"])
    parser.add_argument("--limit", type=int, default=0, help="images of the test set; 0: all")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/bin/ds_quantize")
    parser.add_argument("--runner", type=pathlib.Path, default=ROOT / "build/tests/deploy_graph_runner")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "runs/agreement")
    args = parser.parse_args()
    for run in args.runs:
        images, _ = check_onnx.read_test_images((run / "config.yaml").read_text())
        images = images[:args.limit or len(images)]
        for case in args.cases:
            with tempfile.TemporaryDirectory() as folder:
                names, rows, other_top1 = compare(quantised(run, case, args), images, args, folder)
            for (name, how), agreement in rows.items():
                print(json.dumps({"run": run.name, "case": case, "against ONNX Runtime": name, "codes": how, "images": len(images),
                                  "activations": len(names), "count": sum(agreement.count.values()),
                                  "identical_percent": round(100 * agreement.share, 6),
                                  "least_activation_percent": round(100 * agreement.least_share, 6), "largest_step": agreement.largest,
                                  "other_top1": other_top1[name] if how != "by layer" else None}), flush=True)


if __name__ == "__main__":
    main()
