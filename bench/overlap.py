"""How much of the gradient exchange hides behind the backward pass: ds_train on several ranks, measured from its traces.

    .venv/bin/python bench/overlap.py [--config configs/fashion_mnist_resnet20.yaml] [--precision bf16 fp32] [--repeats 3]

Each round trains once with comm.overlap=true and once with false, and reads trace.json. A rank's step counts from the start of its
backward pass to that of the next one. The columns, medians over steps and ranks after the warm-up:

  exchange   time with an exchange under way, waits for the other ranks and for a core included
  hidden     the part of it that lies within the rank's backward pass, in per cent: the figure of the issue
  transport  the same from the moment when the last rank had the bucket ready: what the network and the sums took
  hidden     of the transport, likewise
  exposed    transport after the end of backward, against all transport of the runs without overlap: what overlap really saves, in per cent

All times are in milliseconds. The ranks' clocks must be one: run it on one machine. A round without overlap must show nothing
hidden, and every step must hold each bucket once: else the script stops, since its own reading would be wrong.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

MPI = ["--oversubscribe", "--bind-to", "none", "--mca", "btl_vader_single_copy_mechanism", "none"]


def train(args, folder, precision, overlap):
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    command = ["mpirun", *MPI, "-np", str(args.ranks), f"{args.build}/bin/ds_train", "--config", args.config,
               f"run.output={folder}", "run.name=overlap", "run.epochs=1", f"data.train_limit={args.samples}",
               "data.test_limit=500", f"precision.mode={precision}", f"comm.overlap={str(overlap).lower()}", "log.trace=true",
               "checkpoint.enabled=false", "log.tensorboard=false", *args.overrides]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    run = max(pathlib.Path(folder).glob("overlap*"), key=lambda path: path.stat().st_mtime)
    return json.loads((run / "trace.json").read_text())["traceEvents"], json.loads((run / "summary.json").read_text())


def read_steps(events):
    """A list over steps of a list over ranks of {"compute": (begin, end), "backward": (begin, end), "exchange": {name: (begin, end)}}."""
    ranks = sorted({event["pid"] for event in events})
    per_rank = []
    for rank in ranks:
        spans = sorted((e["ts"], e["ts"] + e["dur"], e["name"]) for e in events if e["ph"] == "X" and e["pid"] == rank)
        steps, forward = [], 0
        for begin, end, name in spans:
            if name == "forward":
                forward = begin
            elif name == "backward":
                steps.append({"compute": (forward, end), "backward": (begin, end), "exchange": {}})
            elif name.startswith("bucket") or name == "flag":
                if name in steps[-1]["exchange"]:
                    sys.exit(f"rank {rank} exchanges {name} twice in step {len(steps) - 1}")
                steps[-1]["exchange"][name] = (begin, end)
        per_rank.append(steps)
    steps = [list(step) for step in zip(*per_rank)]
    if any(set(rank["exchange"]) != set(steps[0][0]["exchange"]) for step in steps for rank in step):
        sys.exit("the steps differ in their buckets")
    return steps


def within(span, frame):
    return max(0, min(span[1], frame[1]) - max(span[0], frame[0]))


def figures(steps):
    rows = []
    for step in steps:
        # A bucket is on its way from when the last rank had it.
        ready = {name: max(rank["exchange"][name][0] for rank in step) for name in step[0]["exchange"]}
        for rank in step:
            seen = list(rank["exchange"].values())
            carried = [(max(begin, min(ready[name], end)), end) for name, (begin, end) in rank["exchange"].items()]
            row = {"compute": rank["compute"][1] - rank["compute"][0], "backward": rank["backward"][1] - rank["backward"][0]}
            for key, spans in (("exchange", seen), ("transport", carried)):
                row[key] = sum(end - begin for begin, end in spans)
                row[f"{key}_hidden"] = sum(within(span, rank["backward"]) for span in spans)
            row["exposed"] = row["transport"] - row["transport_hidden"]
            row["exchange_share"] = row["exchange_hidden"] / max(row["exchange"], 1)
            row["transport_share"] = row["transport_hidden"] / max(row["transport"], 1)
            rows.append(row)
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]} | {"buckets": len(steps[0][0]["exchange"]) - 1}


def measure(args, precision):
    with tempfile.TemporaryDirectory() as folder:
        result = {}
        for overlap in (True, False):
            events, summary = train(args, folder, precision, overlap)
            steps = read_steps(events)[args.warm_up:]
            if len(steps) < 10:
                sys.exit(f"only {len(steps)} steps after the warm-up: raise --samples")
            result[overlap] = figures(steps) | {"images_per_s": summary["train_images_per_second"]}
    on, off = result[True], result[False]
    if off["exchange_hidden"] != 0:
        sys.exit("without overlap something is hidden: the trace or its reading is wrong")
    ms = 1e-3
    return {"precision": precision, "buckets": on["buckets"], "compute_ms": on["compute"] * ms, "backward_ms": on["backward"] * ms,
            "exchange_ms": on["exchange"] * ms, "hidden_%": 100 * on["exchange_share"], "transport_ms": on["transport"] * ms,
            "transport_hidden_%": 100 * on["transport_share"], "exposed_ms": on["exposed"] * ms,
            "without_overlap_ms": off["transport"] * ms, "saved_%": 100 * (1 - on["exposed"] / off["transport"]),
            "images_per_s": on["images_per_s"], "images_per_s_without": off["images_per_s"]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--config", default="configs/fashion_mnist_resnet20.yaml")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--samples", type=int, default=8000)
    parser.add_argument("--warm-up", type=int, default=10, help="steps left out")
    parser.add_argument("--precision", nargs="*", default=["bf16", "fp32"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--at-least", type=float, default=70, help="fail if the median of a precision's hidden share is below, per cent")
    parser.add_argument("--json", type=pathlib.Path, help="write the rows here too")
    parser.add_argument("overrides", nargs="*", help="for ds_train, after --")
    args = parser.parse_args()
    rows, failed = [], False
    for precision in args.precision:
        mine = []
        for _ in range(args.repeats):
            mine.append(measure(args, precision))
            if not rows and len(mine) == 1:
                print("  ".join(mine[0]))
            print("  ".join((f"{v:.2f}" if isinstance(v, float) else str(v)).rjust(len(k)) for k, v in mine[-1].items()), flush=True)
        rows += mine
        hidden = statistics.median(row["hidden_%"] for row in mine)
        needed = all(row["compute_ms"] >= row["exchange_ms"] for row in mine)
        print(f"{precision}: {hidden:.1f} % hidden (median of {len(mine)}), compute {'>=' if needed else '<'} exchange", flush=True)
        failed |= hidden < args.at_least
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    if failed:
        sys.exit(f"less than {args.at_least:.0f} % hidden")


if __name__ == "__main__":
    main()
