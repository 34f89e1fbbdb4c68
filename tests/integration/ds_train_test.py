"""ds_train from the outside: the main job on synthetic data, resume after kill -9, determinism, bad input.

    ds_train_test.py DS_TRAIN MPIRUN
"""
import contextlib
import csv
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime

from training_case import ENVIRONMENT, TrainingCase

CONFIG = """
run: {name: t, epochs: 3, seed: 5, threads: 1}
model: {name: resnet8}
data: {type: synthetic, channels: 1, height: 12, width: 12, classes: 4, size: 192, batch_size: 16,
       augment: {crop: 1, flip: true}}
optimizer: {learning_rate: 0.05}
precision: {mode: fp32}
log: {every_steps: 3}
"""


class DsTrain(TrainingCase):
    CONFIG = CONFIG

    def fails(self, *arguments, ranks=1):
        done = subprocess.run(self.command(ranks, *arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
        self.assertNotEqual(done.returncode, 0)
        lines = [line for line in done.stderr.splitlines() if line.startswith("ds_train: ")]
        self.assertEqual(len(lines), 1, done.stderr)
        return done.stderr

    def test_two_ranks_train_to_a_model_that_onnx_runtime_runs(self):
        run, text = self.train("two", "data.size=1280", "data.augment.flip=false", "data.augment.crop=0", ranks=2)
        summary = json.loads((run / "summary.json").read_text())
        self.assertEqual(summary["world_size"], 2)
        self.assertEqual(summary["epochs"], 3)
        self.assertGreater(summary["test_accuracy"], 0.5, "chance is 0.25")
        self.assertGreater(summary["wire_bytes_per_step"], 4 * 70000)
        self.assertNotIn("\x1b", text, "escape codes in a pipe")
        session = onnxruntime.InferenceSession(str(run / "model.onnx"), providers=["CPUExecutionProvider"])
        logits = session.run(None, {session.get_inputs()[0].name: np.zeros((3, 1, 12, 12), np.float32)})[0]
        self.assertEqual(logits.shape, (3, 4))
        rows = (run / "metrics.csv").read_text().splitlines()
        self.assertEqual(sum(",test," in row for row in rows), 3)
        self.assertTrue(list((run / "events").glob("events.out.tfevents.*")))

    def test_the_same_seed_gives_the_same_bits_whatever_is_forecast_and_another_does_not(self):
        first, _ = self.train("a", ranks=2)
        second, _ = self.train("b", "comm.bucket_mb=0.01", "comm.overlap=false", ranks=2)
        other, _ = self.train("c", "run.seed=6", ranks=2)
        self.assertEqual(self.digest(first / "model.safetensors"), self.digest(second / "model.safetensors"))
        self.assertNotEqual(self.digest(first / "model.safetensors"), self.digest(other / "model.safetensors"))
        run, out = self.train("forecast", "comm.forecast=true", ranks=2)
        self.assertEqual(self.digest(first / "model.safetensors"), self.digest(run / "model.safetensors"))
        summary = json.loads((run / "summary.json").read_text())
        self.assertGreater(summary["predicted_step_ms"], 0)
        self.assertGreater(summary["median_step_ms"], 0)
        self.assertIn("predicted", out)
        self.assertIsNone(json.loads((first / "summary.json").read_text())["predicted_step_ms"])

    def train_killed_and_resumed(self, *options):
        """Two runs of the same: one that never stopped, and one that kill -9 stopped after its first checkpoint."""
        whole, _ = self.train("whole", *options, ranks=2)
        killed = self.start_and_kill(self.checkpoints, *options)
        self.train("killed", *options, "--resume", ranks=2)
        return whole, killed

    def assert_same_bits(self, whole, killed, names):
        for name in names:
            self.assertEqual(self.digest(self.newest(whole) / name),
                             self.digest(self.newest(killed) / name), name)
        self.assertEqual(self.digest(whole / "model.safetensors"), self.digest(killed / "model.safetensors"))

    def test_a_killed_run_resumes_to_the_bits_of_one_that_never_stopped(self):
        whole, killed = self.train_killed_and_resumed("ema.enabled=true")
        self.assert_same_bits(whole, killed, ["model.safetensors", "optimizer.safetensors", "ema.safetensors"])

    def test_so_does_one_that_compresses_its_gradients(self):
        for name, options in {"4 bit": ["compression.method=uniform", "compression.rounding=stochastic"],
                              "auto bits": ["compression.method=uniform", "compression.bits=auto", "compression.decide_every=5"],
                              "powersgd": ["compression=powersgd"]}.items():
            with self.subTest(name):
                whole, killed = self.train_killed_and_resumed(*options, "compression.minimum_size=100")
                self.assert_same_bits(whole, killed, ["model.safetensors", "optimizer.safetensors",
                                                      "residuals-0.safetensors", "residuals-1.safetensors"])
                for run in (whole, killed):
                    shutil.rmtree(run.parent)

    def test_residuals_follow_a_run_to_more_ranks(self):
        options = ["compression.method=uniform", "compression.bits=2", "compression.minimum_size=100"]
        run, _ = self.train("grow", *options, "run.epochs=1", ranks=2)
        self.assertEqual(len(list(self.newest(run).glob("residuals-*.safetensors"))), 2)
        run, _ = self.train("grow", *options, "run.epochs=2", "--resume", ranks=3)
        self.assertEqual(len(list(self.newest(run).glob("residuals-*.safetensors"))), 3)
        summary = json.loads((run / "summary.json").read_text())
        self.assertEqual(summary["world_size"], 3)
        self.assertGreater(summary["raw_bytes_per_step"], 5 * summary["wire_bytes_per_step"])
        self.assertIn("uniform, 2 bit", summary["compression"])
        self.assertGreater(summary["compression_error"], 0)

    def start_endless(self, *arguments):
        """Two ranks that train on and on, once their steps are under way; returns mpirun and the process of each rank."""
        process = subprocess.Popen(self.command(2, f"run.output={self.folder / 'endless'}", "run.epochs=1000000", "model.name=mlp",
                                                "checkpoint.enabled=false", *arguments), env=ENVIRONMENT, text=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(self.kill_group, process.pid)
        metrics = self.folder / "endless" / "t" / "metrics.csv"
        deadline = time.time() + 60
        while not (metrics.exists() and ",test," in metrics.read_text()) and time.time() < deadline:
            time.sleep(0.01)
        ranks = {}
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if str(self.folder).encode() in (entry / "cmdline").read_bytes():
                    for variable in (entry / "environ").read_bytes().split(b"\0"):
                        if variable.startswith(b"OMPI_COMM_WORLD_RANK="):
                            ranks[int(variable.split(b"=")[1])] = int(entry.name)
            except OSError:
                continue
        self.assertEqual(sorted(ranks), [0, 1])
        for pid in ranks.values():
            self.addCleanup(self.kill, pid)
        return process, ranks

    @staticmethod
    def kill(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    @staticmethod
    def kill_group(pid):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    def ends_soon(self, process):
        """The job's error text; it must end within 30 s, not well."""
        start = time.time()
        _, errors = process.communicate(timeout=30)
        self.assertNotEqual(process.returncode, 0)
        print(f"the job ended after {time.time() - start:.1f} s", file=sys.stderr)
        return errors

    def assert_gone(self, ranks):
        deadline = time.time() + 10
        while any(pathlib.Path(f"/proc/{pid}").exists() for pid in ranks.values()) and time.time() < deadline:
            time.sleep(0.01)
        self.assertFalse([pid for pid in ranks.values() if pathlib.Path(f"/proc/{pid}").exists()], "ranks left behind")

    def test_a_killed_rank_ends_the_job_with_one_error(self):
        for victim in (0, 1):
            with self.subTest(victim=victim):
                process, ranks = self.start_endless()
                os.kill(ranks[victim], signal.SIGKILL)
                errors = self.ends_soon(process)
                self.assertEqual(len(re.findall(r"exited on signal 9", errors)), 1, errors)
                self.assertIn(f"process rank {victim} ", errors)
                self.assertLessEqual(errors.count("ds_train: "), 1, errors)
                self.assert_gone(ranks)
                shutil.rmtree(self.folder / "endless")

    def test_a_stopped_rank_ends_the_job_at_the_deadline_with_one_error(self):
        process, ranks = self.start_endless("comm.timeout_s=2")
        os.kill(ranks[1], signal.SIGSTOP)
        errors = self.ends_soon(process)
        lines = [line for line in errors.splitlines() if line.startswith("ds_train: ")]
        self.assertEqual(len(lines), 1, errors)
        for fragment in ("for rank 1", "gone or stuck", "comm.timeout_s"):
            self.assertIn(fragment, lines[0])
        # One deadline covers all transfers of a call: the one that it met may have begun later than the call.
        waited = re.search(r"waited ([\d.]+)s", lines[0])
        self.assertIsNotNone(waited, lines[0])
        self.assertTrue(1.0 <= float(waited.group(1)) <= 3.0, lines[0])
        self.assert_gone(ranks)

    def test_a_trace_shows_exchange_that_starts_before_backward_ends(self):
        run, _ = self.train("trace", "log.trace=true", "run.epochs=1", ranks=2)
        events = json.loads((run / "trace.json").read_text())["traceEvents"]
        for rank in (0, 1):
            spans = [event for event in events if event["ph"] == "X" and event["pid"] == rank]
            backward = [event for event in spans if event["name"] == "backward"]
            self.assertEqual(len(backward), 192 // 32)
            for name in ("forward", "optimizer", "bucket 0", "bucket 1", "flag"):
                self.assertEqual(sum(event["name"] == name for event in spans), len(backward), name)
            early = sum(any(event["name"] == "bucket 0" and step["ts"] < event["ts"] < step["ts"] + step["dur"] for event in spans)
                        for step in backward)
            # Not in each: a machine may be too busy to wake the communication thread in time.
            self.assertGreater(early, 0, f"rank {rank}: no bucket left before backward was over")

    def test_a_dry_run_writes_nothing_and_print_config_comes_back(self):
        before = set(self.folder.rglob("*"))
        done = subprocess.run(self.command(1, "--dry-run", f"run.output={self.folder / 'dry'}"), env=ENVIRONMENT,
                              capture_output=True, text=True, timeout=100)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(before, set(self.folder.rglob("*")))
        printed = subprocess.run(self.command(1, "--print-config"), env=ENVIRONMENT, capture_output=True, text=True, timeout=100).stdout
        (self.folder / "c.yaml").write_text(printed)
        again = subprocess.run(self.command(1, "--print-config"), env=ENVIRONMENT, capture_output=True, text=True, timeout=100).stdout
        self.assertEqual(printed, again)

    def test_fp16_overflow_is_skipped_everywhere_and_training_goes_on(self):
        run, _ = self.train("half", "precision.mode=fp16", "precision.initial_scale=1e10", "precision.backoff_factor=0.001",
                            "run.epochs=3", "data.size=64", "model.name=mlp", ranks=2)
        summary = json.loads((run / "summary.json").read_text())
        self.assertGreater(summary["skipped_steps"], 0)
        self.assertLess(summary["skipped_steps"], 6, "no step was taken")
        self.assertLess(summary["loss_scale"], 1e10)

    def test_a_network_whose_backward_pass_damaged_the_heap_trains(self):
        """A RepVGG's first block: oneDNN overran its workspace in the 1x1 convolution with stride 2 over three channels."""
        file = pathlib.Path(__file__).parent / "models" / "onednn_stride2_crash.onnx"
        run, _ = self.train("stem", "model.name=", f"model.onnx={file}", "run.epochs=1", "run.threads=2", "log.every_steps=1",
                            "data={type: synthetic, channels: 3, height: 128, width: 128, classes: 10, size: 64, batch_size: 32}")
        with open(run / "metrics.csv", newline="") as rows:
            losses = [float(row["loss"]) for row in csv.DictReader(rows) if row["split"] == "train"]
        self.assertEqual(len(losses), 2)
        self.assertTrue(np.isfinite(losses).all(), losses)
        before, after = ({w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(str(path)).graph.initializer} for path in (file, run / "model.onnx"))
        for name, weight in after.items():
            self.assertTrue(np.isfinite(weight).all(), name)
            self.assertFalse(np.array_equal(weight, before[name]), f"{name} was to train")

    def test_bad_input_is_one_clear_error(self):
        cases = [
            (["optimzer.learning_rate=1"], "optimizer"),
            (["run.epochs=0"], "run.epochs"),
            (["model.name=resnet21"], "resnet20"),
            (["data.type=idx", "data.path=/no/such/folder"], "/no/such/folder"),
            (["data.type=cifar10", "data.path=/no/such/folder"], "/no/such/folder"),
            (["data.batch_size=100000"], "batch_size"),
            (["model.classes=2"], "model.classes"),
            (["model.plugin=/no/such/plugin.so"], "/no/such/plugin.so"),
            (["model.name=", "model.onnx=/no/such/model.onnx"], "/no/such/model.onnx"),
            (["comm.backend=nccl"], "NCCL"),
            (["--resume", f"run.output={self.folder / 'nothing'}"], "nothing"),
            (["run.output=/proc/nowhere"], "/proc/nowhere"),
        ]
        for arguments, fragment in cases:
            with self.subTest(arguments):
                self.assertIn(fragment, self.fails(*arguments))

    def test_instructions_can_be_limited(self):
        """As oneDNN, which lists what it runs, sees it: the kernels' names begin with their instruction set."""
        for level in ("avx2", "baseline"):
            with self.subTest(level):
                done = subprocess.run(self.command(1, "--dry-run", "--instructions", level), env=dict(ENVIRONMENT, ONEDNN_VERBOSE="1"),
                                      capture_output=True, text=True, timeout=200)
                self.assertEqual(done.returncode, 0, done.stderr)
                lines = [line for line in done.stdout.splitlines() if ",exec,cpu,convolution," in line]
                self.assertTrue(lines, done.stdout[:2000])
                self.assertNotIn("avx512", "".join(lines))
                if level == "baseline":
                    self.assertNotIn("avx2", "".join(lines))
        self.assertIn("auto, baseline, avx2, avx512", self.fails("--instructions", "avx3"))

    def test_ranks_that_would_train_alone_are_refused_once(self):
        self.assertIn("train alone", self.fails("comm.backend=none", ranks=2))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
