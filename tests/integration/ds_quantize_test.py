"""ds_quantize as a user runs it: a network that ds_train trained, calibrated, written, and run by ONNX Runtime.

    ds_quantize_test.py DS_TRAIN DS_QUANTIZE
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree

import numpy as np
import onnx
import onnxruntime

from small_network import CONFIG, SmallNetworkCase, run

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from activation_error import relative_squared_errors  # noqa: E402

DS_TRAIN, DS_QUANTIZE = sys.argv[1], sys.argv[2]


class DsQuantize(SmallNetworkCase):
    DS_TRAIN, PROGRAM = DS_TRAIN, DS_QUANTIZE
    quantize = SmallNetworkCase.change
    written = {}   # what plain() wrote, by bits

    def plain(self, bits=8):
        """As quantize() with the defaults, once for all tests that look at the same file."""
        if bits not in self.written:
            self.written[bits] = self.quantize(f"plain{bits}", "--bits", bits)
        self.assertEqual(self.written[bits][0].returncode, 0, self.written[bits][0].stderr)
        return self.written[bits]

    def test_eight_and_four_bits_keep_the_accuracy_and_shrink_the_file(self):
        for bits, most in ((8, 0.45), (4, 0.35)):
            with self.subTest(bits=bits):
                done, output = self.plain(bits)
                report = json.loads(output.with_suffix(".json").read_text())
                self.assertGreater(report["float_accuracy"], 0.8)
                self.assertGreater(report["quantized_accuracy"], report["float_accuracy"] - 0.03)
                self.assertEqual(report["quantized_bytes"], output.stat().st_size)
                self.assertLess(output.stat().st_size, most * report["float_bytes"])
                self.assertRegex(done.stdout, rf"W{bits}A8 +\d")
                self.assertEqual({layer["bits"] for layer in report["layers"][1:-1]}, {bits})

    def test_onnx_runtime_computes_what_the_float_model_does_nearly(self):
        _, output = self.plain()
        images = np.random.default_rng(1).standard_normal((64, 3, 16, 16)).astype(np.float32)
        logits = [run(path, images) for path in (self.model, output)]
        error = np.square(logits[1] - logits[0]).sum() / np.square(logits[0]).sum()
        self.assertLess(error, 0.01)
        self.assertGreater(error, 0)

    def test_eight_bits_lose_less_than_half_a_percent_of_each_activation(self):
        # Smooth pictures and as much noise, as the data of the training, but with patterns that neither training nor calibration saw.
        random = np.random.default_rng(1)
        at = np.linspace(0, 4 - 0.25, 16)
        base, share = np.floor(at).astype(int), at % 1
        hat = np.zeros((16, 5))
        hat[np.arange(16), base], hat[np.arange(16), base + 1] = 1 - share, share
        smooth = np.einsum("yi,ncij,xj->ncyx", hat, random.uniform(0, 1, (256, 3, 5, 5)), hat)
        config = self.config.read_text()
        mean, stddev = (np.array(json.loads(re.search(rf"^ *{key}: *(\[.*\])$", config, re.M)[1])) for key in ("mean", "stddev"))
        pixels = (smooth + random.uniform(0, 1, smooth.shape)) / 2
        images = ((pixels - mean.reshape(-1, 1, 1)) / stddev.reshape(-1, 1, 1)).astype(np.float32)
        errors = {}
        for method in ("auto", "kl", "min-max"):
            done, output = self.plain() if method == "auto" else self.quantize(f"error-{method}", "--method", method)
            self.assertEqual(done.returncode, 0, done.stderr)
            activations = json.loads(output.with_suffix(".json").read_text())["activations"]
            errors[method] = relative_squared_errors(self.model, activations, images)
            self.assertGreaterEqual(len(errors[method]), 10)
        self.assertLess(max(errors["auto"].values()), 0.005)
        self.assertLess(max(errors["kl"].values()), 0.005)
        self.assertGreater(min(errors["auto"].values()), 0)

    def test_the_profile_for_tensorrt_keeps_the_accuracy_and_says_what_it_wrote(self):
        done, output = self.quantize("trt", "--profile", "tensorrt")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(output.with_suffix(".json").read_text())
        self.assertGreater(report["quantized_accuracy"], report["float_accuracy"] - 0.03)
        self.assertIn("--stronglyTyped", output.with_suffix(".trtexec.sh").read_text())
        self.assertIn(" 0 in float, 0 refused", output.with_suffix(".trt-lint.txt").read_text())
        self.assertIn("TensorRT: not run" if shutil.which("trtexec") is None else "TensorRT: ", done.stdout)
        codes = {value.data_type for value in onnx.load(str(output)).graph.initializer}
        self.assertNotIn(onnx.TensorProto.UINT8, codes)

    def test_small_weights_reach_their_dequantisation_through_a_cast_or_directly(self):
        for casts in (True, False):
            with self.subTest(casts=casts):
                done, output = self.plain(4) if casts else self.quantize("direct", "--bits", 4, "--direct-weights", "--repair", "none")
                self.assertEqual(done.returncode, 0, done.stderr)
                graph = onnx.load(str(output)).graph
                small = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT4}
                readers = {node.op_type for node in graph.node if small.intersection(node.input)}
                self.assertEqual(readers, {"Cast"} if casts else {"DequantizeLinear"})
        self.assertEqual(done.stdout.count("no Cast to int8"), len(small))

    def test_the_same_command_gives_the_same_bytes(self):
        self.assertEqual(self.plain()[1].read_bytes(), self.quantize("again")[1].read_bytes())

    def test_auto_keeps_its_budgets(self):
        done, output = self.quantize("size", "--bits", "auto", "--size-budget", 0.12, "--repair", "none")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(output.with_suffix(".json").read_text())
        self.assertEqual(report["bits"], "auto")
        self.assertLessEqual(sum(layer["bytes"] for layer in report["layers"]), 0.12 * 4 * sum(layer["weights"] for layer in report["layers"]))
        self.assertGreater(len({layer["bits"] for layer in report["layers"]}), 1)
        session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
        self.assertEqual(session.get_inputs()[0].shape[1:], [3, 16, 16])
        done, output = self.quantize("points", "--bits", "auto", "--accuracy-budget", 1.5, "--held-out", 512, "--repair", "none")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(output.with_suffix(".json").read_text())
        kept = [trial for trial in report["mixed_bits"]["trials"] if trial["drop_points"] <= 1.5]
        self.assertEqual(report["mixed_bits"]["bytes"], min(trial["bytes"] for trial in kept))

    def test_activations_get_bits_of_their_own_within_the_accuracy_budget(self):
        done, output = self.quantize("mixed", "--bits", 4, "--activation-bits", "auto", "--accuracy-budget", 1.5, "--held-out", 512, "--repair", "none",
                                     "--method", "mse")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(output.with_suffix(".json").read_text())
        self.assertEqual((report["bits"], report["activation_bits"]), (4, "auto"))
        self.assertLessEqual({activation["bits"] for activation in report["activations"]}, {4, 8})
        self.assertIn(4, {activation["bits"] for activation in report["activations"]})
        self.assertEqual({layer["bits"] for layer in report["layers"][1:-1]}, {4})
        kept = [trial for trial in report["mixed_bits"]["trials"] if trial["drop_points"] <= 1.5]
        self.assertEqual(report["mixed_bits"]["bytes"], min(trial["bytes"] for trial in kept))
        session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
        self.assertEqual(session.get_inputs()[0].shape[1:], [3, 16, 16])

    def test_named_layers_and_activations_have_bits_of_their_own(self):
        plain = json.loads(self.quantize("plain", "--method", "mse")[1].with_suffix(".json").read_text())
        weight, value = plain["layers"][2]["weight"], plain["activations"][3]["value"]
        done, output = self.quantize("named", "--method", "mse", "--repair", "none", "--bits-of", f"{weight}=3", "--bits-of", f"{value}=5")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(output.with_suffix(".json").read_text())
        self.assertEqual({layer["weight"]: layer["bits"] for layer in report["layers"] if layer["bits"] != 8}, {weight: 3})
        self.assertEqual({activation["value"]: activation["bits"] for activation in report["activations"] if activation["bits"] != 8}, {value: 5})

    def test_the_page_is_well_formed_and_whole(self):
        _, output = self.plain()
        page = xml.etree.ElementTree.fromstring(output.with_suffix(".html").read_text().removeprefix("<!DOCTYPE html>"))
        report = json.loads(output.with_suffix(".json").read_text())
        tables = {table.get("class"): table.findall("tr")[1:] for table in page.iter("table")}
        self.assertEqual([row[0].text for row in tables["layers"]], [layer["node"] for layer in report["layers"]])
        self.assertEqual([row[0].text for row in tables["activations"]], [a["value"] for a in report["activations"]])
        self.assertTrue(all(row.find("td/svg/rect") is not None for row in tables["activations"]))
        self.assertEqual(len(tables["totals"]), 2)

    def test_the_test_split_of_the_same_data_has_not_drifted(self):
        done, output = self.plain()
        self.assertNotIn("drifted", done.stdout)
        report = json.loads(output.with_suffix(".json").read_text())
        self.assertEqual(len(report["drift"]), len(report["activations"]))

    def test_bad_input_is_one_clear_error_and_writes_nothing(self):
        torn = self.folder / "torn.onnx"
        torn.write_bytes(self.model.read_bytes()[:1000])
        other = self.folder / "other.yaml"
        other.write_text(CONFIG.replace("channels: 3", "channels: 1"))
        cases = {"missing": (["--bits", 4], dict(model=self.folder / "none.onnx"), "none.onnx"),
                 "torn": ([], dict(model=torn), "torn.onnx"),
                 "not onnx": ([], dict(model=self.config), "config.yaml"),
                 "other data": ([], dict(data=other), "channel"),
                 "no config": ([], dict(data=self.folder / "none.yaml"), "none.yaml"),
                 "one bit": (["--bits", 1], {}, "bits"),
                 "nine bits": (["--activation-bits", 9], {}, "activation-bits"),
                 "method": (["--method", "entropy"], {}, "entropy"),
                 "group": (["--group", 48], {}, "group"),
                 "auto without a budget": (["--bits", "auto"], {}, "--size-budget"),
                 "activations without a budget": (["--activation-bits", "auto"], {}, "--accuracy-budget"),
                 "budget without auto": (["--size-budget", 0.2], {}, "--bits auto"),
                 "budget too small": (["--bits", "auto", "--size-budget", 0.01], {}, "size_budget"),
                 "bits of nothing": (["--bits-of", "nowhere=4"], {}, "nowhere"),
                 "bits without a number": (["--bits-of", "head.weight"], {}, "NAME=BITS"),
                 "bits out of range": (["--bits-of", "head.weight=9"], {}, "NAME=BITS"),
                 "no samples": (["--samples", 0], {}, "samples"),
                 "override": (["data.nonsense=1"], {}, "nonsense")}
        for name, (options, files, fragment) in cases.items():
            with self.subTest(name):
                done, output = self.quantize("bad", *options, **files)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(fragment, done.stderr)
                self.assertFalse(output.exists())
        done = subprocess.run([DS_QUANTIZE, "--model", self.model, "--data", self.config, "--output", self.model],
                              stderr=subprocess.PIPE, text=True)
        self.assertIn("the model itself", done.stderr)
        self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
