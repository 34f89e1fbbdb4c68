"""An epoch of fine-tuning a small network of inverted residuals, as MobileNetV3 has them, with live batch norms on two ranks.

    batch_norm_finetune_test.py DS_TRAIN MPIRUN
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper

import task_models

DS_TRAIN, MPIRUN = sys.argv[1:3]
from training_case import ENVIRONMENT  # noqa: E402

SAMPLES, TEST, SIDE, CLASSES, MOMENTUM = 256, 64, 12, 3, 0.9


class Network(task_models.Model):
    def norm(self, x, name, channels):
        """Statistics and affine that are not those of a beginning."""
        ones = self.random.uniform(0.8, 1.2, (2, channels)).astype(np.float32)
        zeros = self.random.normal(0, 0.1, (2, channels)).astype(np.float32)
        names = [self.constant(value, f"{name}.{part}") for part, value in
                 zip(("weight", "bias", "running_mean", "running_var"), (ones[0], zeros[0], zeros[1], ones[1]))]
        return self.op("BatchNormalization", x, *names, momentum=MOMENTUM, epsilon=1e-5)

    def plain(self, x, name, inputs, outputs, kernel=1, **attributes):
        weight = self.weight(f"{name}.weight", outputs, inputs // attributes.get("group", 1), kernel, kernel)
        return self.op("Conv", x, weight, pads=[kernel // 2] * 4, **attributes)

    def block(self, x, name, channels, wide):
        h = self.op("HardSwish", self.norm(self.plain(x, f"{name}.expand", channels, wide), f"{name}.bn1", wide))
        h = self.op("HardSwish", self.norm(self.plain(h, f"{name}.depth", wide, wide, 3, group=wide), f"{name}.bn2", wide))
        gate = self.op("Relu", self.conv(self.op("GlobalAveragePool", h), f"{name}.reduce", wide, 4, 1))
        gate = self.op("HardSigmoid", self.conv(gate, f"{name}.excite", 4, wide, 1), alpha=1 / 6)
        h = self.norm(self.plain(self.op("Mul", h, gate), f"{name}.project", wide, channels), f"{name}.bn3", channels)
        return self.op("Add", x, h)


def network(path):
    model = Network(3)
    x = model.op("HardSwish", model.norm(model.plain("image", "stem", 3, 8, 3, strides=[2, 2]), "stem.bn", 8))
    for name in ("first", "second"):
        x = model.block(x, name, 8, 16)
    x = model.op("Flatten", model.op("GlobalAveragePool", x))
    model.save(path, [("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])], model.linear(x, "head", 8, CLASSES), ["batch", CLASSES])


def pictures():
    """Stripes across, stripes down, or none, under noise."""
    random = np.random.default_rng(5)
    labels = random.integers(0, CLASSES, SAMPLES + TEST)
    stripes = np.tile(np.where(np.arange(SIDE) % 4 < 2, 1, -1), (SIDE, 1))
    kinds = np.stack([stripes, stripes.T, np.zeros_like(stripes)])
    images = kinds[labels][:, None] + random.normal(0, 0.7, (len(labels), 3, SIDE, SIDE))
    return {"image": images.astype(np.float32), "labels": labels}


def initializers(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer}


class FineTuning(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ds_batch_norm_finetune_test")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        network(self.folder / "network.onnx")
        self.data = pictures()
        task_models.save_splits(self.folder / "data", self.data, TEST)

    def train(self, batch, rate):
        """One epoch on two ranks, whose replicas are compared: the run's folder."""
        (self.folder / "c.yaml").write_text(f"""
run: {{name: c, epochs: 1, threads: 1, verify_replicas: true, output: {self.folder}/runs}}
model: {{onnx: {self.folder}/network.onnx}}
data: {{type: tensors, path: {self.folder}/data, batch_size: {batch}, test_batch_size: 64}}
optimizer: {{name: adamw, learning_rate: {rate}}}
schedule: {{name: constant}}
precision: {{mode: fp32}}
""")
        command = [MPIRUN, "--oversubscribe", "--bind-to", "none", "-np", "2", DS_TRAIN, "--config", self.folder / "c.yaml"]
        done = subprocess.run([str(word) for word in command], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return self.folder / "runs" / "c"

    def test_statistics_of_both_ranks_are_averaged(self):
        """A step that sees all samples, half of them on each rank: the first norm's mean is that over all, whoever had which."""
        after = initializers(self.train(SAMPLES // 2, 1e-3) / "model.onnx")
        before = initializers(self.folder / "network.onnx")
        model = onnx.load(str(self.folder / "network.onnx"))
        (stem,) = [node.output[0] for node in model.graph.node if "stem.weight" in node.input]
        model.graph.output.append(onnx.helper.make_tensor_value_info(stem, TensorProto.FLOAT, None))
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        seen = session.run([stem], {"image": self.data["image"][:SAMPLES]})[0].mean((0, 2, 3))
        wanted = MOMENTUM * before["stem.bn.running_mean"] + (1 - MOMENTUM) * seen
        np.testing.assert_allclose(after["stem.bn.running_mean"], wanted, atol=1e-5)
        for name in before:
            self.assertFalse(np.array_equal(before[name], after[name]), f"{name} is as it was")

    def test_an_epoch_learns(self):
        run = self.train(8, 0.01)
        summary = json.loads((run / "summary.json").read_text())
        images, labels = (self.data[name][SAMPLES:] for name in ("image", "labels"))
        shares = {}
        for name, path in (("before", self.folder / "network.onnx"), ("after", run / "model.onnx")):
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            shares[name] = float((session.run(None, {"image": images})[0].argmax(1) == labels).mean())
        print(f"accuracy {shares}")
        self.assertLess(shares["before"], 0.6)
        self.assertGreater(shares["after"], 0.9)
        self.assertAlmostEqual(shares["after"], summary["test_accuracy"], delta=0.02)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
