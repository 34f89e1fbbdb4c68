"""ds_prune as a user runs it: a network that ds_train trained, pruned, run by ONNX Runtime, fine-tuned and quantised.

    ds_prune_test.py DS_TRAIN DS_PRUNE DS_QUANTIZE
"""
import json
import subprocess
import sys
import unittest

import numpy as np
import onnx
import onnx.numpy_helper

from small_network import SmallNetworkCase, run

DS_TRAIN, DS_PRUNE, DS_QUANTIZE = sys.argv[1:4]



def weights(path):
    return {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(path).graph.initializer}


class DsPrune(SmallNetworkCase):
    DS_TRAIN, PROGRAM = DS_TRAIN, DS_PRUNE
    prune = SmallNetworkCase.change

    def test_each_method_shrinks_the_file_and_onnx_runtime_runs_it(self):
        images = np.random.default_rng(1).standard_normal((8, 3, 16, 16)).astype(np.float32)
        left = {}
        for method in ("l1", "bn", "taylor"):
            with self.subTest(method):
                done, output = self.prune(method, "--importance", method, "--amount", 0.4)
                self.assertEqual(done.returncode, 0, done.stderr)
                report = json.loads(output.with_suffix(".json").read_text())
                self.assertLessEqual(report["filters_after"], 0.6 * report["filters_before"])
                self.assertLess(report["macs_after"], 0.7 * report["macs_before"])
                self.assertEqual(report["bytes_after"], output.stat().st_size)
                self.assertLess(report["bytes_after"], 0.6 * report["bytes_before"])
                self.assertGreater(report["accuracy_before"], 0.8)
                self.assertEqual(run(output, images).shape, (8, 4))
                # Counted in the written file: no tensor is merely masked.
                parameters = sum(w.size for name, w in weights(output).items() if "running" not in name and w.dtype == np.float32)
                self.assertEqual(parameters, report["parameters_after"])
                left[method] = output.read_bytes()
        self.assertEqual(len(set(left.values())), 3)
        self.prune("again", "--importance", "taylor", "--amount", 0.4)
        self.assertEqual((self.folder / "again.onnx").read_bytes(), left["taylor"])

    def test_fine_tuned_and_quantised_it_is_as_good_as_before(self):
        done, output = self.prune("to_tune", "--importance", "taylor", "--amount", 0.4, "--multiple", 2)
        self.assertEqual(done.returncode, 0, done.stderr)
        before = json.loads(output.with_suffix(".json").read_text())["accuracy_before"]
        tuned = self.train("tuned", "model.name=", f"model.onnx={output}", "optimizer.learning_rate=0.02")
        self.assertGreater(tuned["test_accuracy"], before - 0.03)
        small = self.folder / "small-w4a8.onnx"
        subprocess.run([DS_QUANTIZE, "--model", self.folder / "tuned/model.onnx", "--data", self.config, "--bits", "4", "--output", small],
                       check=True, stdout=subprocess.DEVNULL)
        report = json.loads(small.with_suffix(".json").read_text())
        self.assertGreater(report["quantized_accuracy"], before - 0.06)

    def test_two_of_four_weights_are_zero_along_the_inputs(self):
        done, output = self.prune("sparse", "--pattern", "2:4")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(output.with_suffix(".json").read_text())
        sparse = {layer["weight"] for layer in report["layers"] if not layer["dense_because"]}
        self.assertGreater(len(sparse), 6)
        whole, pruned = weights(self.model), weights(output)
        for name in sparse:
            blocks = np.moveaxis(pruned[name], 1, -1).reshape(-1, 4)
            self.assertEqual(set((blocks != 0).sum(1)), {2})
            magnitudes = np.sort(np.abs(np.moveaxis(whole[name], 1, -1).reshape(-1, 4)), axis=1)
            self.assertAlmostEqual(float(np.abs(blocks).sum()) / float(magnitudes[:, 2:].sum()), 1, places=5)

    def test_a_classifier_of_more_classes_than_the_data_keeps_its_own_head(self):
        done, output = self.prune("fewer", "--amount", 0.2, "data.classes=3")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(run(output, np.zeros((1, 3, 16, 16), np.float32)).shape, (1, 4))
        whole, pruned = weights(self.model), weights(output)
        np.testing.assert_array_equal(pruned["fc.bias"], whole["fc.bias"])
        kept = {column.tobytes() for column in whole["fc.weight"].T}
        self.assertLessEqual({column.tobytes() for column in pruned["fc.weight"].T}, kept)

    def test_bad_input_is_one_clear_error_and_writes_nothing(self):
        torn = self.folder / "torn.onnx"
        torn.write_bytes(self.model.read_bytes()[:1000])
        cases = {"missing": ([], dict(model=self.folder / "none.onnx"), "none.onnx"),
                 "torn": ([], dict(model=torn), "torn.onnx"),
                 "all": (["--amount", 1], {}, "amount is 1"),
                 "nothing": (["--amount", 0], {}, "amount is 0"),
                 "too much": (["--amount", 0.95], {}, "can be removed"),
                 "importance": (["--importance", "l7"], {}, "importance"),
                 "pattern": (["--pattern", "1:4"], {}, "pattern"),
                 "keep": (["--keep", "conv1,conv99"], {}, "conv99"),
                 "no config": ([], dict(data=self.folder / "none.yaml"), "none.yaml"),
                 "override": (["data.nonsense=1"], {}, "nonsense"),
                 "more classes": (["data.classes=5"], {}, "tells 4 classes apart")}
        for name, (options, files, fragment) in cases.items():
            with self.subTest(name):
                done, output = self.prune("bad", *options, **files)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(fragment, done.stderr)
                self.assertFalse(output.exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
