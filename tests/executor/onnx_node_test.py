"""The onnx package's own node cases through import, executor and export: onnx_node_test.py NODE_RUNNER [PATTERN].

Counted are the cases all of whose operators we name as supported. Each must give what the package expects, or be refused for
a reason in REFUSED, which covers at most one case in twenty. What is exported must pass onnx.checker (full_check), compute
the same in ONNX Runtime as the case's own file, where that runs it, and the same again here.
"""
import fnmatch
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import ml_dtypes  # noqa: F401  (numpy's names for bfloat16 and int4)
import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

SHARE = 0.05
AT_LEAST = 500
# Pattern of case names: why what it covers cannot be had. A case that passes must not be covered.
REFUSED = {
    "test_roialign_mode_max": "RoiAlign takes averages only",
    "test_affine_grid_3d_align_corners_expanded": "an If whose condition is known at run time only, with branches of unequal shapes",
    "test_batchnorm_*_training_mode": "statistics of a batch as outputs: the executor keeps them itself",
    "test_dropout_default_mask*": "a Dropout's mask as an output",
    "test_split_to_sequence_[12]": "sizes of parts that are an input",
    "test_stft*": "the step from frame to frame is an input",
    "test_training_dropout*": "whether Dropout drops is an input; in a graph that trains it follows the executor",
    "test_mod_float*_fmod_0*": "remainders of floating point with fmod 0: allowed by the newest opset only",
    "test_not_?d": "opset 1",
    "test_quantizelinear_blocked_symmetric": "codes in blocks without a zero point, whose scale is an input",
    "test_spacetodepth_*_mode_example": "SpaceToDepth's mode: of the newest opset",
}
# Patterns of cases in which we compute what ONNX Runtime does, and it another thing than the case says: why.
AS_RUNTIME = {
    "test_resize_downsample_scales_*_align_corners": "the corners of the result's own extent, not of a size with a fraction",
}
# Patterns of cases whose operators or types are none of ours, by what the refusal says.
UNSUPPORTED = ("this op is not supported", "is not supported, only ai.onnx", "its element type", "element type ", "is not a tensor",
               "imports no ai.onnx opset")
SAFETENSORS = {"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int8": "I8", "uint8": "U8", "int16": "I16",
               "uint16": "U16", "int32": "I32", "uint32": "U32", "int64": "I64", "uint64": "U64", "bool": "BOOL"}
WIDENED = {"int4": np.int8, "int2": np.int8, "uint4": np.uint8, "uint2": np.uint8}


def plain(array):
    """As the executor holds it: integers smaller than a byte in whole ones."""
    return np.ascontiguousarray(array.astype(WIDENED.get(array.dtype.name, array.dtype))).reshape(array.shape)


def write_safetensors(path, tensors):
    header, blobs, offset = {}, [], 0
    for name, array in sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize):
        blob = array.tobytes()
        header[name] = dict(dtype=SAFETENSORS[array.dtype.name], shape=list(array.shape), data_offsets=[offset, offset + len(blob)])
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64 + 56)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read_safetensors(path):
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    names = {code: name for name, code in SAFETENSORS.items()}
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + at for at in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end], np.dtype(names[entry["dtype"]])).reshape(entry["shape"])
    return tensors


def data_of(case):
    """Its inputs and expected outputs, as arrays where they are tensors."""
    return ([numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value for value in values]
            for values in case.data_sets[0])


def fits(case):
    """Tensors of types we have, one for each input of the model."""
    feeds, results = data_of(case)
    return len(feeds) == len(case.model.graph.input) and all(
        isinstance(a, (np.ndarray, np.generic)) and (a.dtype.name in SAFETENSORS or a.dtype.name in WIDENED) for a in [*feeds, *results])


def difference(actual, expected, rtol, atol):
    """None where they agree."""
    expected = plain(np.asarray(expected))
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return f"{actual.dtype}{list(actual.shape)} instead of {expected.dtype}{list(expected.shape)}"
    if expected.dtype.kind in "fV" or expected.dtype.name == "bfloat16":
        rtol = max(rtol, {"float16": 2e-3, "bfloat16": 1.6e-2}.get(expected.dtype.name, 0))
        a, e = actual.astype(np.float64), expected.astype(np.float64)
        with np.errstate(invalid="ignore"):
            return None if np.allclose(a, e, rtol, atol, equal_nan=True) else f"off by {np.nanmax(np.abs(a - e)):.3g}"
    return None if np.array_equal(actual, expected) else f"{np.count_nonzero(actual != expected)} of {expected.size} differ"


def runtime(path, feeds):
    """What ONNX Runtime computes, or None where it has no kernel for the file."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return session.run(None, {i.name: feeds[i.name] for i in session.get_inputs()})
    except Exception:  # its own limits are not ours
        return None


def run_ours(runner, folder, cases):
    spec, tensors = [], {}
    for case in cases:
        (folder / f"{case.name}.onnx").write_bytes(case.model.SerializeToString())
        names = [f"{case.name}.in{i}" for i in range(len(case.model.graph.input))]
        if fits(case):
            tensors.update({n: plain(np.asarray(a)) for n, a in zip(names, next(iter(data_of(case))))})
        spec.append(dict(name=case.name, model=str(folder / f"{case.name}.onnx"), exported=str(folder / f"{case.name}.ours.onnx"),
                         inputs=names))
    (folder / "spec.json").write_text(json.dumps(spec))
    write_safetensors(folder / "in.safetensors", tensors)
    done = subprocess.run([runner, folder / "spec.json", folder / "in.safetensors", folder / "results", folder / "out.safetensors"])
    lines = [json.loads(line) for line in (folder / "results").read_text().splitlines()]
    if done.returncode != 0:
        sys.exit(f"the runner ended with {done.returncode} after {lines[-1]['name'] if lines else 'nothing'}")
    return {line["name"]: line for line in lines}, read_safetensors(folder / "out.safetensors")


def faults(case, folder, ours):
    """What is wrong with a case that ran."""
    feeds, expected = data_of(case)
    if any(fnmatch.fnmatch(case.name, pattern) for pattern in AS_RUNTIME):
        inputs = {i.name: np.asarray(a) for i, a in zip(case.model.graph.input, feeds)}
        expected = runtime(folder / f"{case.name}.onnx", inputs)
    for i, value in enumerate(expected):
        wrong = difference(ours[f"{case.name}.{i}"], value, case.rtol, case.atol)
        if wrong:
            yield f"output {i}: {wrong}"
        again = difference(ours[f"{case.name}.again.{i}"], ours[f"{case.name}.{i}"], 1e-6, 1e-7)
        if again:
            yield f"output {i} after export and import: {again}"
    exported = folder / f"{case.name}.ours.onnx"
    try:
        onnx.checker.check_model(str(exported), full_check=True)
    except Exception as error:
        yield f"the exported file is invalid: {str(error).strip().splitlines()[0][:300]}"
    named = {i.name: np.asarray(a) for i, a in zip(case.model.graph.input, feeds)}
    theirs = runtime(folder / f"{case.name}.onnx", named)
    if theirs is not None:
        from_ours = runtime(exported, named)
        # A kernel that exists at the file's own opset may not exist at the lower one.
        for i, (a, b) in enumerate(zip(from_ours or [], theirs)):
            wrong = difference(a, b, max(case.rtol, 1e-4), max(case.atol, 1e-5))
            if wrong:
                yield f"output {i} of the exported file in ONNX Runtime: {wrong}"


def main(runner, pattern="*"):
    cases = [case for case in collect_testcases(None) if fnmatch.fnmatch(case.name, pattern)]
    counted = refused = failed = 0
    covered = set()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lines, ours = run_ours(runner, folder, cases)
        for case in cases:
            line = lines[case.name]
            if line["stage"] == "import" and any(words in line["error"] for words in UNSUPPORTED):
                continue
            counted += 1
            reason = [p for p in REFUSED if fnmatch.fnmatch(case.name, p)]
            covered.update(reason)
            if line["stage"] == "done":
                wrong = ["passes, though REFUSED names it"] if reason else list(faults(case, folder, ours))
            elif reason:
                refused += 1
                continue
            else:
                wrong = [f"{line['stage']}: {line['error'].replace(str(folder), '')}"]
            failed += bool(wrong)
            for text in wrong:
                print(f"{case.name}: {text}")
    if pattern == "*":
        assert counted >= AT_LEAST, f"only {counted} cases are of operators that we support"
        stale = set(REFUSED) - covered
        assert not stale, f"reasons that no case needs: {stale}"
    print(f"{counted} of {len(cases)} cases are of supported operators; {refused} refused for a stated reason, {failed} failed")
    return 1 if failed or refused > SHARE * counted else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
