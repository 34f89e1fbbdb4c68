"""Pruning while ds_train trains: real mpirun, real kills, files counted and run by ONNX Runtime.

    pruned_training_test.py DS_TRAIN MPIRUN
"""
import json
import sys
import unittest

import numpy as np
import onnx
import onnx.numpy_helper
from safetensors.numpy import load_file

from small_network import logits
from training_case import TrainingCase, small_config

CONFIG = small_config(5, 512, """checkpoint: {keep: 10}
pruning: {mode: channels, share: 0.4, start_epoch: 1, end_epoch: 3, samples: 128}""")
CHANCE = 0.25


def weights(path):
    return {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(path).graph.initializer}


def filters(tensors):
    """Outputs of all layers: resnet8's names for convolutions and the classifier."""
    return sum(w.shape[0] for name, w in tensors.items() if w.ndim == 4 or name == "fc.weight")


def largest_number_in_four(weight):
    """Of any four consecutive input channels (axis 1): how many weights are not 0."""
    return int((np.moveaxis(weight, 1, -1).reshape(-1, 4) != 0).sum(1).max())


class PrunedTraining(TrainingCase):
    CONFIG = CONFIG
    MPI_OPTIONS = (*TrainingCase.MPI_OPTIONS, *"--mca btl_vader_single_copy_mechanism none --mca mpi_yield_when_idle 1".split())

    def train(self, output, *arguments, ranks=2):
        run, _ = super().train(output, *arguments, ranks=ranks)
        return run, json.loads((run / "summary.json").read_text())

    def same_after_a_kill(self, epochs, *options):
        """A run that was killed after so many epochs and resumed against one that was not: every tensor and the model."""
        options = ("data.size=2048", *options)   # long enough to be caught
        whole, _ = self.train("whole", *options)
        killed = self.start_and_kill(lambda run: len(self.checkpoints(run)) >= epochs, *options)
        self.assertFalse((killed / "summary.json").exists(), "it was to be killed before it had finished")
        self.train("killed", *options, "--resume")
        self.assert_same_bits((whole, killed), "pruning.safetensors")

    def test_channels_leave_little_by_little_and_all_files_shrink(self):
        run, summary = self.train("channels", "pruning.importance=taylor", "quantization.mode=ptq", "quantization.exports=[w8a8, w4a8]",
                                  "quantization.samples=128")
        left = [filters(load_file(folder / "model.safetensors")) for folder in self.checkpoints(run)]
        self.assertEqual(left[0], filters(weights(run / "model.onnx")) - left[-1] + left[0])
        # After epochs 2, 3 and 4: s (1 - (1 - k/3)^3), and less than a group's granularity more.
        for step, count in enumerate(left[1:4], start=1):
            share = 0.4 * (1 - (1 - step / 3) ** 3)
            self.assertLessEqual(count, (1 - share) * left[0])
            self.assertGreater(count, (1 - share) * left[0] - 8)
        self.assertEqual(left[4], left[3])
        self.assertEqual((summary["pruning"], summary["best_epoch"] in (4, 5)), ("channels", True))
        self.assertAlmostEqual(summary["pruned_share"], 1 - left[4] / left[0])
        whole = load_file(self.checkpoints(run)[0] / "optimizer.safetensors")
        momenta = load_file(self.checkpoints(run)[-1] / "optimizer.safetensors")
        pruned = weights(run / "model.onnx")
        for name, momentum in momenta.items():
            if name != "step":
                self.assertEqual(momentum.shape, pruned[name.removeprefix("momentum/")].shape)
        self.assertLess(sum(m.size for m in momenta.values()), 0.7 * sum(m.size for m in whole.values()))
        self.assertEqual(summary["parameters"], sum(w.size for n, w in pruned.items() if w.dtype == np.float32 and "running" not in n))
        self.assertGreater(summary["test_accuracy"], CHANCE + 0.4)
        for export in summary["exports"]:
            self.assertGreater(export["accuracy"], summary["test_accuracy"] - 0.1)
            self.assertEqual(logits(run / export["file"]).shape, (32, 4))
            sizes = sorted(w.size for w in weights(run / export["file"]).values() if w.ndim == 4)
            self.assertEqual(sizes, sorted(w.size for w in pruned.values() if w.ndim == 4))

    def test_a_run_killed_between_two_prunings_resumes_to_the_same_bits(self):
        self.same_after_a_kill(2, "ema.enabled=true", "ema.decay=0.9", "pruning.importance=bn")

    def test_so_does_one_killed_before_the_first_with_compressed_gradients_and_adamw(self):
        self.same_after_a_kill(1, "optimizer.name=adamw", "optimizer.learning_rate=0.01", "compression.method=uniform",
                               "compression.minimum_size=100", "pruning.importance=taylor")

    def test_channels_leave_local_steps_and_bf16_too(self):
        run, summary = self.train("local", "sync.every=4", "sync.outer_momentum=0.5", "precision.mode=bf16", "pruning.measure=macs",
                                  "compression.method=uniform", "compression.minimum_size=100")
        self.assertGreaterEqual(summary["pruned_share"], 0.4)
        self.assertGreater(summary["test_accuracy"], CHANCE + 0.2)
        velocity = load_file(self.checkpoints(run)[-1] / "outer.safetensors")
        self.assertEqual(velocity["velocity/conv1.weight"].shape, weights(run / "model.onnx")["conv1.weight"].shape)

    def test_what_is_left_then_trains_with_the_rounding(self):
        run, summary = self.train("qat", "pruning.end_epoch=2", "quantization={mode: qat, start_epoch: 3, samples: 128}", ranks=1)
        pruned = weights(run / "model.onnx")
        self.assertGreaterEqual(summary["pruned_share"], 0.4)
        self.assertEqual(sorted(w.size for w in weights(run / "model-w4a4.onnx").values() if w.ndim == 4),
                         sorted(w.size for w in pruned.values() if w.ndim == 4))
        self.assertGreater(summary["exports"][0]["accuracy"], CHANCE + 0.2)

    TWO_FOUR = ("pruning.mode=2:4", "pruning.end_epoch=0")

    def test_two_of_four_weights_stay_zero_through_training_and_in_the_codes(self):
        run, summary = self.train("sparse", *self.TWO_FOUR, "ema.enabled=true", "ema.decay=0.9", "quantization.mode=ptq",
                                  "quantization.exports=[w8a8, w4a8]", "quantization.samples=128")
        before, after = (load_file(self.checkpoints(run)[i] / "model.safetensors") for i in (0, -1))
        fits = {name for name, w in after.items() if w.ndim in (2, 4) and w.shape[1] % 4 == 0}
        self.assertGreater(len(fits), 6)
        averages, model = load_file(self.checkpoints(run)[-1] / "ema.safetensors"), weights(run / "model.onnx")
        for name in fits:
            self.assertGreater(largest_number_in_four(before[name]), 2)
            for tensor in (after[name], averages["ema/" + name], model[name]):
                self.assertEqual(largest_number_in_four(tensor), 2, name)
            self.assertFalse(np.array_equal(before[name][after[name] != 0], after[name][after[name] != 0]), "it was to train on")
        zeros = load_file(self.checkpoints(run)[-1] / "pruning.safetensors")
        self.assertEqual({name.removeprefix("zeros/") for name in zeros}, fits)
        self.assertGreater(summary["test_accuracy"], CHANCE + 0.4)
        self.assertAlmostEqual(summary["pruned_share"], sum(z.sum() for z in zeros.values()) / summary["parameters"])
        for export in summary["exports"]:
            codes = [w.astype(np.int8) for w in weights(run / export["file"]).values() if w.ndim == 4 and w.shape[1] % 4 == 0]
            self.assertEqual(len(codes), sum(after[name].ndim == 4 for name in fits))
            for weight in codes:
                self.assertEqual(largest_number_in_four(weight), 2)
            self.assertGreater(export["accuracy"], summary["test_accuracy"] - 0.1)

    def test_two_of_four_survive_a_kill_to_the_same_bits(self):
        self.same_after_a_kill(2, *self.TWO_FOUR, "ema.enabled=true", "ema.decay=0.9")

    def test_settings_that_cannot_be_are_one_clear_error_before_anything_is_trained(self):
        cases = {"share": ["pruning.share=1"],
                 "can be removed": ["pruning.share=0.95"],
                 "end_epoch": ["pruning.start_epoch=3", "pruning.end_epoch=2"],
                 "leaves no epoch": ["pruning.end_epoch=5"],
                 "made at once": ["pruning.mode=2:4"],
                 "local steps": [*self.TWO_FOUR, "sync.every=4"],
                 "pruning.mode": ["pruning.mode=4:2"],
                 "qat": [*self.TWO_FOUR, "quantization.mode=qat", "quantization.start_epoch=2"],
                 "must be above": ["quantization.mode=qat", "quantization.start_epoch=3"],
                 "are for a": ["pruning.mode=none"],
                 "conv99": ["pruning.keep=[conv99]"],
                 "knows nothing": ["model.name=lenet", "pruning.importance=bn"]}
        self.assert_refused(cases)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
