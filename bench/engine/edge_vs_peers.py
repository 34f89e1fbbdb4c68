"""The edge engine against runtimes that can be installed, on the same ONNX files.

    PYTHON bench/engine/edge_vs_peers.py BUILD FILE.onnx [FILE.onnx ...] [--threads 1] [--rounds 3] [--runs 50] [--isa avx2|avx512vnni]

BUILD is the build folder (bin/ds_export, bin/ds_bench). Rivals are those that PYTHON can import: onnxruntime and openvino, which read
the same file. Each figure is of a fresh process; all of them take turns, round after round, so that a machine that others slow down slows all
alike; the table has the median of the rounds. load: from a path to something that runs; memory: what loading and running add to the
process' resident memory, with the library, which is loaded before, left out. --isa holds the engine to an instruction set and OpenVINO with it
(ONEDNN_MAX_CPU_ISA; avx512vnni keeps it from AMX); ONNX Runtime has no such switch and is left out then.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

RIVAL = r"""
import json, os, sys, time
import numpy as np
name, path, threads, runs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
random = np.random.default_rng(1)
KINDS = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "f32": np.float32, "i64": np.int64}
def values(shape, kind):
    shape = [d if isinstance(d, int) and d > 0 else 1 for d in shape]
    return random.normal(size=shape).astype(np.float32) if KINDS[kind] is np.float32 else random.integers(0, 100, shape)
if name == "onnxruntime":
    import onnxruntime
    before, begin = resident(), time.perf_counter()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    ready = time.perf_counter()
    feed = {i.name: values(i.shape, i.type) for i in session.get_inputs()}
    run = lambda: session.run(None, feed)
else:
    import openvino
    core = openvino.Core()
    before, begin = resident(), time.perf_counter()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    model = core.read_model(path)
    model.reshape({i.any_name: [d.get_length() if d.is_static else 1 for d in i.partial_shape] for i in model.inputs})
    request = core.compile_model(model, "CPU").create_infer_request()
    ready = time.perf_counter()
    feed = {i.any_name: values([d.get_length() for d in i.partial_shape], i.element_type.get_type_name()) for i in model.inputs}
    run = lambda: request.infer(feed)
start = time.perf_counter()
run()
first = time.perf_counter() - start
for _ in range(9):
    run()
times = []
for _ in range(runs):
    start = time.perf_counter()
    run()
    times.append(time.perf_counter() - start)
times.sort()
print(json.dumps({"load_ms": 1e3 * (ready - begin), "first_ms": 1e3 * first, "median_ms": 1e3 * times[len(times) // 2],
                  "p99_ms": 1e3 * times[int(0.99 * (len(times) - 1) + 0.5)], "rss_mib": resident() - before}))
"""
# What oneDNN calls them.
ONEDNN = {"avx2": "AVX2", "avx512vnni": "AVX512_CORE_VNNI"}
FIELDS = ["median_ms", "p99_ms", "first_ms", "load_ms", "rss_mib"]


def ours(args, dsm):
    command = [args.build / "bin/ds_bench", "--model", dsm, "--threads", args.threads, "--runs", args.runs, "--format", "json"]
    command += ["--isa", args.isa] if args.isa else []
    return json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)


def rival(args, name, onnx):
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    if args.isa:
        environment["ONEDNN_MAX_CPU_ISA"] = environment["DNNL_MAX_CPU_ISA"] = ONEDNN[args.isa]
    command = [sys.executable, "-c", RIVAL, name, str(onnx), str(args.threads), str(args.runs)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()[-1])


def measured(args, onnx, dsm, names):
    """For each runtime the medians over the rounds, and of the rounds' ratios of the best rival's median to ours."""
    rows = {name: [] for name in ["ours", *names]}
    for _ in range(args.rounds):
        for name, row in rows.items():
            row.append(ours(args, dsm) if name == "ours" else rival(args, name, onnx))
    table = {name: {field: statistics.median(one[field] for one in row) for field in FIELDS} for name, row in rows.items()}
    ratio = statistics.median(
        min(rows[name][i]["median_ms"] for name in names) / rows["ours"][i]["median_ms"] for i in range(args.rounds)) if names else None
    return table, ratio


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--isa", choices=list(ONEDNN))
    args = parser.parse_args()
    names = [name for name in ["onnxruntime", "openvino"] if importlib.util.find_spec(name) and not (args.isa and name == "onnxruntime")]
    print(f"{args.threads} threads, {args.rounds} rounds of {args.runs} runs; rivals: {', '.join(names) or 'none'}\n")
    print("| model | runtime | " + " | ".join(FIELDS) + " | best rival / ours |\n| --- | --- |" + " --- |" * (len(FIELDS) + 1))
    for onnx in args.files:
        with tempfile.TemporaryDirectory() as folder:
            dsm = pathlib.Path(folder) / "model.dsm"
            export = [args.build / "bin/ds_export", "--model", onnx, "--format", "dsm", "--output", dsm]
            done = subprocess.run([str(part) for part in export], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(f"| {onnx.stem} | ours | refused: {done.stderr.strip().splitlines()[-1]} |", flush=True)
                continue
            table, ratio = measured(args, onnx, dsm, names)
        for name, row in table.items():
            figures = " | ".join(f"{row[field]:.2f}" for field in FIELDS)
            print(f"| {onnx.stem} | {name} | {figures} | {f'{ratio:.2f}' if name == 'ours' and ratio else ''} |", flush=True)


if __name__ == "__main__":
    main()
