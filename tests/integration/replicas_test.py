"""Replicas under mpirun: what ranks report is what the written file does, and nothing differs between them.

    replicas_test.py DS_TRAIN MPIRUN DS_QUANTIZE

Every run of a TrainingCase has run.verify_replicas on. Kinds of run by seed are in tests/jobs/replica_seeds_test.cc.
"""
import json
import subprocess
import sys
import unittest

import training_case

DS_QUANTIZE = sys.argv[3]


class Replicas(training_case.TrainingCase):
    CONFIG = """
run: {name: t, epochs: 2, threads: 1}
model: {name: resnet8}
data: {type: synthetic, channels: 1, height: 12, width: 12, classes: 4, size: 480, batch_size: 16, test_batch_size: 40}
optimizer: {learning_rate: 0.02}
precision: {mode: fp32, initial_scale: 1024}
log: {tensorboard: false}
"""

    def file_accuracy(self, run):
        """Of the run's model.onnx on the whole test split, as another program measures it."""
        output = self.folder / "q.onnx"
        subprocess.run([DS_QUANTIZE, "--model", run / "model.onnx", "--data", run / "config.yaml", "--output", output,
                        "--samples", "32"], check=True, capture_output=True, env=training_case.ENVIRONMENT)
        return json.loads(output.with_suffix(".json").read_text())["float_accuracy"]

    def test_averages_of_batch_norms_are_those_of_the_file(self):
        for name, ranks, options in [
                ("averages", 2, ["ema.enabled=true"]),
                ("local steps", 3, ["ema.enabled=true", "sync.every=4", "compression.method=uniform", "optimizer.accumulate=2"])]:
            with self.subTest(name):
                run, _ = self.train(name, *options, ranks=ranks)
                summary = json.loads((run / "summary.json").read_text())
                self.assertAlmostEqual(summary["test_accuracy"], self.file_accuracy(run), delta=1e-9)

    def test_other_kinds_of_run(self):
        for name, ranks, options in [
                ("qat", 2, ["quantization.mode=qat", "quantization.start_epoch=1", "quantization.samples=64", "precision.mode=bf16",
                            "compression.method=powersgd"]),
                ("pruned", 3, ["pruning.mode=channels", "pruning.start_epoch=1", "pruning.importance=taylor", "pruning.samples=64",
                               "precision.mode=fp16", "optimizer.name=lamb", "ema.enabled=true"])]:
            with self.subTest(name):
                run, _ = self.train(name, *options, ranks=ranks)
                self.assertTrue((run / "summary.json").exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
