"""ds_export --format dsm as a user runs it: what the file computes is what ONNX Runtime computes from the ONNX file, float and integers.

    onnx_runtime_test.py DS_EXPORT LIBRARY
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from engine import Engine

DS_EXPORT, LIBRARY = sys.argv[1:3]
FLOATS = {"lenet": {}, "resnet8": {}, "mobilenet_v2": {}, "mobilenet_v3_small": {}, "vit_tiny": {}, "gpt_nano": {"--sequence-length": 32},
          "yolo_nano": {"--height": 64, "--width": 64}}
QUANTISED = ["lenet", "resnet8", "mobilenet_v3_small"]


def export(*arguments, code=0):
    done = subprocess.run([DS_EXPORT, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise AssertionError(f"ds_export {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def inputs(runtime, seed):
    random, feed = np.random.default_rng(seed), {}
    for port in runtime.get_inputs():
        shape = [extent if isinstance(extent, int) else 1 for extent in port.shape]
        whole = port.type == "tensor(int64)"
        feed[port.name] = random.integers(0, 10, shape) if whole else random.standard_normal(shape).astype(np.float32)
    return feed


class Calibration(CalibrationDataReader):
    def __init__(self, runtime):
        self.feeds = iter([inputs(runtime, seed) for seed in range(100, 108)])

    def get_next(self):
        return next(self.feeds, None)


class EngineAgainstOnnxRuntime(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ds_dsm_")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)

    def model(self, name):
        path = self.folder / f"{name}.onnx"
        if not path.exists():
            extra = [part for pair in FLOATS[name].items() for part in pair]
            export("--model", f"zoo:{name}", "--format", "onnx", "--output", path, *extra)
        return path

    def quantised(self, name, activations):
        path = self.folder / f"{name}.{activations}.onnx"
        kind = QuantType.QUInt8 if activations == "u8" else QuantType.QInt8
        folded = self.folder / f"{name}.folded.onnx"
        quant_pre_process(str(self.model(name)), str(folded), skip_symbolic_shape=True)
        quantize_static(str(folded), str(path), Calibration(session(self.model(name))), quant_format=QuantFormat.QDQ,
                        activation_type=kind, weight_type=QuantType.QInt8, per_channel=True)
        return path

    def compiled(self, onnx_path, *arguments):
        dsm = self.folder / "model.dsm"
        export("--model", onnx_path, "--format", "dsm", "--output", dsm, *arguments)
        engine = Engine(LIBRARY, dsm, threads=2)
        self.addCleanup(engine.close)
        return engine

    def test_floats(self):
        for name in FLOATS:
            with self.subTest(name):
                runtime, engine = session(self.model(name)), self.compiled(self.model(name))
                for seed in range(3):
                    feed = inputs(runtime, seed)
                    for theirs, ours in zip(runtime.run(None, feed), engine.run(feed), strict=True):
                        self.assertEqual(theirs.shape, ours.shape)
                        self.assertLess(np.abs(theirs - ours).max(), 1e-4 * np.ptp(theirs))

    def test_integers(self):
        """The outputs' scale bounds what one code at the end makes; more may come of codes before that fall the other way at a half."""
        for name in QUANTISED:
            for activations in ("u8", "s8"):
                with self.subTest(name=name, activations=activations):
                    path = self.quantised(name, activations)
                    runtime, engine = session(path), self.compiled(path)
                    differences, spans = [], []
                    for seed in range(8):
                        feed = inputs(runtime, seed)
                        theirs, ours = runtime.run(None, feed)[0], engine.run(feed)[0]
                        differences.append(np.abs(theirs - ours).max())
                        spans.append(np.ptp(theirs))
                    self.assertLess(np.median(differences), 0.01 * np.median(spans))
                    self.assertLess(max(differences), 0.1 * np.median(spans))

    def test_each_instruction_set_alone_gives_the_same_codes(self):
        path = self.quantised("resnet8", "u8")
        feed = inputs(session(path), 1)
        expected = self.compiled(path).run(feed)[0]
        np.testing.assert_array_equal(self.compiled(path, "--isa", "scalar").run(feed)[0], expected)
        np.testing.assert_array_equal(self.compiled(path, "--isa", "scalar,avx2").run(feed)[0], expected)

    def test_a_batch_is_as_many_single_runs(self):
        path = self.quantised("resnet8", "u8")
        images = np.random.default_rng(1).standard_normal((3, 3, 32, 32)).astype(np.float32)
        name = session(path).get_inputs()[0].name
        together, single = self.compiled(path, "--batch", 3).run({name: images})[0], self.compiled(path)
        np.testing.assert_array_equal(together, np.concatenate([single.run({name: image[None]})[0] for image in images]))

    def test_a_classifier_whose_scores_are_floats_keeps_its_integers(self):
        """As ds_quantize writes it: codes go into the last product, floats come out."""
        path = self.folder / "scores.onnx"
        model = onnx.load(self.quantised("resnet8", "u8"))
        makers = {node.output[0]: node for node in model.graph.node}
        quantised = makers[model.graph.output[0].name]
        scores = makers[quantised.input[0]].input[0]
        del model.graph.output[:]
        model.graph.output.append(helper.make_tensor_value_info(scores, TensorProto.FLOAT, [None, 10]))
        onnx.save(model, path)
        self.assertRegex(export("--model", path, "--format", "dsm", "--output", self.folder / "scores.dsm", "--explain"), r"dense8 +\S+")
        runtime, engine = session(path), self.compiled(path)
        differences, spans = [], []
        for seed in range(8):
            feed = inputs(runtime, seed)
            theirs, ours = runtime.run([scores], feed)[0], engine.run(feed)[0]
            differences.append(np.abs(theirs - ours).max())
            spans.append(np.ptp(theirs))
        self.assertLess(np.median(differences), 0.01 * np.median(spans))

    def test_explain_says_what_was_fused_and_what_memory_it_takes(self):
        text = export("--model", self.quantised("resnet8", "u8"), "--format", "dsm", "--output", self.folder / "explained.dsm", "--explain")
        self.assertRegex(text, r"conv8 +\S+")
        self.assertRegex(text, r"sum ")
        self.assertRegex(text, r"arena")
        self.assertTrue((self.folder / "explained.dsm").exists())

    def test_what_has_no_kernel_is_refused_by_name_and_leaves_no_file(self):
        ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4]), helper.make_tensor_value_info("rois", TensorProto.FLOAT, [2, 4]),
                 helper.make_tensor_value_info("which", TensorProto.INT64, [2]), helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        graph = helper.make_graph([helper.make_node("RoiAlign", ["x", "rois", "which"], ["y"], name="align")], "g", ports[:3], ports[3:])
        path, dsm = self.folder / "align.onnx", self.folder / "align.dsm"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        self.assertRegex(export("--model", path, "--format", "dsm", "--output", dsm, code=1), r"node 'align' \(RoiAlign\) has no kernel")
        self.assertFalse(dsm.exists())
        self.assertRegex(export("--model", path, "--format", "dsm", "--output", dsm, "--isa", "mmx", code=2), re.escape("mmx"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
