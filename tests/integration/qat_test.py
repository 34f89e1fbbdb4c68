"""Quantisation-aware training and calibrated exports by ds_train: real mpirun, real kills, ONNX Runtime as the judge.

    qat_test.py DS_TRAIN MPIRUN
"""
import json
import sys
import unittest

import numpy as np

from small_network import logits
from training_case import TrainingCase, small_config

CONFIG = small_config(6, 768, "quantization: {mode: qat, bits: 4, activation_bits: 4, samples: 128, start_epoch: 4}")
CHANCE = 0.25
STEPS = 24   # an epoch, on two ranks


class Qat(TrainingCase):
    CONFIG = CONFIG

    def train(self, output, *arguments, ranks=1):
        run, _ = super().train(output, *arguments, ranks=ranks)
        return run, json.loads((run / "summary.json").read_text())

    def test_it_goes_together_with_bf16_compressed_gradients_averages_and_distillation(self):
        run, summary = self.train("all", "precision.mode=bf16", "compression.method=uniform", "compression.minimum_size=100",
                                  "ema.enabled=true", "ema.decay=0.9", "quantization.distillation=0.5", ranks=2)
        self.assertEqual(summary["precision"], "bf16")
        self.assertGreater(summary["exports"][0]["accuracy"], CHANCE + 0.2)
        self.assertTrue(np.isfinite(logits(run / "model-w4a4.onnx")).all())

    def test_fewer_bits_in_stages_end_at_the_last_ones(self):
        run, summary = self.train("stages", "quantization.bits=2", "quantization.activation_bits=2", "quantization.stage_bits=[4, 3]",
                                  "quantization.stage_epochs=[2, 4]", "quantization.start_epoch=1")
        self.assertEqual([e["file"] for e in summary["exports"]], ["model-w2a2.onnx"])
        self.assertGreaterEqual(summary["best_epoch"], 5, "epochs of other widths must not count")
        self.assertGreater(summary["exports"][0]["accuracy"], CHANCE + 0.1)

    def killed_and_resumed(self, epochs, *options):
        """The folder and summary of a run that never stopped; one that was killed after so many epochs has its bits."""
        whole, summary = self.train("whole", *options, ranks=2)
        killed = self.start_and_kill(lambda run: any(int(c.name.removeprefix("step-")) >= epochs * STEPS for c in self.checkpoints(run)), *options)
        self.train("killed", *options, "--resume", ranks=2)
        for name in ("model", "optimizer", "float"):
            self.assertEqual(self.digest(self.newest(whole) / f"{name}.safetensors"), self.digest(self.newest(killed) / f"{name}.safetensors"), name)
        self.assertEqual(self.digest(whole / "model-w4a4.onnx"), self.digest(killed / "model-w4a4.onnx"))
        return whole, summary

    def test_a_run_killed_while_it_trains_with_the_rounding_resumes_to_the_same_bits(self):
        self.killed_and_resumed(3, "quantization.start_epoch=1", "quantization.distillation=0.5")

    def test_two_ranks_train_to_an_integer_file_that_onnx_runtime_runs_killed_before_the_rounding_or_not(self):
        run, summary = self.killed_and_resumed(1)
        self.assertEqual(summary["quantization"], "qat")
        export, = summary["exports"]
        self.assertEqual(export["file"], "model-w4a4.onnx")
        self.assertEqual(export["bytes"], (run / export["file"]).stat().st_size)
        self.assertLess(export["bytes"], 0.4 * (run / "model.onnx").stat().st_size)
        self.assertGreater(summary["float_accuracy"], 0.8)
        self.assertGreater(export["accuracy"], summary["float_accuracy"] - 0.15)
        # fp32: the module that trained and the file agree, but for a rounding at a tie.
        self.assertAlmostEqual(export["accuracy"], summary["test_accuracy"], delta=0.01)
        self.assertEqual(logits(run / "model-w4a4.onnx").shape, (32, 4))

    def test_calibrated_exports_are_written_as_the_config_asks_and_a_fine_tuning_starts_from_a_file_and_keeps_it(self):
        (self.folder / "c.yaml").write_text(CONFIG.replace("mode: qat", "mode: ptq").replace(", start_epoch: 4", ""))
        base, summary = self.train("ptq", "quantization.exports=[w8a8, w4a8]", ranks=2)
        self.assertEqual([e["file"] for e in summary["exports"]], ["model-w8a8.onnx", "model-w4a8.onnx"])
        self.assertAlmostEqual(summary["exports"][0]["accuracy"], summary["float_accuracy"], delta=0.02)
        error = np.square(logits(base / "model-w8a8.onnx") - logits(base / "model.onnx")).sum()
        self.assertLess(error, 0.02 * np.square(logits(base / "model.onnx")).sum())
        (self.folder / "c.yaml").write_text(CONFIG.replace("name: resnet8", f"onnx: {base / 'model.onnx'}").replace("start_epoch: 4", "start_epoch: 0"))
        run, summary = self.train("tuned", "run.epochs=1", "optimizer.learning_rate=0.005")
        self.assertGreater(summary["exports"][0]["accuracy"], summary["float_accuracy"] - 0.15)
        np.testing.assert_allclose(logits(run / "model.onnx"), logits(base / "model.onnx"), rtol=1e-4, atol=1e-4)

    def test_settings_that_contradict_each_other_are_one_clear_error(self):
        cases = {"start_epoch": ["quantization.start_epoch=6"],
                 "exports": ["quantization.exports=[w4a4]"],
                 "w9a1": ["quantization.mode=ptq", "quantization.start_epoch=0", "quantization.exports=[w9a1]"],
                 "stage_epochs": ["quantization.stage_bits=[6]"],
                 "must rise": ["quantization.stage_bits=[6, 5]", "quantization.stage_epochs=[5, 5]"],
                 "must fall": ["quantization.stage_bits=[4]", "quantization.stage_epochs=[5]"],
                 "mode: qat": ["quantization.mode=none"],
                 "quantization.bits": ["quantization.bits=9"]}
        self.assert_refused(cases)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
