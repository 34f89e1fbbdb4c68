"""A small network that ds_train trains in seconds, for tests of the programs that work on trained ones."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from exact_products import session  # noqa: E402

CONFIG = """
run: {name: small, epochs: 4, threads: 2}
model: {name: resnet8}
data: {type: synthetic, channels: 3, height: 16, width: 16, classes: 4, size: 1024, batch_size: 32, test_batch_size: 64}
optimizer: {learning_rate: 0.05}
precision: {mode: fp32}
checkpoint: {enabled: false}
log: {tensorboard: false}
"""


def run(path, images):
    """The first output of the ONNX file in ONNX Runtime, as the file says."""
    loaded = session(path)
    return loaded.run(None, {loaded.get_inputs()[0].name: images})[0]


def logits(path):
    """run() of 32 images of the data's shape, the same each time."""
    return run(path, np.random.default_rng(1).standard_normal((32, 3, 16, 16)).astype(np.float32))


class SmallNetworkCase(unittest.TestCase):
    """Tests that begin with that network: model.onnx and config.yaml of its run."""
    DS_TRAIN = PROGRAM = None   # PROGRAM: what is tested, on a model and data

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ds_program_test")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        (cls.folder / "small.yaml").write_text(CONFIG)
        cls.train("small")
        cls.run_folder = cls.folder / "small"
        cls.model, cls.config = cls.run_folder / "model.onnx", cls.run_folder / "config.yaml"

    @classmethod
    def train(cls, name, *overrides):
        subprocess.run([cls.DS_TRAIN, "--config", cls.folder / "small.yaml", f"run.output={cls.folder}", f"run.name={name}", *overrides],
                       check=True, stdout=subprocess.DEVNULL)
        return json.loads((cls.folder / name / "summary.json").read_text())

    def change(self, name, *options, model=None, data=None):
        """What the program did, and the file that it was to write."""
        output = self.folder / f"{name}.onnx"
        done = subprocess.run([self.PROGRAM, "--model", model or self.model, "--data", data or self.config, "--output", output,
                               "--samples", "256", *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return done, output
