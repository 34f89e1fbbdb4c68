"""The edge engine against runtimes that can be installed, on the same networks.

    PYTHON bench/engine/edge_vs_peers.py BUILD FILE.onnx [FILE.onnx ...] [--threads 1,2] [--rounds 3] [--runs 50] [--isa avx2|avx512vnni]
                                         [--peers-python PYTHON] [--json FILE]

BUILD is the build folder (bin/ds_export, bin/ds_bench). Rivals are those that PYTHON, or the other Python that is given, can import: onnxruntime and
openvino read the same file; litert and executorch read NAME.tflite and NAME.pte beside it, where those are, NAME being the file's name up to its first
dot (bench/engine/peer_files.py makes them of the same network; another quantiser has chosen their scales). Each figure is of a fresh process; all of them take turns, round after round, so that a
machine that others slow down slows all alike; the table has the median of the rounds, and the least of all runs, which a busy machine moves least. load: from a path to something that runs; memory: what loading
and running add to the process' resident memory, with the library, which is loaded before, left out. --isa holds the engine to an instruction set and
OpenVINO with it (ONEDNN_MAX_CPU_ISA; avx512vnni keeps it from AMX); the others have no such switch and are left out then. Before each network the
machine's INT8 peak on one thread is measured, so that rows from a slower minute show it. Of each network that a rival runs faster the engine's profile
follows: the operators that take most of the time, with their share of the peak.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

RIVAL = pathlib.Path(__file__).resolve().parents[2] / "deploy/engine/measure/rival.py"
# The module of each, and the ending of the files that it reads.
RIVALS = {"onnxruntime": ("onnxruntime", ".onnx"), "openvino": ("openvino", ".onnx"), "litert": ("ai_edge_litert", ".tflite"),
          "executorch": ("executorch", ".pte")}
# What oneDNN calls them.
ONEDNN = {"avx2": "AVX2", "avx512vnni": "AVX512_CORE_VNNI"}
FIELDS = ["median_ms", "least_ms", "p99_ms", "first_ms", "load_ms", "rss_mib"]


def output(command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **options).stdout


def bench(args, dsm, threads, *more):
    isa = ["--isa", args.isa] if args.isa else []
    return json.loads(output([args.build / "bin/ds_bench", "--model", dsm, "--threads", threads, "--runs", args.runs, "--format", "json", *isa, *more]))


def rival(args, python, name, path, threads):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if args.isa:
        environment["ONEDNN_MAX_CPU_ISA"] = environment["DNNL_MAX_CPU_ISA"] = ONEDNN[args.isa]
    text = output([python, RIVAL, name, path, threads, args.runs], env=environment)
    return {field: float(value) for field, value in (line.split() for line in text.splitlines() if len(line.split()) == 2)}


def importable(args):
    """Each rival and the first Python that has it."""
    found = {}
    for name, (module, _) in RIVALS.items():
        for python in filter(None, (sys.executable, args.peers_python)):
            probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)"
            if name not in found and subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0:
                found[name] = python
    return {name: python for name, python in found.items() if not args.isa or name == "openvino"}


def files_of(onnx, rivals):
    """The file that each rival reads of a network, of those that are there."""
    endings = {name: RIVALS[name][1] for name in rivals}
    paths = {name: onnx if ending == ".onnx" else onnx.parent / (onnx.name.split(".")[0] + ending) for name, ending in endings.items()}
    return {name: path for name, path in paths.items() if path.exists()}


def measured(args, dsm, rivals, paths, threads):
    """The medians over the rounds of each runtime (of least_ms the least), of the rounds' ratios of the best rival's median to ours, and the ratio of the least."""
    rows = {name: [] for name in ["ours", *paths]}
    for _ in range(args.rounds):
        for name, row in rows.items():
            row.append(bench(args, dsm, threads) if name == "ours" else rival(args, rivals[name], name, paths[name], threads))
    table = {name: {field: statistics.median(one[field] for one in row) for field in FIELDS} for name, row in rows.items()}
    ratio = statistics.median(
        min(rows[name][i]["median_ms"] for name in paths) / rows["ours"][i]["median_ms"] for i in range(args.rounds)) if paths else None
    for name, row in rows.items():
        table[name]["least_ms"] = min(one["least_ms"] for one in row)
    least = min(table[name]["least_ms"] for name in paths) / table["ours"]["least_ms"] if paths else None
    return table, ratio, least


def profile(args, dsm, threads, most=8):
    """The operators that take most of the time."""
    figures = bench(args, dsm, threads, "--profile")
    total = sum(op["median_us"] for op in figures["operators"])
    rows = sorted(figures["operators"], key=lambda op: -op["median_us"])[:most]
    return [{"operator": op["name"], "kind": op["kind"], "us": op["median_us"], "share": op["median_us"] / total, "peak_share": op["peak_share"]} for op in rows]


def network(args, onnx, rivals):
    """What was measured of a network, and what there is to print of it."""
    with tempfile.TemporaryDirectory() as folder:
        dsm = pathlib.Path(folder) / "model.dsm"
        export = [args.build / "bin/ds_export", "--model", onnx, "--format", "dsm", "--output", dsm]
        done = subprocess.run([str(part) for part in export], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()[-1]
            print(f"| {onnx.stem} | | ours | refused: {reason} |", flush=True)
            return {"model": onnx.stem, "refused": reason}
        found = {"model": onnx.stem, "int8_peak_gmacs": bench(args, dsm, 1, "--profile")["peak_int8_gmacs"], "runs": []}
        paths = files_of(onnx, rivals)
        for threads in args.threads:
            table, ratio, least = measured(args, dsm, rivals, paths, threads)
            run = {"threads": threads, "runtimes": table, "best_rival_over_ours": ratio, "least_over_ours": least}
            if ratio is not None and ratio < 1:
                run["profile"] = profile(args, dsm, threads)
            found["runs"].append(run)
            for name, row in table.items():
                figures = " | ".join(f"{row[field]:.2f}" for field in FIELDS)
                last = f" | {ratio:.2f} | {least:.2f} | {found['int8_peak_gmacs']:.0f} |" if name == "ours" and ratio else " | | | |"
                print(f"| {onnx.stem} | {threads} | {name} | {figures}{last}", flush=True)
        return found


def print_losses(networks):
    for found in networks:
        for run in found.get("runs", []):
            for i, op in enumerate(run.get("profile", [])):
                head = f"\n{found['model']}, {run['threads']} threads, lost by {1 / run['best_rival_over_ours']:.2f}:\n" if i == 0 else ""
                print(f"{head}{op['us']:9.1f} us {100 * op['share']:5.1f}% {100 * op['peak_share']:5.1f}% of peak  {op['kind']:14} {op['operator']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--threads", type=lambda text: [int(word) for word in text.split(",")], default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--isa", choices=list(ONEDNN))
    parser.add_argument("--peers-python", help="another Python, asked for the runtimes that this one lacks")
    parser.add_argument("--json", type=pathlib.Path, help="all figures, the profile of each loss among them")
    args = parser.parse_args()
    rivals = importable(args)
    print(f"{args.rounds} rounds of {args.runs} runs; rivals: {', '.join(rivals) or 'none'}\n")
    print("| model | threads | runtime | " + " | ".join(FIELDS) + " | best rival / ours | of the least | INT8 peak, GMAC/s |")
    print("| --- | --- | --- |" + " --- |" * (len(FIELDS) + 3))
    networks = [network(args, onnx, rivals) for onnx in args.files]
    print_losses(networks)
    if args.json:
        args.json.write_text(json.dumps(networks, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
