"""Small networks and data for the tasks of configs/task_*.yaml, each learnable in seconds."""
import csv

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Model:
    """Nodes in order; weights are drawn with the shapes given."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights, self.count = [], [], 0

    def constant(self, array, name=None):
        self.count += 1
        name = name or f"constant{self.count}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, name, *shape, size=None):
        scale = size or 1 / np.sqrt(np.prod(shape[1:]))
        return self.constant((self.random.standard_normal(shape) * scale).astype(np.float32), name)

    def op(self, kind, *inputs, **attributes):
        self.count += 1
        output = f"{kind.lower()}{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"node_{output}", **attributes))
        return output

    def linear(self, x, name, inputs, outputs):
        return self.op("Gemm", x, self.weight(f"{name}.weight", outputs, inputs),
                       self.constant(np.zeros(outputs, np.float32), f"{name}.bias"), transB=1)

    def conv(self, x, name, inputs, outputs, kernel):
        return self.op("Conv", x, self.weight(f"{name}.weight", outputs, inputs, kernel, kernel),
                       self.constant(np.zeros(outputs, np.float32), f"{name}.bias"), pads=[kernel // 2] * 4)

    def save(self, path, inputs, output, shape):
        self.nodes.append(helper.make_node("Identity", [output], ["output"]))
        graph = helper.make_graph(self.nodes, "task", [helper.make_tensor_value_info(*one) for one in inputs],
                                  [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(path))


def save_splits(folder, arrays, test=64):
    """The last `test` rows are the test split."""
    for split, rows in (("train", slice(None, -test)), ("test", slice(-test, None))):
        (folder / split).mkdir(parents=True)
        for name, values in arrays.items():
            np.save(folder / split / f"{name}.npy", np.ascontiguousarray(values[rows]))


def text(folder, tokens=40, length=12, width=16):
    """Is there more of the lower half of the words than of the upper? Words behind the mask are noise."""
    random = np.random.default_rng(1)
    ids = random.integers(0, tokens, (448, length))
    lengths = random.integers(4, length + 1, len(ids))
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    low = (ids < tokens // 2) * mask
    labels = (2 * low.sum(1) > lengths).astype(np.int64)
    save_splits(folder / "data", {"input_ids": ids, "attention_mask": mask, "labels": labels})
    model = Model(2)
    x = model.op("Gather", model.weight("embedding", tokens, width, size=0.3), "input_ids")
    m = model.op("Unsqueeze", model.op("Cast", "attention_mask", to=TensorProto.FLOAT), model.constant(np.array([2])))
    total = model.op("ReduceSum", model.op("Mul", x, m), model.constant(np.array([1])), keepdims=0)
    mean = model.op("Div", total, model.op("ReduceSum", m, model.constant(np.array([1])), keepdims=0))
    hidden = model.op("Relu", model.linear(mean, "hidden", width, 16))
    ints = [(name, TensorProto.INT64, ["batch", "length"]) for name in ("input_ids", "attention_mask")]
    model.save(folder / "model.onnx", ints, model.linear(hidden, "head", 16, 2), ["batch", 2])


def segmentation(folder, side=12):
    """Dark, middle and bright pixels of noisy pictures; a border of 255."""
    random = np.random.default_rng(3)
    labels = random.choice(3, (288, side // 3, side // 3), p=(0.5, 0.4, 0.1)).repeat(3, 1).repeat(3, 2)
    image = (labels[:, None] - 1 + 0.4 * random.standard_normal((len(labels), 2, side, side))).astype(np.float32)
    labels = labels.astype(np.int64)
    labels[:, 0], labels[:, :, 0] = 255, 255
    save_splits(folder / "data", {"image": image, "labels": labels})
    model = Model(4)
    x = model.op("Relu", model.conv("image", "first", 2, 8, 3))
    model.save(folder / "model.onnx", [("image", TensorProto.FLOAT, ["batch", 2, side, side])],
               model.conv(x, "head", 8, 3, 1), ["batch", 3, side, side])


def regression(folder):
    """A price from an area, an age and a distance, of very different sizes."""
    random = np.random.default_rng(5)
    area, age, distance = random.uniform(20, 200, 400), random.uniform(0, 90, 400), random.uniform(0, 3e4, 400)
    price = 0.03 * area - 0.02 * age - distance / 2e4 + 0.05 * random.standard_normal(400)
    with open(folder / "data.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["area", "age", "distance", "price"])
        rows.writerows(np.round(np.stack([area, age, distance, price], 1), 4).tolist())
    model = Model(6)
    x = model.op("Relu", model.linear("features", "hidden", 3, 16))
    model.save(folder / "model.onnx", [("features", TensorProto.FLOAT, ["batch", 3])], model.linear(x, "head", 16, 1),
               ["batch", 1])


def labels(folder):
    """Three labels, each of its own direction; the second is rare."""
    random = np.random.default_rng(7)
    features = random.standard_normal((448, 8)).astype(np.float32)
    directions = random.standard_normal((8, 3))
    wanted = (features @ directions > np.array([0, 1.5, 0])).astype(np.float32)
    save_splits(folder / "data", {"features": features, "labels": wanted})
    model = Model(8)
    x = model.op("Relu", model.linear("features", "hidden", 8, 16))
    model.save(folder / "model.onnx", [("features", TensorProto.FLOAT, ["batch", 8])], model.linear(x, "head", 16, 3),
               ["batch", 3])


def classes(folder, last=None):
    """One class of three; the model ends in `last`."""
    random = np.random.default_rng(9)
    features = random.standard_normal((448, 8)).astype(np.float32)
    wanted = (features @ random.standard_normal((8, 3))).argmax(1)
    save_splits(folder / "data", {"features": features, "labels": wanted.astype(np.int64)})
    model = Model(10)
    x = model.linear(model.op("Relu", model.linear("features", "hidden", 8, 16)), "head", 16, 3)
    if last:
        x = model.op(last, x, axis=1)
    model.save(folder / "model.onnx", [("features", TensorProto.FLOAT, ["batch", 8])], x, ["batch", 3])


def two_layouts(path, width=16):
    """One weight that is read with transB 1 and 0, as tied embeddings are; columns of unlike sizes."""
    model = Model(11)
    random = np.random.default_rng(12)
    weight = random.standard_normal((width, width)) * np.exp(random.uniform(-1, 1, (width, 1)))
    shared = model.constant((weight / width).astype(np.float32), "shared")
    x = model.op("Relu", model.op("Gemm", "x", shared, transB=1))
    model.save(path, [("x", TensorProto.FLOAT, ["batch", width])], model.op("Gemm", x, shared), ["batch", width])
