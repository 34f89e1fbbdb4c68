"""Fine-tuning from the command line: a MobileNetV3-Small that PyTorch exported to ONNX, on Fashion-MNIST.

    mobilenet_finetune_test.py SOURCE_DIR DS_TRAIN MPIRUN
"""
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx
import onnx.numpy_helper
from safetensors.numpy import load_file

try:
    import torch
except ImportError:
    print("skipped: torch is not installed")
    sys.exit(77)

import mobilenet_v3

SOURCE, DS_TRAIN, MPIRUN = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if not any(pathlib.Path(folder).exists() for folder in (SOURCE / "data/fashion-mnist", "/usr/share/datasets/fashion-mnist")):
    print("skipped: Fashion-MNIST is not there (apt-get install dataset-fashion-mnist)")
    sys.exit(77)

SEED, OLD_CLASSES, CLASSES = 20260212, 100, 10
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_NUM_THREADS="1")


def export(path, channels, classes, training=False, **extra):
    """Returns PyTorch's tensors by name."""
    torch.manual_seed(SEED)
    network = mobilenet_v3.MobileNetV3Small(channels, classes, momentum=0.1)  # a short run
    with torch.no_grad():
        network(torch.randn(16, channels, 28, 28))  # running statistics that are not 0 and 1
    network.train(training)
    mobilenet_v3.export(path, network, channels, **extra)
    return {name: tensor.detach().numpy().copy() for name, tensor in network.state_dict().items()}


def initializers(path):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer}


def count(path, op):
    return sum(node.op_type == op for node in onnx.load(str(path)).graph.node)


class FineTuning(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="finetune_test")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = self.folder / "mobilenet.onnx"

    def run_train(self, *arguments, ranks=1):
        launcher = [MPIRUN, "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
        return subprocess.run([*launcher, DS_TRAIN, "--config", str(SOURCE / "configs/fashion_mnist_mobilenet_v3_small.yaml"),
                               "model.name=", f"model.onnx={self.model}", f"run.output={self.folder}", "run.name=run", "run.threads=1",
                               "ema.enabled=false", "checkpoint.enabled=false", "precision.mode=fp32", *arguments],
                              env=ENVIRONMENT, cwd=SOURCE, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200)

    def train(self, *arguments, ranks=1):
        done = self.run_train(*arguments, ranks=ranks)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return self.folder / "run"

    def test_learns_and_runs_in_onnx_runtime(self):
        before = export(self.model, 1, OLD_CLASSES, dynamic_axes={"x": {0: "batch"}})
        run = self.train(f"model.classes={CLASSES}", "run.epochs=2", "data.train_limit=9600", "data.batch_size=32",
                         "data.test_limit=2000", "data.augment.crop=0", "optimizer.learning_rate=0.05", "log.every_steps=20", ranks=2)
        summary = json.loads((run / "summary.json").read_text())
        with open(run / "metrics.csv", newline="") as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file) if row["split"] == "train"]
        print(f"accuracy {summary['test_accuracy']:.4f}, loss {losses[0]:.3f} to {losses[-1]:.3f}", file=sys.stderr)
        self.assertLess(losses[-1], losses[0] / 2)
        self.assertGreater(summary["test_accuracy"], 0.75, "chance is 0.1")

        # The accuracy is the exported network's, in ONNX Runtime.
        checked = subprocess.run([sys.executable, str(SOURCE / "launch/check_onnx.py"), str(run)], cwd=SOURCE, capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        self.assertIn("on 2000 test images", checked.stdout)

        # A head of ten classes, the rest of the same shape but other values; every batch norm still there, and trained.
        after = initializers(run / "model.onnx")
        self.assertEqual(after["classifier.3.weight"].shape, (CLASSES, before["classifier.3.weight"].shape[1]))
        self.assertEqual(after["classifier.3.bias"].shape, (CLASSES,))
        self.assertEqual(count(run / "model.onnx", "BatchNormalization"), mobilenet_v3.BATCH_NORMS)
        kept = [name for name in before if not name.startswith("classifier.3") and not name.endswith("num_batches_tracked")]
        self.assertEqual(sum(name.endswith("running_var") for name in kept), mobilenet_v3.BATCH_NORMS)
        for name in kept:
            self.assertEqual(after[name].shape, before[name].shape, name)
            self.assertTrue(np.isfinite(after[name]).all(), name)
            self.assertFalse(np.array_equal(after[name], before[name]), f"{name} was not trained")

    def test_starts_from_the_weights_of_the_file(self):
        before = export(self.model, 1, OLD_CLASSES)  # with a fixed batch of 2 at that
        run = self.train(f"model.classes={CLASSES}", "run.epochs=1", "data.train_limit=64", "data.test_limit=64",
                         "optimizer.learning_rate=1e-30")
        after = load_file(run / "model.safetensors")
        for name in before:
            if name.startswith("classifier.3") or "running" in name or name.endswith("num_batches_tracked"):
                continue
            np.testing.assert_allclose(after[name], before[name], rtol=0, atol=1e-20, err_msg=name)

    def test_a_head_of_the_right_size_stays(self):
        before = export(self.model, 1, CLASSES, training=True, dynamic_axes={"x": {0: "batch"}})  # Dropout stands in this file
        run = self.train("run.epochs=1", "data.train_limit=64", "data.test_limit=64", "optimizer.learning_rate=1e-30")
        after = load_file(run / "model.safetensors")
        np.testing.assert_allclose(after["classifier.3.weight"], before["classifier.3.weight"], rtol=0, atol=1e-20)
        self.assertEqual(count(run / "model.onnx", "BatchNormalization"), mobilenet_v3.BATCH_NORMS)

    def test_what_does_not_fit_is_one_clear_error(self):
        export(self.model, 3, OLD_CLASSES, dynamic_axes={"x": {0: "batch"}})
        cases = [([], ["'x'", "3", "28"]),  # colour against grey
                 (["model.classes=5"], ["model.classes is 5", "10"])]
        for arguments, fragments in cases:
            with self.subTest(arguments):
                if arguments:
                    export(self.model, 1, OLD_CLASSES, dynamic_axes={"x": {0: "batch"}})
                done = self.run_train(*arguments)
                self.assertNotEqual(done.returncode, 0)
                self.assertEqual(done.stderr.count("ds_train: "), 1, done.stderr)
                for fragment in fragments:
                    self.assertIn(fragment, done.stderr)
                self.assertFalse((self.folder / "run").exists(), "nothing was to be written")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
