"""What the ONNX tests share: running ds_export, running a model, comparing results."""
import pathlib
import subprocess
import sys

try:
    import numpy as np
    import onnx
    import onnxruntime
except ImportError as error:
    print(f"skipped: {error.name} is not installed (launch/setup.sh installs it)")
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
from case_report import Report  # noqa: E402,F401

onnxruntime.set_default_logger_severity(3)
# Of the output's range. Two float32 evaluations of the same graph in another order stay far below it.
TOLERANCE = 1e-4


def ds_export(program, *arguments):
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def convert(program, source, target, *arguments):
    """source (a file or zoo:NAME) -> target; the result is checked as ONNX checks it."""
    done = ds_export(program, "--model", source, "--format", "onnx", "--output", target, *arguments)
    assert done.returncode == 0, f"ds_export {source}: {done.stderr}"
    onnx.checker.check_model(str(target), full_check=True)
    return pathlib.Path(target)


def run(path, feeds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:  # an opset newer than ONNX Runtime: the standard's own evaluator
        from onnx.reference import ReferenceEvaluator
        return ReferenceEvaluator(onnx.load(str(path))).run(None, feeds)
    return session.run(None, feeds)


def random_feeds(path, rng, dynamic=3):
    """Random inputs for a model; extents without a number become `dynamic`."""
    feeds = {}
    model = onnx.load(str(path))
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name in constants:
            continue
        shape = [d.dim_value if d.HasField("dim_value") else dynamic for d in value.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if np.issubdtype(dtype, np.floating):
            feeds[value.name] = rng.standard_normal(shape).astype(dtype)
        elif dtype == np.bool_:
            feeds[value.name] = rng.integers(0, 2, shape).astype(dtype)
        else:
            feeds[value.name] = rng.integers(0, 4, shape).astype(dtype)
    return feeds


def largest_error(expected, found):
    """Largest absolute difference over all outputs, as a share of the output's range."""
    assert len(expected) == len(found), f"{len(expected)} outputs became {len(found)}"
    worst = 0.0
    for a, b in zip(expected, found):
        assert a.shape == b.shape, f"shape {a.shape} became {b.shape}"
        assert a.dtype == b.dtype, f"type {a.dtype} became {b.dtype}"
        if a.size == 0:
            continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        assert np.isfinite(b).all() == np.isfinite(a).all(), "NaN or Inf on one side only"
        scale = max(float(a.max() - a.min()), float(np.abs(a).max()), 1e-6)
        worst = max(worst, float(np.abs(a - b).max()) / scale)
    return worst
