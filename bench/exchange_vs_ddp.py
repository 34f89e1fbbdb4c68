"""Step time across a slow link: Downstream with and without compression against PyTorch DDP (Gloo), in one run.

    sudo .venv/bin/python bench/exchange_vs_ddp.py [--rate 100mbit] [--steps 14] [--batch 8] [--cases fp32 4bit ...]

Two ranks on two hosts (bench/two_hosts.py) of one core each train ResNet-18 on 32x32 images, fp32, SGD. All rivals run one after
the other, `--rounds` times; the figure is the median step after the warm-up steps. Each run is checked first: finite loss, replicas
equal, as many parameters on both sides. Each of our runs foretells its own step time (`comm.forecast`) from its first ten steps, which
are exchanged after backward and do not count, and from a probe of link and codec: predicted over measured stands beside it, for each round.
"""
import argparse
import csv
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from two_hosts import ADDRESSES, TwoHosts

HERE = pathlib.Path(__file__).resolve().parent
WARM_UP = 3
RIVALS = {"DDP alone": "alone", "DDP fp32": "none", "DDP fp16 hook": "fp16"}
ALONE = "Downstream alone"
WATCHED = 10  # first steps of comm.forecast, which are exchanged after backward
# Overrides of ds_train for each of our cases.
OURS = {
    "Downstream fp32": ["compression.method=none"],
    "Downstream fp16": ["compression.method=fp16"],
    "Downstream 8 bit": ["compression.method=uniform", "compression.bits=8"],
    "Downstream 4 bit": ["compression.method=uniform", "compression.bits=4"],
    "Downstream 2 bit": ["compression.method=uniform", "compression.bits=2"],
    "Downstream 1 bit": ["compression.method=sign"],
    "Downstream PowerSGD 4": ["compression.method=powersgd", "compression.rank=4"],
}
CONFIG = """
run: {{name: {name}, output: {output}, epochs: 1, threads: 1}}
model: {{name: resnet18}}
data: {{type: synthetic, channels: 3, height: 32, width: 32, classes: 10, size: {size}, batch_size: {batch}, test_limit: 16, test_batch_size: 16}}
optimizer: {{learning_rate: 0.01}}
schedule: {{name: constant}}
precision: {{mode: fp32}}
checkpoint: {{enabled: false}}
log: {{every_steps: 1, tensorboard: false}}
"""


def rival(hosts, hook, args):
    def at(rank):
        return [sys.executable, HERE / "ddp_rival.py", rank, 2, ADDRESSES[0], hook, args.steps, args.batch, 1]
    processes = [hosts.start(rank, at(rank), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                             env=dict(os.environ, GLOO_SOCKET_IFNAME=f"dsbench{rank}")) for rank in range(2)]
    out = [process.communicate(timeout=600)[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit(f"PyTorch DDP with hook {hook} failed")
    result = json.loads(out[0])
    if not math.isfinite(result["loss"]) or (hook != "alone" and not result["equal"]):
        sys.exit(f"PyTorch DDP with hook {hook}: loss {result['loss']}, replicas equal: {result['equal']}")
    return result["step_ms"], result["parameters"], None


PARTS = ("data_ms", "forward_ms", "backward_ms", "exchange_exposed_ms", "optimiser_ms")


def read_run(run):
    """A run's steps, each as a dict of its parts in ms, and its summary."""
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    if not all(math.isfinite(float(row["loss"])) for row in rows):
        sys.exit(f"{run.name}: the loss is not finite")
    return [{part: float(row[part]) for part in PARTS} for row in rows], json.loads((run / "summary.json").read_text())


def write_config(folder, name, steps, ranks, batch):
    config = pathlib.Path(folder) / f"{name}.yaml"
    config.write_text(CONFIG.format(name=name, output=folder, size=steps * batch * ranks, batch=batch))
    return config


def ours(hosts, overrides, args):
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(folder, "bench", args.steps + WATCHED, 2, args.batch)
        hosts.mpirun([args.build / "bin/ds_train", "--config", config, "comm.forecast=true", *overrides], stdout=subprocess.DEVNULL)
        rows, summary = read_run(pathlib.Path(folder) / "bench")
        return rows[WATCHED:], summary


def ours_alone(hosts, args):
    """One rank on each host at the same time, each training for itself."""
    with tempfile.TemporaryDirectory() as folder:
        configs = [write_config(folder, f"alone{rank}", args.steps, 1, args.batch) for rank in range(2)]
        processes = [hosts.start(rank, [args.build / "bin/ds_train", "--config", config], stdout=subprocess.DEVNULL)
                     for rank, config in enumerate(configs)]
        if any([process.wait(600) for process in processes]):
            sys.exit("training without exchange failed")
        return read_run(pathlib.Path(folder) / "alone0")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build")
    parser.add_argument("--rate", default="100mbit")
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cases", nargs="*", default=[*RIVALS, ALONE, *OURS])
    args = parser.parse_args()
    times, bytes_sent, counts, ratios = {}, {}, {}, {}
    with TwoHosts(args.rate) as hosts:
        for _ in range(args.rounds):
            for case in args.cases:
                bytes_sent[case] = None
                if case in RIVALS:
                    steps, counts[case], _ = rival(hosts, RIVALS[case], args)
                else:
                    rows, summary = ours_alone(hosts, args) if case == ALONE else ours(hosts, OURS[case], args)
                    steps, counts[case] = [sum(row.values()) for row in rows], summary["parameters"]
                    if case != ALONE:
                        bytes_sent[case] = summary["wire_bytes_per_step"]
                        if summary["predicted_step_ms"] is not None:
                            measured = statistics.median(steps[WARM_UP:])
                            ratios.setdefault(case, []).append(summary["predicted_step_ms"] / measured)
                times.setdefault(case, []).extend(steps[WARM_UP:])
                print(f"  {case}: {statistics.median(steps[WARM_UP:]):.0f} ms", file=sys.stderr, flush=True)
    if len(set(counts.values())) != 1:
        sys.exit(f"the models differ: {counts}")
    medians = {case: statistics.median(values) for case, values in times.items()}
    for case, ms in medians.items():
        row = {"rate": args.rate, "case": case, "step_ms": round(ms, 1)}
        if bytes_sent[case] is not None:
            row["sent_mib_a_rank"] = round(bytes_sent[case] / 2**20, 3)
        if case in ratios:
            row["predicted / measured"] = round(statistics.median(ratios[case]), 3)
            row["of each round"] = [round(ratio, 3) for ratio in ratios[case]]
        for name in RIVALS:
            if name in medians:
                row[f"{name} / this"] = round(medians[name] / ms, 2)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
