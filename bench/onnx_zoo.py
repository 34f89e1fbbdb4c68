"""What becomes of ONNX files that people have: import, round trip and execution, file by file.

    .venv/bin/python bench/onnx_zoo.py FOLDER [--match TEXT] [--json FILE] [--times] [--quantize [--samples 16] [--flags=FLAGS] [--keep DIR]]

Every .onnx file below FOLDER (unpacked packages, say) is imported by ds_export and written again. "round trip": the written file in ONNX
Runtime against the original in ONNX Runtime; "executor": our executor (LibTorch) on the written file against the same; "engine": the edge
engine, compiled for the inputs' extents. All are the largest absolute difference over all outputs as a share of the output's range, on random
inputs. --times: the original's time in ONNX Runtime over the engine's, one thread, in turns for some seconds, least times. Extents that a file leaves
open are taken from INPUTS, by the file's name, else 2 for the batch and 64 for others; those marked fixed are given to ds_export --input-shape, since the model
branches on them, and inputs of "given" to --input-value: silero_vad.onnx is two networks, for 16 and for 8 kHz, of which neither takes the
other's input.

--quantize: what imports goes through ds_quantize instead (bench/onnx_zoo_int8.py), on inputs like those that it was made for.
"""
import argparse
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
import onnx_zoo_int8
from safetensors.numpy import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/deploy/engine/compile"))
from engine import Engine  # noqa: E402

SEED = 14
SECONDS = 3  # of a file's timing
ROUND_TRIP = 1e-4  # of the range
LEAST_RANGE = 1e-3  # a text detector sees nothing in noise: all its probabilities are 1e-6
# File name, or folder -> input -> shape, or the value itself; "fixed": what the model branches on.
INPUTS = {
    "common.onnx": {"input1": [1, 1, 64, 160]},
    "common_old.onnx": {"input1": [1, 1, 64, 160]},
    "pnet.onnx": {"input_1": [2, 48, 60, 3]},
    "320n.onnx": {"images": [1, 3, 320, 320]},
    "melspectrogram.onnx": {"input": [1, 17280]},
    "ch_PP-OCRv4_det_infer.onnx": {"x": [1, 3, 160, 192]},
    "ch_PP-OCRv4_rec_infer.onnx": {"x": [2, 3, 48, 320]},
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": {"x": [2, 3, 48, 192]},
    "openwakeword/resources/models/silero_vad.onnx": {"input": [1, 512], "h": [2, 1, 64], "c": [2, 1, 64], "sr": 16000, "fixed": True},
    "silero_vad.onnx": {"input": [1, 576], "state": [2, 1, 128], "sr": 16000, "fixed": True, "given": ["sr"]},
    "silero_vad_16k_op15.onnx": {"input": [1, 576], "state": [2, 1, 128], "sr": 16000, "fixed": True},
    "silero_vad_half.onnx": {"input": [1, 576], "state": [2, 1, 128], "fixed": True},
    "silero_vad_op18_ifless.onnx": {"input": [1, 576], "state": [2, 1, 128], "sr": 16000},
    "silero_vad_16k_sequence.onnx": {"input": [7, 576], "h": [1, 1, 128], "c": [1, 1, 128]},
    "silero_vad_v6.onnx": {"input": [7, 576], "h": [1, 1, 128], "c": [1, 1, 128]},
    "onnx_asr/preprocessors/data/": {"waveforms": [2, 16000], "waveforms_lens": np.array([16000, 9000])},
}


def stated(path):
    keys = [key for key in INPUTS if str(path).endswith("/" + key) or key.endswith("/") and "/" + key in str(path)]
    return INPUTS[max(keys, key=len)] if keys else {}


def feeds_of(model, path, rng):
    constants = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        given = stated(path).get(value.name)
        if isinstance(given, (int, np.ndarray)):
            feeds[value.name] = np.array(given, dtype)
            continue
        dims = [d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim]
        shape = given or [d or (2 if axis == 0 else 64) for axis, d in enumerate(dims)]
        if np.issubdtype(dtype, np.floating):
            feeds[value.name] = (0.5 * rng.standard_normal(shape)).astype(dtype)
        else:
            feeds[value.name] = rng.integers(0, 200, shape).astype(dtype)
    return feeds


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_onnx(path, feeds):
    return session(path).run(None, feeds)


def difference(expected, found):
    """Largest absolute difference, of the range of its output."""
    worst = 0.0
    if len(expected) != len(found):
        return float("inf")
    for a, b in zip(expected, found):
        if a.shape != b.shape:
            return float("inf")
        if a.size:
            a, b = a.astype(np.float64), b.astype(np.float64)
            scale = max(float(a.max() - a.min()), float(np.abs(a).max()), LEAST_RANGE)
            worst = max(worst, float(np.nan_to_num(np.abs(a - b), nan=np.inf).max()) / scale)
    return worst


def run_ours(runner, path, feeds, folder):
    model = onnx.load(str(path), load_external_data=False)
    names = [value.name for value in model.graph.input]
    tensors = {name: np.array(feeds[name], order="C") for name in names}
    save_file(tensors, folder / "in.safetensors")
    (folder / "spec.json").write_text(json.dumps([dict(name="m", model=str(path), exported=str(folder / "again.onnx"), inputs=names)]))
    subprocess.run([runner, folder / "spec.json", folder / "in.safetensors", folder / "results", folder / "out.safetensors"],
                   capture_output=True, check=True, timeout=300)
    result = json.loads((folder / "results").read_text().splitlines()[0])
    if result["stage"] != "done":
        raise RuntimeError(f"{result['stage']}: {result['error']}")
    out = load_file(folder / "out.safetensors")
    return [out[f"m.{i}"] for i in range(result["outputs"])]


def compiled(path, args, feeds, folder):
    """The edge engine with the file, for the inputs' extents."""
    command = [args.program, "--model", path, "--format", "dsm", "--output", folder / "model.dsm"]
    for name in [value.name for value in onnx.load(str(path), load_external_data=False).graph.input]:
        if feeds[name].ndim:
            command += ["--input-shape", f"{name}={'x'.join(map(str, feeds[name].shape))}"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return Engine(args.library, folder / "model.dsm")


def ratio(path, feeds, engine):
    """ONNX Runtime's least time over the engine's, whose inputs are in place."""
    other = session(path)
    own = {value.name: feeds[value.name] for value in other.get_inputs()}
    runs = {"engine": lambda: engine.library.ds_engine_run(engine.session), "other": lambda: other.run(None, own)}
    least, end, rounds = dict.fromkeys(runs, float("inf")), time.monotonic() + SECONDS, 0
    while time.monotonic() < end or rounds < 3:
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            least[name] = min(least[name], time.perf_counter() - start)
        rounds += 1
    return least["other"] / least["engine"]


def exported(path, args, folder, feeds):
    """The file as ds_export writes it again, or why it does not."""
    written = folder / "written.onnx"
    command = [args.program, "--model", path, "--format", "onnx", "--output", written]
    if stated(path).get("fixed"):
        for name, value in feeds.items():
            if value.ndim:
                command += ["--input-shape", f"{name}={'x'.join(map(str, value.shape))}"]
    for name in stated(path).get("given", []):
        command += ["--input-value", f"{name}={stated(path)[name]}"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    return written, None if done.returncode == 0 else done.stderr.strip().split(".onnx: ", 1)[-1]


def measure(path, args, folder):
    row = dict(file=str(path.relative_to(args.folder)), imports=False)
    model = onnx.load(str(path))
    feeds = feeds_of(model, path, np.random.default_rng(SEED))
    written, why = exported(path, args, folder, feeds)
    if why:
        return row | dict(why=why)
    row["imports"] = True
    if args.quantize:
        return row | onnx_zoo_int8.measure(path, written if stated(path).get("fixed") else path, args, folder)
    try:
        expected = run_onnx(path, feeds)
        kept = {value.name for value in onnx.load(str(written), load_external_data=False).graph.input}
        row["round_trip"] = difference(expected, run_onnx(written, {name: feeds[name] for name in kept}))
        row["executor"] = difference(expected, run_ours(args.runner, written, feeds, folder))
        with contextlib.closing(compiled(written, args, feeds, folder)) as engine:
            row["engine"] = difference(expected, engine.run(feeds))
            if args.times:
                row["speed"] = ratio(path, feeds, engine)
    except Exception as error:  # a row of the table, not the end of it
        row["why"] = str(error).strip()
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--match", default="")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/bin/ds_export")
    parser.add_argument("--runner", type=pathlib.Path, default=ROOT / "build/tests/executor/ds_executor_node_runner")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--library", type=pathlib.Path, default=ROOT / "build/deploy/engine/capi/libds_engine.so")
    onnx_zoo_int8.add_arguments(parser)
    args = parser.parse_args()
    rows = []
    print(onnx_zoo_int8.HEAD if args.quantize else f"{'file':64} {'imports':8} {'round trip':>10} {'executor':>10} {'engine':>10}")
    for path in sorted(args.folder.rglob("*.onnx")):
        if args.match not in str(path):
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = measure(path, args, pathlib.Path(folder))
        rows.append(row)
        if args.quantize:
            print(onnx_zoo_int8.line(row), flush=True)
            continue
        figures = [f"{row[key]:10.1e}" if key in row else f"{'':10}" for key in ("round_trip", "executor", "engine")]
        figures += [f"{row['speed']:.2f}"] if "speed" in row else []
        print(f"{row['file'][-64:]:64} {'yes' if row['imports'] else 'no':8} {' '.join(figures)} {row.get('why', '')[:200]}".rstrip(), flush=True)
    imported = [row for row in rows if row["imports"]]
    print(f"{len(rows)} files, {len(imported)} import ({100 * len(imported) / max(len(rows), 1):.0f} %)")
    if args.quantize:
        print(onnx_zoo_int8.summary(imported))
    else:
        within = [sum(row.get(key, 1) <= ROUND_TRIP for row in imported) for key in ("round_trip", "executor", "engine")]
        print(f"within {ROUND_TRIP} of the range: {within[0]} round trips, {within[1]} in the executor, {within[2]} on the engine")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    sys.exit(main())
