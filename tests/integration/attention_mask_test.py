"""Attention with each way to mask that exporters write, through ds_quantize: the scores keep their precision, and infinities are no bad data unless they
reach an output.

    attention_mask_test.py DS_QUANTIZE
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from case_report import Report  # noqa: E402
from exact_products import session  # noqa: E402

WIDTH, HEADS, LENGTH, SAMPLES, SEED = 64, 4, 12, 64, 20261128
LEAST_SNR = 24.0  # dB; without a mask 27, and 6 where the scores shared codes with a mask of -10000
LEAST = float(np.finfo(np.float32).min)


class Net:
    """Two layers of attention; `mask` adds the nodes that turn scores into masked scores."""

    def __init__(self, mask):
        self.nodes, self.constants, self.rng = [], [], np.random.default_rng(SEED)
        keep = self.node("Cast", ["mask"], "keep", to=TensorProto.BOOL)
        x = "x"
        for layer in range(2):
            x = self.attention(f"layers.{layer}.", x, lambda name, scores: mask(self, name, keep, scores))
        self.node("MatMul", [x, self.weight("head", WIDTH, 10)], "logits")

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weight(self, name, rows, columns):
        return self.constant(name + ".weight", (self.rng.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32))

    def node(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def attention(self, at, x, mask):
        heads = {}
        for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            y = self.node("MatMul", [x, self.weight(at + part, WIDTH, WIDTH)], at + part)
            shape = self.constant(at + part + ".shape", np.int64([0, 0, HEADS, WIDTH // HEADS]))
            heads[part] = self.node("Transpose", [self.node("Reshape", [y, shape], at + part + ".split")], at + part + ".heads", perm=order)
        scores = self.node("MatMul", [heads["q"], heads["k"]], at + "scores")
        scores = self.node("Mul", [scores, self.constant(at + "scale", np.float32(.25))], at + "scaled")
        weights = self.node("Softmax", [mask(at, scores)], at + "weights", axis=-1)
        y = self.node("Transpose", [self.node("MatMul", [weights, heads["v"]], at + "mixed")], at + "mixed.back", perm=[0, 2, 1, 3])
        y = self.node("Reshape", [y, self.constant(at + "shape", np.int64([0, 0, WIDTH]))], at + "mixed.joined")
        y = self.node("Add", [x, self.node("MatMul", [y, self.weight(at + "out", WIDTH, WIDTH)], at + "out")], at + "sum")
        z = self.node("Relu", [self.node("MatMul", [y, self.weight(at + "up", WIDTH, 128)], at + "up")], at + "relu")
        return self.node("Add", [y, self.node("MatMul", [z, self.weight(at + "down", 128, WIDTH)], at + "down")], at + "result")

    def save(self, path):
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", LENGTH, WIDTH]),
                  helper.make_tensor_value_info("mask", TensorProto.INT64, ["batch", 1, 1, LENGTH])]
        outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", LENGTH, 10])]
        graph = helper.make_graph(self.nodes, "attention", inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def chosen(value):
    return lambda net, at, keep, scores: net.node("Where", [keep, scores, net.constant(at + "no", np.float32(value))], at + "masked")


def added_choice(value):
    def mask(net, at, keep, scores):
        what = net.node("Where", [keep, net.constant(at + "yes", np.float32(0)), net.constant(at + "no", np.float32(value))], at + "mask")
        return net.node("Add", [scores, what], at + "masked")
    return mask


def added_product(value):
    """BERT's: (1 - mask) times a number."""
    def mask(net, at, keep, scores):
        no = net.node("Sub", [net.constant(at + "one", np.float32(1)), net.node("Cast", [keep], at + "yes", to=TensorProto.FLOAT)], at + "no")
        return net.node("Add", [scores, net.node("Mul", [no, net.constant(at + "much", np.float32(value))], at + "mask")], at + "masked")
    return mask


MASKS = {
    "-Inf chosen": chosen(-np.inf), "the least float chosen": chosen(LEAST),
    "-Inf added": added_choice(-np.inf), "the least float added": added_choice(LEAST), "-1e9 added": added_choice(-1e9),
    "-10000 times a mask added": added_product(-10000.0), "the least float times a mask added": added_product(LEAST),
}


def samples(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, LENGTH + 1, SAMPLES)
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int64)[:, None, None]
    return {"x": rng.standard_normal((SAMPLES, LENGTH, WIDTH)).astype(np.float32), "mask": mask}


def quantize(program, folder, source, target):
    (folder / "data").mkdir(exist_ok=True)
    for name, values in samples(1).items():
        np.save(folder / "data" / f"{name}.npy", values)
    (folder / "data.yaml").write_text("data: {type: tensors, path: data}\n")
    return subprocess.run([program, "--model", source, "--data", "data.yaml", "--output", target, "--samples", str(SAMPLES)], cwd=folder,
                          capture_output=True, text=True, check=False)


def run(path):
    return session(path).run(None, samples(2))[0].astype(np.float64)


def keeps_scores(program, folder, mask):
    Net(mask).save(folder / "float.onnx")
    done = quantize(program, folder, "float.onnx", "integers.onnx")
    assert done.returncode == 0, done.stderr
    expected = run(folder / "float.onnx")
    noise = np.square(run(folder / "integers.onnx") - expected).sum()
    snr = 10 * np.log10(np.square(expected).sum() / noise)
    assert snr >= LEAST_SNR, f"{snr:.1f} dB"
    return f"{snr:.1f} dB"


def refuses_an_overflow(program, folder):
    """What overflows and reaches the output is bad data or a bad weight."""
    net = Net(chosen(-np.inf))
    net.constants = [numpy_helper.from_array(numpy_helper.to_array(c) * np.float32(3e38 if c.name == "layers.1.up.weight" else 1), c.name)
                     if c.name.endswith("weight") else c for c in net.constants]
    net.save(folder / "overflow.onnx")
    done = quantize(program, folder, "overflow.onnx", "overflow.q.onnx")
    assert done.returncode == 1 and "'layers.1.up'" in done.stderr and "not finite" in done.stderr, done.stderr
    assert not (folder / "overflow.q.onnx").exists()


def main():
    onnxruntime.set_default_logger_severity(3)
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for name, mask in MASKS.items():
            report.case(name, lambda mask=mask: keeps_scores(sys.argv[1], folder, mask))
        report.case("an overflow", lambda: refuses_an_overflow(sys.argv[1], folder))
    report.finish(len(MASKS) + 1)


if __name__ == "__main__":
    main()
