"""Test accuracy with compressed gradients: the same training with several exchanges and seeds, mean and standard deviation.

    .venv/bin/python bench/compression_accuracy.py [--epochs 3] [--seeds 1 2 3] [--ranks 2] [--cases fp32 "4 bit" ...] [--output runs/accuracy]

Trains configs/fashion_mnist_resnet20.yaml under mpirun on the whole data set, all cases of one seed before the next seed. What has a
summary.json in the output folder is not run again, so that the script can be stopped and started. Accuracy is that after the last
epoch, not of the best one.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
UNIFORM = ["compression.method=uniform"]
CASES = {
    "fp32": ["compression.method=none"],
    "8 bit": [*UNIFORM, "compression.bits=8"],
    "4 bit": [*UNIFORM, "compression.bits=4"],
    "2 bit": [*UNIFORM, "compression.bits=2"],
    "1 bit": ["compression.method=sign"],
    "1 bit, no error feedback": ["compression.method=sign", "compression.error_feedback=false"],
    "auto bits": [*UNIFORM, "compression.bits=auto"],
    "PowerSGD rank 4": ["compression.method=powersgd"],
}


def run(args, case, seed):
    name = f"{case.replace(' ', '_').replace(',', '')}-{seed}"
    summary = args.output / name / "summary.json"
    if not summary.exists():
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        subprocess.run(["mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "btl_vader_single_copy_mechanism", "none", "-np",
                        str(args.ranks), str(args.program), "--config", str(args.config), f"run.epochs={args.epochs}", f"run.seed={seed}",
                        f"run.output={args.output}", f"run.name={name}", "checkpoint.enabled=false", "log.tensorboard=false",
                        f"precision.mode={args.precision}", *CASES[case]], check=True, env=environment, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)
    return json.loads(summary.read_text())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/bin/ds_train")
    parser.add_argument("--config", type=pathlib.Path, default=ROOT / "configs/fashion_mnist_resnet20.yaml")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--cases", nargs="*", default=["fp32", "4 bit", "2 bit", "1 bit", "1 bit, no error feedback"])
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "runs/accuracy")
    args = parser.parse_args()
    results = {case: [] for case in args.cases}
    for seed in args.seeds:
        for case in args.cases:
            summary = run(args, case, seed)
            results[case].append(summary)
            print(f"  seed {seed}, {case}: {100 * summary['final_test_accuracy']:.2f} %", file=sys.stderr, flush=True)
    for case, summaries in results.items():
        accuracies = [100 * summary["final_test_accuracy"] for summary in summaries]
        print(json.dumps({"case": case, "epochs": args.epochs, "ranks": args.ranks, "seeds": args.seeds,
                          "precision": summaries[0]["precision"], "accuracy_mean": round(statistics.mean(accuracies), 3),
                          "accuracy_sd": round(statistics.stdev(accuracies), 3) if len(accuracies) > 1 else None,
                          "fewer_bytes": round(summaries[0]["raw_bytes_per_step"] / summaries[0]["wire_bytes_per_step"], 2)}))


if __name__ == "__main__":
    main()
