"""The onnx package's own node cases through ds_export --format dsm and the engine's C interface: node_test.py DS_EXPORT LIBRARY [PATTERN].

Counted are the cases whose operators the importer names as supported and whose tensors are of types that the engine has. Each must
give what the package expects, or be refused when it is compiled, with its node's name; at most REFUSED_SHARE of them are. Inputs
that say what shape a result has (axes, pads, sizes), and then weights, are constants in further tries, as in files that people export;
in the last one the first input is, too, if it is integers or one number: a model that is given only a shape is computed when it is compiled.
"""
import collections
import concurrent.futures
import fnmatch
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import ml_dtypes  # noqa: F401  (numpy's names for bfloat16 and int4)
import numpy as np
import onnx
from onnx import numpy_helper

from engine import Engine

DS_EXPORT, LIBRARY = sys.argv[1:3]
PATTERN = sys.argv[3] if len(sys.argv) > 3 else "*"
AT_LEAST = 700
REFUSED_SHARE = 0.05
TYPES = {"float32", "uint8", "int8", "int32", "int64", "bool"}
# What the importer refuses, not the engine.
NOT_OURS = ("this op is not supported", "is not supported, only ai.onnx", "its element type", "element type ", "is not a tensor",
            "imports no ai.onnx opset")
# Pattern: why the package's numbers are not what is computed.
OTHERWISE = {
    "test_resize_downsample_scales_*_align_corners": "ONNX Runtime and we take the corners of the result's own extent",
    "test_training_dropout*": "random",
    "test_bernoulli*": "random",
}
# A refusal names what it is about.
NAMED = re.compile(r"""'[^']+'|"[^"]+"|opset""")


def arrays(values):
    return [numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in values]


def usable(case):
    feeds, results = case.data_sets[0]
    every = [*arrays(feeds), *arrays(results)]
    return all(isinstance(a, (np.ndarray, np.generic)) and np.asarray(a).dtype.name in TYPES for a in every)


def frozen(model, feeds, every, first=False):
    """Inputs that are integers or single numbers, or every one, as initialisers; the first one of all only where that is said."""
    model, left = onnx.ModelProto.FromString(model.SerializeToString()), {}
    for i, (port, value) in enumerate(list(zip(model.graph.input, feeds))):
        value = np.asarray(value)
        if (i > 0 or first) and (value.dtype.kind == "i" or value.ndim == 0 or every):
            model.graph.initializer.append(numpy_helper.from_array(value, port.name))
            model.graph.input.remove(port)
        else:
            left[port.name] = value
    return model, left


def compiled(model, path):
    """None, or why not."""
    path.write_bytes(model.SerializeToString())
    done = subprocess.run([DS_EXPORT, "--model", path, "--format", "dsm", "--output", path.with_suffix(".dsm")], capture_output=True,
                          text=True, check=False)
    if done.returncode not in (0, 1):
        return f"CRASH {done.returncode}: {done.stderr[-200:]}"
    return done.stderr.strip() or "refused without a word" if done.returncode else None


def wrong(case, path, feed, expected):
    engine = Engine(LIBRARY, path.with_suffix(".dsm"))
    try:
        ours = engine.run(feed)
    finally:
        engine.close()
    quantises = any("uantize" in node.op_type or "Integer" in node.op_type or "QLinear" in node.op_type for node in case.model.graph.node)
    for i, (a, e) in enumerate(zip(ours, expected, strict=True)):
        e = np.asarray(e)
        if a.shape != e.shape or a.dtype != e.dtype:
            return f"output {i} is {a.dtype}{list(a.shape)} instead of {e.dtype}{list(e.shape)}"
        if e.dtype.kind == "f":
            finite = e[np.isfinite(e)]
            atol = max(case.atol, 1e-4 * np.ptp(finite) if finite.size else 0)
            if not np.allclose(a, e, max(case.rtol, 1e-5), atol, equal_nan=True):
                return f"output {i} is off by {np.nanmax(np.abs(a.astype(np.float64) - e)):.3g}"
        elif np.abs(a.astype(np.int64) - e.astype(np.int64)).max(initial=0) > (1 if quantises and e.dtype.itemsize == 1 else 0):
            return f"output {i} differs in {np.count_nonzero(a != e)} of {e.size}"
    return None


def run(case, folder):
    """(what became of it, why)."""
    feeds, expected = (arrays(values) for values in case.data_sets[0])
    path = folder / f"{case.name}.onnx"
    feed = {port.name: np.asarray(value) for port, value in zip(case.model.graph.input, feeds)}
    reason = compiled(case.model, path)
    if reason and any(words in reason for words in NOT_OURS):
        return "not ours", reason
    for every, first in ((False, False), (True, False), (False, True)):
        if reason and not reason.startswith("CRASH"):
            model, feed = frozen(case.model, feeds, every, first)
            reason = compiled(model, path)
    if reason:
        return ("wrong" if reason.startswith("CRASH") or not NAMED.search(reason) else "refused"), reason
    fault = wrong(case, path, feed, expected)
    return ("wrong", fault) if fault else ("right", "")


def main():
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases
    cases = [case for case in collect_testcases(None) if fnmatch.fnmatch(case.name, PATTERN) and usable(case)
             and not any(fnmatch.fnmatch(case.name, other) for other in OTHERWISE)]
    with tempfile.TemporaryDirectory(prefix="ds_nodes_") as name:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(lambda case: run(case, pathlib.Path(name)), cases))
    by = collections.Counter(outcome for outcome, _ in outcomes)
    counted = len(cases) - by["not ours"]
    print(f"{counted} cases of operators that are supported: {by['right']} right, {by['refused']} refused, {by['wrong']} wrong")
    for outcome in ("refused", "wrong"):
        for case, (what, reason) in zip(cases, outcomes):
            if what == outcome:
                print(f"{outcome}: {case.name}: {reason[-300:]}".replace("\n", " "))
    if by["wrong"]:
        sys.exit("some are wrong")
    if PATTERN == "*" and (counted < AT_LEAST or by["refused"] > REFUSED_SHARE * counted):
        sys.exit(f"at least {AT_LEAST} must be counted and at most {REFUSED_SHARE:.0%} refused")


main()
