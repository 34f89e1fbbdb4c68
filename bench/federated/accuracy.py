"""What few bits and skewed data cost: eight sites train LeNet on Fashion-MNIST together, seed by seed.

    .venv/bin/python3 bench/federated/accuracy.py build/bin [--seeds 1 2 3] [--rounds 10] [--sites 8] [--demo] [--quick] [--json FILE]

4-bit updates against plain means of fp32 updates at alpha 0.5 (secure aggregation gives the same sums bit for bit, so the same
model), and SCAFFOLD and FedProx against FedAvg at alpha 0.1, where sites make many steps a round (DRIFTING). The runs are
federated_accuracy_bench's, in one process; --demo runs the first comparison's secure side as `ds_federate demo` instead, with
real processes. Minutes a run on two cores; --quick is one round of two sites (three with --demo) on few images, whose accuracies say nothing but that
all of it runs.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

TASK = "configs/federated_fashion_mnist.yaml"
# What the demonstration must hold: points (percent of the test images) below fp32, the mean over the seeds.
MOST_POINTS = 0.5
# Where sites drift: plain SGD (what SCAFFOLD is derived for), five passes a round over few samples.
DRIFTING = ["optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.learning_rate=0.05", "federated.local_epochs=5",
            "data.train_limit=20000"]
QUICK = ["data.train_limit=2000", "data.test_limit=500"]


def failed(command, done):
    said = done.stderr.splitlines() or [f"ended with {done.returncode} and said nothing"]
    sys.exit(f"accuracy.py: {' '.join(map(str, command))}: {said[-1]}")


def simulate(programs, folder, options, overrides=()):
    command = [programs / "federated_accuracy_bench", "--task", TASK, "--folder", folder]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    command += overrides
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        failed(command, done)
    return json.loads(done.stdout)["test_accuracy"][-1]


def demonstrate(programs, folder, seed, rounds, sites):
    output = pathlib.Path(folder) / f"demo-{seed}"
    command = [programs / "ds_federate", "demo", "--sites", str(sites), "--rounds", str(rounds), "--alpha", "0.5", "--bits", "4", "--secure",
               "--seed", str(seed), "--output", output]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        failed(command, done)
    return json.loads((output / "summary.json").read_text())["test_accuracy"]


def table(title, rows, seeds):
    print(f"\n{title}\n\n| | {' | '.join(f'seed {seed}' for seed in seeds)} | mean |\n|{' --- |' * (len(seeds) + 2)}")
    for name, values in rows.items():
        print(f"| {name} | {' | '.join(f'{100 * value:.2f}' for value in values)} | {100 * statistics.mean(values):.2f} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sites", type=int, default=8)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.rounds, arguments.sites = [1], 1, 3 if arguments.demo else 2
    programs, seeds, rounds, sites = arguments.programs, arguments.seeds, arguments.rounds, arguments.sites
    limits = QUICK if arguments.quick else []
    with tempfile.TemporaryDirectory(prefix="ds_accuracy") as folder:
        def run(overrides=(), **options):
            options.update(sites=sites, rounds=rounds)
            return [simulate(programs, folder, dict(options, seed=seed), [*overrides, *limits]) for seed in seeds]
        bits = {"fp32, in the open": run(alpha=0.5, bits=0)}
        bits["4 bits, secure"] = [demonstrate(programs, folder, seed, rounds, sites) for seed in seeds] if arguments.demo else run(alpha=0.5, bits=4)
        skewed = {strategy: run(DRIFTING, alpha=0.1, bits=4, strategy=strategy) for strategy in ("fedavg", "fedprox", "scaffold")}
    table(f"Test accuracy, percent: {sites} sites, alpha 0.5, {rounds} rounds", bits, seeds)
    table(f"Test accuracy, percent: {sites} sites, alpha 0.1, 4 bits, {rounds} rounds", skewed, seeds)
    if arguments.json:
        arguments.json.write_text(json.dumps({"seeds": seeds, "rounds": rounds, "alpha_0.5": bits, "alpha_0.1": skewed}, indent=2))
    mean = {name: statistics.mean(values) for name, values in {**bits, **skewed}.items()}
    points = 100 * (mean["fp32, in the open"] - mean["4 bits, secure"])
    print(f"\n4 bits cost {points:.2f} points (at most {MOST_POINTS}); ahead of fedavg at alpha 0.1: "
          f"{', '.join(name for name in ('fedprox', 'scaffold') if mean[name] > mean['fedavg']) or 'none'}")
    if arguments.quick:
        return 0
    return 0 if points <= MOST_POINTS and max(mean["fedprox"], mean["scaffold"]) > mean["fedavg"] else 1


if __name__ == "__main__":
    sys.exit(main())
