"""One file of bench/onnx_zoo.py through ds_quantize: does ONNX Runtime load what comes out, how near is it, how large, how fast.

Calibrated on --samples inputs of onnx_zoo_inputs.KINDS (four times as many where one has less than SMALL elements) and compared on TEST others of
the same kind. Decibels: signal to noise of each output over all test inputs, of the file against the original, both in ONNX Runtime; the least of a
file's outputs counts. Outputs that are integers or the same for all inputs are named instead.
Size: of the two files. Time: least of rounds that take turns, one input, one thread, as a share of the original's.
"""
import collections
import json
import subprocess
import time

import numpy as np
import onnx
import onnx_zoo_inputs

ENOUGH = 20.0  # dB
SMALL = 20000
TEST, ROUNDS, PATIENCE_S = 8, 9, 1500
HEAD = f"{'file':58} {'dB':>6} {'size':>5} {'time':>5} {'s':>5}  arithmetic in float; notes"
MOVES = {"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Shape", "Gather", "Slice", "Concat", "Cast", "Identity", "Split", "Expand", "Constant",
         "ConstantOfShape", "QuantizeLinear", "DequantizeLinear", "Pad", "Range", "Tile", "ReorderInput", "ReorderOutput", "MaxPool", "QGemm"}


def add_arguments(parser):
    parser.add_argument("--quantize", action="store_true")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--flags", default="", help="more options of ds_quantize, in one argument")
    parser.add_argument("--keep", help="a folder for the written files")


def feeds_of(session, samples, i):
    """The i-th sample: an array with the model's own rank has the batch in front, others are handed over whole."""
    ranks = {value.name: len(value.shape) for value in session.get_inputs()}
    return {name: samples[name][i:i + 1] if samples[name].ndim == rank else np.asarray(samples[name][i])
            for name, rank in ranks.items()}


def quantize(model, samples, count, args, folder):
    (folder / "data").mkdir()
    taken = {value.name for value in onnx.load(str(model), load_external_data=False).graph.input}
    for split, arrays in samples.items():
        np.savez(folder / "data" / f"{split}.npz", **{name: array for name, array in arrays.items() if name in taken})
    (folder / "data.yaml").write_text(f"data: {{type: tensors, path: {folder / 'data'}, test_batch_size: 4}}\n")
    target = folder / "int8.onnx"
    command = [args.program.parent / "ds_quantize", "--model", model, "--data", folder / "data.yaml", "--output", target, "--samples", count]
    done = subprocess.run(list(map(str, command)) + args.flags.split(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return target


def decibels(expected, found):
    """Of one output over all samples; None where there is nothing to measure."""
    if not np.issubdtype(expected[0].dtype, np.floating):
        return None
    a, b = (np.concatenate([x.ravel() for x in outputs]).astype(np.float64) for outputs in (expected, found))
    if not a.size or np.ptp(a) == 0:
        return None
    noise = np.square(a - b).sum()
    return 10 * np.log10(np.square(a).sum() / noise) if noise > 0 else 99.0


def times(sessions, feeds):
    least = dict.fromkeys(sessions, float("inf"))
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            session.run(None, feeds[name])
            for _ in range(3):
                start = time.perf_counter()
                session.run(None, feeds[name])
                least[name] = min(least[name], time.perf_counter() - start)
    return least


def nodes_of(graph):
    """Those of branches, too; an If stands for them."""
    for node in graph.node:
        inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        yield from ([node] if not inner else (each for branch in inner for each in nodes_of(branch)))


def in_float(model, folder):
    """Operators that compute in float after ONNX Runtime's own optimisations."""
    onnx_zoo_inputs.session(model, folder / "optimised.onnx")
    ops = collections.Counter(node.op_type for node in nodes_of(onnx.load(str(folder / "optimised.onnx")).graph))
    return {op: n for op, n in ops.items() if not op.startswith("QLinear") and op not in MOVES}


def measure(path, model, args, folder):
    """`path` names the inputs' kind and is the judge; `model` is what ds_quantize reads."""
    row, began = {}, time.perf_counter()
    try:
        test = onnx_zoo_inputs.samples_of(path, TEST, 2)
        count = args.samples * (4 if sum(array[0].size for array in test.values()) < SMALL else 1)
        samples = {"train": onnx_zoo_inputs.samples_of(path, count, 1), "test": test}
        began = time.perf_counter()
        target = quantize(model, samples, count, args, folder)
        row["seconds"] = time.perf_counter() - began
        sessions = {"float": onnx_zoo_inputs.session(path), "int8": onnx_zoo_inputs.session(target)}
        feeds = {name: [feeds_of(session, samples["test"], i) for i in range(TEST)] for name, session in sessions.items()}
        names = [value.name for value in sessions["float"].get_outputs()]
        outputs = {name: list(zip(*(session.run(names, feed) for feed in feeds[name]))) for name, session in sessions.items()}
        near = {name: decibels(a, b) for name, a, b in zip(names, outputs["float"], outputs["int8"])}
        row["outputs"] = near
        row["size"] = target.stat().st_size / path.stat().st_size
        least = times(sessions, {name: feed[0] for name, feed in feeds.items()})
        row["ms"], row["time"] = {name: 1e3 * t for name, t in least.items()}, least["int8"] / least["float"]
        row["floats"] = in_float(target, folder)
        report = json.loads(target.with_suffix(".json").read_text())
        row["warnings"] = report.get("warnings", [])
        if args.keep:
            target.rename(f"{args.keep}/{path.stem}.int8.onnx")
    except Exception as error:  # noqa: BLE001 - a row of the table, not the end of it
        row["why"] = str(error).strip()
        row.setdefault("seconds", time.perf_counter() - began)
    return row


def least_of(row):
    known = [db for db in row.get("outputs", {}).values() if db is not None]
    return min(known) if known else None


def line(row):
    least = least_of(row)
    cells = [f"{least:6.1f}" if least is not None else f"{'':6}"]
    cells += [f"{row[key]:5.2f}" if key in row else f"{'':5}" for key in ("size", "time")]
    notes = [", ".join(f"{n} {op}" for op, n in sorted(row.get("floats", {}).items()))]
    notes += [f"'{name}' says nothing" for name, db in row.get("outputs", {}).items() if db is None]
    return f"{row['file'][-58:]:58} {' '.join(cells)} {row.get('seconds', 0):5.0f}  {'; '.join(notes)} {row.get('why', '')[:300]}".rstrip()


def summary(rows):
    near = [row for row in rows if least_of(row) is not None and least_of(row) >= ENOUGH]
    faster = [row for row in rows if row.get("time", 9) <= 1]
    return f"of those that import {len(near)} have {ENOUGH:g} dB ({100 * len(near) / max(len(rows), 1):.0f} %), {len(faster)} are no slower than in float"
