"""`ds_federate demo` as people run it: real processes, certificates, TLS, secure sums; a model that ONNX Runtime runs as integers.

    demo_test.py FOLDER_OF_PROGRAMS
"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
    import onnxruntime
except ImportError as error:
    print(f"skipped: {error.name} is not installed (launch/setup.sh installs it)")
    sys.exit(77)

PROGRAMS = pathlib.Path(sys.argv[1])
KEYS = {"test_accuracy", "rounds", "round_seconds", "upload_bytes_per_parameter", "download_bytes_per_parameter",
        "aggregator_peak_rss_mib", "secure", "bits"}
MEAN, STDDEV = 0.2860, 0.3530   # of the demonstration's task


def write_idx(folder, name, count, random, patterns):
    """Ten classes of 28 x 28, each a pattern under noise, in MNIST's format."""
    labels = random.integers(0, 10, count).astype(np.uint8)
    noise = random.integers(0, 256, (count, 28, 28))
    images = ((patterns[labels] + noise) // 2).astype(np.uint8)
    (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, count, 28, 28) + images.tobytes())
    (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels.tobytes())
    return images, labels


class Demo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="ds_demo_test")
        cls.folder = pathlib.Path(cls.temporary.name)
        data = cls.folder / "data"
        data.mkdir()
        random = np.random.default_rng(7)
        patterns = np.kron(random.integers(0, 256, (10, 4, 4)), np.ones((7, 7), int))
        write_idx(data, "train", 900, random, patterns)
        cls.images, cls.labels = write_idx(data, "t10k", 300, random, patterns)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def demo(self, name, *options):
        output = self.folder / name
        done = subprocess.run([PROGRAMS / "ds_federate", "demo", "--output", output, "--data", self.folder / "data", "--sites", "3", "--rounds", "4",
                               *options, "data.batch_size=8", "federated.local_epochs=2"], capture_output=True, text=True, timeout=200)
        logs = "".join(path.read_text() for path in sorted(output.glob("*.log")))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + logs)
        return output, json.loads((output / "summary.json").read_text()), done.stdout

    def test_a_secure_demonstration_ends_with_the_model_of_an_open_one_and_int8(self):
        secure, summary, text = self.demo("secure", "--secure")
        self.assertEqual(set(summary), KEYS)
        self.assertEqual((summary["rounds"], summary["secure"], summary["bits"]), (4, True, 4))
        self.assertEqual(len(summary["round_seconds"]), 4)
        # Four bits and two for three sites, and a little of statistics and metrics.
        self.assertTrue(0.75 <= summary["upload_bytes_per_parameter"] < 0.80, summary)
        self.assertLess(summary["aggregator_peak_rss_mib"], 144)
        self.assertGreater(summary["test_accuracy"], 0.8)
        self.assertIn("secure aggregation", text)

        # Masks came off to the last bit: the same model as without any.
        opened, plain, _ = self.demo("open")
        self.assertFalse(plain["secure"])
        self.assertTrue(0.50 <= plain["upload_bytes_per_parameter"] < 0.55, plain)
        for name in ("model.safetensors", "model.onnx"):
            self.assertEqual((secure / "run" / name).read_bytes(), (opened / "run" / name).read_bytes(), name)

        full = json.loads((secure / "run" / "summary.json").read_text())
        inputs = ((self.images[:, None].astype(np.float32) / 255 - MEAN) / STDDEV).astype(np.float32)
        for entry in full["exports"] + [{"file": "model.onnx", "accuracy": summary["test_accuracy"]}]:
            session = onnxruntime.InferenceSession(str(secure / "run" / entry["file"]), providers=["CPUExecutionProvider"])
            hits = session.run(None, {session.get_inputs()[0].name: inputs})[0].argmax(1) == self.labels
            self.assertAlmostEqual(hits.mean(), entry["accuracy"], delta=0.01, msg=entry["file"])
            self.assertGreater(hits.mean(), summary["test_accuracy"] - 0.05, entry["file"])
        self.assertIn("model-w8a8.onnx", [entry["file"] for entry in full["exports"]])

        left = [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if self.holds(path, os.fsencode(self.folder))]
        self.assertEqual(left, [], "processes of the demonstration go on")

    @staticmethod
    def holds(path, text):
        try:
            return text in path.read_bytes()
        except OSError:
            return False   # it has ended

    def test_a_strategy_that_does_not_fit_is_refused_with_the_reason_and_nothing_goes_on(self):
        done = subprocess.run([PROGRAMS / "ds_federate", "demo", "--output", self.folder / "krum", "--data", self.folder / "data", "--sites", "5",
                               "--strategy", "krum", "--secure"], capture_output=True, text=True, timeout=100)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("krum", done.stderr)
        self.assertIn("secure", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
