"""A small network that ds_train trains in seconds, for tests of the programs that work on trained ones."""
import numpy as np
import onnxruntime

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
    """The first output of the ONNX file in ONNX Runtime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def logits(path):
    """run() of 32 images of the data's shape, the same each time."""
    return run(path, np.random.default_rng(1).standard_normal((32, 3, 16, 16)).astype(np.float32))
