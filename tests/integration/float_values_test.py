"""Networks for which 8 bits everywhere are too few, or whose inputs are no rows of a batch, through ds_quantize; ONNX Runtime is the judge.

    float_values_test.py DS_QUANTIZE
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from exact_products import session  # noqa: E402

DS_QUANTIZE = sys.argv.pop(1)
SAMPLES, SEED = 16, 14


def model_of(nodes, inputs, outputs, weights, path):
    value = lambda name, shape, kind=TensorProto.FLOAT: helper.make_tensor_value_info(name, kind, shape)  # noqa: E731
    graph = helper.make_graph([helper.make_node(op, args, [out], **attributes) for op, args, out, attributes in nodes], "g",
                              [value(*spec) for spec in inputs], [value(*spec) for spec in outputs],
                              [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def spectrum(path, rng):
    """Bands of a spectrum's power, their logarithm, three layers: most of a logarithm's range lies in powers that 8 bits round to nothing."""
    t, f = np.arange(64), np.arange(1, 25)
    window = np.hanning(64)
    normal = lambda *shape: (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)  # noqa: E731
    weights = {"cos": (window * np.cos(np.pi * f[:, None] * t / 32))[:, None].astype(np.float32),
               "sin": (window * np.sin(np.pi * f[:, None] * t / 32))[:, None].astype(np.float32),
               "bands": np.abs(normal(12, 24, 1)), "floor": np.float32(1e-8), "w1": normal(16, 12, 3), "w2": normal(16, 16, 3), "w3": normal(8, 16, 1)}
    nodes = [("Conv", ["x", "cos"], "c", dict(strides=[16])), ("Conv", ["x", "sin"], "s", dict(strides=[16])), ("Mul", ["c", "c"], "cc", {}),
             ("Mul", ["s", "s"], "ss", {}), ("Add", ["cc", "ss"], "power", {}), ("Conv", ["power", "bands"], "banded", {}),
             ("Add", ["banded", "floor"], "above", {}), ("Log", ["above"], "log", {}), ("Conv", ["log", "w1"], "a", {}), ("Relu", ["a"], "ra", {}),
             ("Conv", ["ra", "w2"], "b", {}), ("Relu", ["b"], "rb", {}), ("Conv", ["rb", "w3"], "y", {})]
    model_of(nodes, [("x", ["N", 1, 400])], [("y", ["N", 8, 18])], weights, path)


def sounds(rng):
    t = np.arange(400)
    loud = 10 ** rng.uniform(-3, 0, (SAMPLES, 1))
    return (loud * np.sin(rng.uniform(.2, 2, (SAMPLES, 1)) * t) * np.exp(-t / rng.uniform(40, 200, (SAMPLES, 1))))[:, None].astype(np.float32)


class FloatValues(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ds_float_values_test")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.rng = np.random.default_rng(SEED)

    def quantize(self, splits, *flags):
        """The report; the file is int8.onnx."""
        (self.folder / "data").mkdir(exist_ok=True)
        for split, arrays in splits.items():
            np.savez(self.folder / "data" / f"{split}.npz", **arrays)
        (self.folder / "data.yaml").write_text(f"data: {{type: tensors, path: {self.folder / 'data'}}}\n")
        done = subprocess.run([DS_QUANTIZE, "--model", self.folder / "float.onnx", "--data", self.folder / "data.yaml", "--output",
                               self.folder / "int8.onnx", "--threads", "1", "--no-slow-layers-float", *flags], capture_output=True, text=True, timeout=100, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return json.loads((self.folder / "int8.json").read_text())

    def decibels(self, feeds):
        """Of all outputs together, over all feeds, in ONNX Runtime."""
        results = []
        for name in ("float.onnx", "int8.onnx"):
            runtime = session(self.folder / name)
            results.append(np.concatenate([np.ravel(y) for feed in feeds for y in runtime.run(None, feed)]).astype(np.float64))
        return 10 * np.log10(np.square(results[0]).sum() / np.square(results[0] - results[1]).sum())

    def multiplied_as_integers(self):
        model = onnx.load(str(self.folder / "int8.onnx"))
        return sum(tensor.data_type == TensorProto.INT8 and len(tensor.dims) > 1 for tensor in model.graph.initializer)

    def test_powers_that_a_logarithm_reads_stay_float(self):
        spectrum(self.folder / "float.onnx", self.rng)
        splits = {"train": {"x": sounds(self.rng)}, "test": {"x": sounds(self.rng)}}
        self.quantize(splits, "--least-snr", "0")
        self.assertLess(self.decibels([splits["test"]]), 15)
        self.assertEqual(self.multiplied_as_integers(), 6)
        report = self.quantize(splits)
        self.assertGreater(self.decibels([splits["test"]]), 20)
        self.assertGreaterEqual(self.multiplied_as_integers(), 2)
        said = [line for line in report["warnings"] if "float, since rounding" in line]
        self.assertEqual(len(said), 1, report["warnings"])

    def test_inputs_without_an_axis_for_samples_are_whole_in_each(self):
        normal = lambda *shape: (self.rng.standard_normal(shape) / 4).astype(np.float32)  # noqa: E731
        weights = {"w": normal(24, 32), "b": normal(32), "v": normal(32, 16), "last": np.int64(1)}
        nodes = [("Gather", ["state", "last"], "h", dict(axis=0)), ("Concat", ["x", "h"], "xh", dict(axis=1)), ("Gemm", ["xh", "w", "b"], "a", {}),
                 ("Relu", ["a"], "r", {}), ("Gemm", ["r", "v"], "y", {}), ("Cast", ["rate"], "f", dict(to=1)), ("Mul", ["y", "f"], "z", {})]
        model_of(nodes, [("x", ["N", 16]), ("state", [2, "N", 8]), ("rate", [], TensorProto.INT64)], [("z", ["N", 16])], weights, self.folder / "float.onnx")
        arrays = lambda: {"x": 4 * normal(SAMPLES, 16), "state": 4 * normal(SAMPLES, 2, 1, 8), "rate": np.full(SAMPLES, 16, np.int64)}  # noqa: E731
        splits = {"train": arrays(), "test": arrays()}
        self.quantize(splits)
        test = splits["test"]
        self.assertGreater(self.decibels([{"x": test["x"][i:i + 1], "state": test["state"][i], "rate": np.array(16, np.int64)} for i in range(SAMPLES)]), 20)
        self.assertEqual(self.multiplied_as_integers(), 2)

    def test_a_scalar_between_layers_has_a_range_too(self):
        normal = lambda *shape: (self.rng.standard_normal(shape) / 4).astype(np.float32)  # noqa: E731
        nodes = [("Gemm", ["x", "w", "b"], "a", {}), ("Relu", ["a"], "r", {}), ("ReduceMean", ["r"], "m", dict(keepdims=0)), ("Mul", ["r", "m"], "g", {}),
                 ("Gemm", ["g", "v"], "y", {})]
        model_of(nodes, [("x", ["N", 16])], [("y", ["N", 8])], {"w": normal(16, 32), "b": normal(32), "v": normal(32, 8)}, self.folder / "float.onnx")
        splits = {split: {"x": 4 * normal(SAMPLES, 16)} for split in ("train", "test")}
        self.quantize(splits)
        self.assertGreater(self.decibels([splits["test"]]), 20)

    def test_a_model_for_one_sample_runs_on_one_at_a_time(self):
        normal = lambda *shape: (self.rng.standard_normal(shape) / 4).astype(np.float32)  # noqa: E731
        weights = {"flat": np.int64([64]), "two": np.int64([4, 16]), "w": normal(16, 8), "v": normal(8, 4)}
        nodes = [("Reshape", ["x", "flat"], "f", {}), ("Reshape", ["f", "two"], "m", {}), ("MatMul", ["m", "w"], "a", {}), ("Relu", ["a"], "r", {}),
                 ("MatMul", ["r", "v"], "y", {})]
        model_of(nodes, [("x", [1, 8, 8])], [("y", [4, 4])], weights, self.folder / "float.onnx")
        splits = {split: {"x": 4 * normal(SAMPLES, 8, 8)} for split in ("train", "test")}
        report = self.quantize(splits)
        self.assertGreater(self.decibels([{"x": x[None]} for x in splits["test"]["x"]]), 30)
        self.assertTrue(any("one sample at a time" in line for line in report["warnings"]), report["warnings"])

    def test_what_integers_make_slower_stays_float(self):
        """Small convolutions between PRelus, and large ones: rounding costs more than the small ones' products save."""
        def net(channels, side):
            normal = lambda *shape: (self.rng.standard_normal(shape) / np.sqrt(9 * channels)).astype(np.float32)  # noqa: E731
            weights = {"w": normal(channels, channels, 3, 3), "v": normal(channels, channels, 3, 3), "slope": np.full((channels, 1, 1), .2, np.float32)}
            nodes = [("Conv", ["x", "w"], "a", dict(pads=[1] * 4)), ("PRelu", ["a", "slope"], "r", {}), ("Conv", ["r", "v"], "b", dict(pads=[1] * 4)),
                     ("PRelu", ["b", "slope"], "y", {})]
            model_of(nodes, [("x", ["N", channels, side, side])], [("y", ["N", channels, side, side])], weights, self.folder / "float.onnx")
            return self.quantize({split: {"x": self.rng.standard_normal((SAMPLES, channels, side, side)).astype(np.float32)} for split in ("train", "test")},
                                 "--slow-layers-float")
        report = net(4, 24)
        self.assertEqual(self.multiplied_as_integers(), 0)
        self.assertTrue(any("2 layers stay float" in line and "--no-slow-layers-float" in line for line in report["warnings"]), report["warnings"])
        net(64, 12)
        self.assertEqual(self.multiplied_as_integers(), 2)


if __name__ == "__main__":
    unittest.main()
