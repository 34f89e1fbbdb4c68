"""Whole models through import, executor and export, with ONNX Runtime as the oracle; all cases of a test in one process of ours."""
import collections
import dataclasses
import json
import subprocess
import sys

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnx_node_test import plain, read_safetensors, runtime, write_safetensors


@dataclasses.dataclass
class Case:
    name: str
    model: onnx.ModelProto
    feeds: dict  # arrays by the model's input names
    refused: tuple = ()  # words of the message; it must be refused then
    tolerance: float = 1e-5  # of the output's range
    metadata: dict | None = None  # what the exported file must have
    by_standard: bool = False  # ONNX Runtime ends in a crash: the standard's own evaluator is the oracle


def difference(expected, found, tolerance):
    """None where they agree."""
    expected = plain(np.asarray(expected))
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return f"{found.dtype}{list(found.shape)} instead of {expected.dtype}{list(expected.shape)}"
    if expected.dtype.kind not in "fV":
        return None if np.array_equal(expected, found) else f"{np.count_nonzero(expected != found)} of {expected.size} elements differ"
    a, b = expected.astype(np.float64), found.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return "not finite at other places"
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    scale = max(float(np.abs(a).max(initial=0)), 1e-6)
    off = float(np.abs(a - b).max(initial=0)) / scale
    return f"off by {off:.2e} of the range" if off > tolerance else None


def oracle(path, model, feeds, by_standard=False):
    """Who computes it and what: ONNX Runtime, or the standard's own evaluator where that has no kernel; None where neither has."""
    found = None if by_standard else runtime(path, feeds)
    if found is not None:
        return "ONNX Runtime", found
    try:
        return "the standard's evaluator", ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # its own limits are not ours
        return "the exported file", None


def faults(case, path, line, ours, oracles):
    if case.refused:
        if line["stage"] != "import":
            yield f"not refused, but {line['stage']} {line['error']}"
        elif not all(word in line["error"] for word in case.refused):
            yield f"refused without the words {case.refused}: {line['error']}"
        return
    if line["stage"] != "done":
        yield f"{line['stage']}: {line['error']}"
        return
    who, expected = oracle(path, case.model, case.feeds, case.by_standard)
    oracles[who] += 1
    exported = path.with_suffix(".ours.onnx")
    try:
        onnx.checker.check_model(str(exported), full_check=True)
    except Exception as error:
        yield f"the exported file is invalid: {str(error).strip().splitlines()[0][:300]}"
    written = onnx.load(str(exported))
    if [o.name for o in written.graph.output] != [o.name for o in case.model.graph.output]:
        yield "the outputs have other names"
    if case.metadata is not None and {p.key: p.value for p in written.metadata_props} != case.metadata:
        yield f"metadata became {written.metadata_props}"
    _, again = oracle(exported, written, case.feeds)
    if again is None:
        yield "neither ONNX Runtime nor the standard's evaluator takes the exported file"
        return
    # Of an operator that is in neither at its own opset the exported file, of an older one, is the oracle.
    for i, value in enumerate(again if expected is None else expected):
        for what, found in (("executor", ours[f"{line['name']}.{i}"]), ("executor on the exported file", ours[f"{line['name']}.again.{i}"]),
                            ("exported file in ONNX Runtime", plain(np.asarray(again[i])))):
            wrong = difference(value, found, case.tolerance)
            if wrong:
                yield f"output {i}, {what}: {wrong}"


def check_cases(runner, folder, cases, at_least):
    """Prints what is wrong; 0 where nothing is."""
    spec, tensors = [], {}
    for i, case in enumerate(cases):
        (folder / f"{i}.onnx").write_bytes(case.model.SerializeToString())
        tensors.update({f"{i}.in.{name}": plain(np.asarray(value)) for name, value in case.feeds.items()})
        constants = {tensor.name for tensor in case.model.graph.initializer}
        inputs = [f"{i}.in.{value.name}" for value in case.model.graph.input if value.name not in constants]
        spec.append(dict(name=str(i), model=str(folder / f"{i}.onnx"), exported=str(folder / f"{i}.ours.onnx"), inputs=inputs))
    (folder / "spec.json").write_text(json.dumps(spec))
    write_safetensors(folder / "in.safetensors", tensors)
    done = subprocess.run([runner, folder / "spec.json", folder / "in.safetensors", folder / "results", folder / "out.safetensors"])
    lines = [json.loads(line) for line in (folder / "results").read_text().splitlines()]
    if done.returncode != 0:
        sys.exit(f"the runner ended with {done.returncode} after {cases[len(lines) - 1].name if lines else 'nothing'}")
    ours = read_safetensors(folder / "out.safetensors")
    failed, oracles = 0, collections.Counter()
    for case, line in zip(cases, lines):
        wrong = list(faults(case, folder / f"{line['name']}.onnx", line, ours, oracles))
        failed += bool(wrong)
        for text in wrong:
            print(f"{case.name}: {text.replace(str(folder), '')}")
    assert len(cases) >= at_least, f"only {len(cases)} cases"
    print(f"{len(cases)} cases, {failed} failed; by " + ", ".join(f"{who} {count}" for who, count in oracles.most_common()))
    return 1 if failed else 0
