"""The tasks of configs/task_*.yaml from end to end: trained on two ranks, quantised on their own data with labels and
without, run in ONNX Runtime.

    tasks_test.py DS_TRAIN MPIRUN DS_QUANTIZE SOURCE
"""
import csv
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnxruntime

import task_models

DS_TRAIN, MPIRUN, DS_QUANTIZE, SOURCE = sys.argv[1:5]
sys.argv[1:3] = [DS_TRAIN, MPIRUN]
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from exact_products import products_saturate  # noqa: E402
from training_case import ENVIRONMENT  # noqa: E402
# As docs/quantization.md advises for such a processor.
BITS = ("--bits", 7, "--end-bits", 7) if products_saturate() else ()


class Tasks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ds_tasks_test")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def quantize(self, *arguments):
        """Integers in earnest: layers as small as these would stay float, since they are faster so."""
        return self.run_in_folder(DS_QUANTIZE, *arguments, "--no-slow-layers-float", *BITS)

    def run_in_folder(self, *command):
        done = subprocess.run([str(word) for word in command], cwd=self.folder, env=ENVIRONMENT, capture_output=True,
                              text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def task(self, name):
        """Trains on two ranks and quantises: the run's folder, its output, the report of the quantised file."""
        getattr(task_models, name)(self.folder)
        config = pathlib.Path(SOURCE) / "configs" / f"task_{name}.yaml"
        said = self.run_in_folder(MPIRUN, "--oversubscribe", "--bind-to", "none", "-np", 2, DS_TRAIN, "--config", config,
                                  "run.verify_replicas=true")
        run = self.folder / "runs" / name
        quantised = self.quantize("--model", run / "model.onnx", "--data", run / "config.yaml", "--output",
                                       "int8.onnx", "--verify", "--python", sys.executable)
        self.assertIn("ONNX Runtime", quantised)
        report = json.loads((self.folder / "int8.json").read_text())
        self.assertEqual(report["runtime"]["version"], onnxruntime.__version__)
        for output in report["runtime"]["outputs"]:
            self.assertGreater(output["runtime_db"], 25)
        return run, said, report

    def arrays(self, *names):
        return {name: np.load(self.folder / "data" / "test" / f"{name}.npy") for name in names}

    def outputs(self, path, feeds):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, feeds)[0]

    def best_row(self, run, metric, best):
        with open(run / "metrics.csv") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
        return best(float(row[metric]) for row in rows)

    def test_text_of_two_inputs(self):
        run, said, report = self.task("text")
        summary = json.loads((run / "summary.json").read_text())
        self.assertEqual(summary["metric"], "accuracy")
        self.assertGreater(summary["test_accuracy"], 0.95)
        self.assertIn("f1", summary["final_test_metrics"])
        self.assertRegex(said, r"test loss [0-9.]+, accuracy [0-9.]+%, f1 [0-9.]+%")
        arrays = self.arrays("input_ids", "attention_mask", "labels")
        labels = arrays.pop("labels")
        for path, wanted in ((run / "model.onnx", report["float_accuracy"]),
                             (self.folder / "int8.onnx", report["quantized_accuracy"])):
            self.assertAlmostEqual((self.outputs(path, arrays).argmax(1) == labels).mean(), wanted, delta=0.02)
        self.assertAlmostEqual(report["float_accuracy"], summary["test_accuracy"], places=6)

    def test_a_class_for_every_pixel(self):
        run, said, report = self.task("segmentation")
        summary = json.loads((run / "summary.json").read_text())
        self.assertEqual(summary["metric"], "mean_iou")
        self.assertGreater(summary["test_mean_iou"], 0.9)
        self.assertAlmostEqual(self.best_row(run, "mean_iou", max), summary["test_mean_iou"], places=6)
        arrays = self.arrays("image", "labels")
        labels = arrays.pop("labels")
        said = self.outputs(run / "model.onnx", arrays).argmax(1)
        counts = labels != 255
        shares = [((said == c) & (labels == c)).sum() / (((said == c) | (labels == c)) & counts).sum() for c in range(3)]
        self.assertAlmostEqual(np.mean(shares), summary["test_mean_iou"], delta=1e-3)
        self.assertGreater(report["quantized_mean_iou"], report["float_mean_iou"] - 0.03)

    def test_numbers_from_a_table(self):
        run, _, report = self.task("regression")
        summary = json.loads((run / "summary.json").read_text())
        self.assertEqual(summary["metric"], "mae")
        self.assertLess(summary["test_mae"], 0.2)
        self.assertAlmostEqual(self.best_row(run, "mae", min), summary["test_mae"], places=6)
        self.assertLess(report["quantized_mae"], report["float_mae"] + 0.05)
        self.assertIsNone(report["outputs"][0]["same_share"], "one number is no class")

    def test_several_labels(self):
        run, _, report = self.task("labels")
        summary = json.loads((run / "summary.json").read_text())
        self.assertEqual(summary["metric"], "f1")
        self.assertGreater(summary["test_f1"], 0.85)
        self.assertEqual(set(summary["final_test_metrics"]), {"f1", "accuracy", "auc"})
        arrays = self.arrays("features", "labels")
        wanted = arrays.pop("labels") > 0.5
        said = self.outputs(run / "model.onnx", arrays) > 0
        f1 = [2 * (s & w).sum() / (s.sum() + w.sum()) for s, w in zip(said.T, wanted.T)]
        self.assertAlmostEqual(np.mean(f1), summary["test_f1"], delta=1e-3)
        # Without labels: the same data with its labels taken away, and a file that holds nothing but a data section.
        for split in ("train", "test"):
            (self.folder / "data" / split / "labels.npy").unlink()
        (self.folder / "only_data.yaml").write_text("data: {type: tensors, path: data}\n")
        self.quantize("--model", run / "model.onnx", "--data", "only_data.yaml", "--output", "bare.onnx")
        bare = json.loads((self.folder / "bare.json").read_text())
        self.assertIsNone(bare["metric"])
        self.assertAlmostEqual(bare["outputs"][0]["snr_db"], report["outputs"][0]["snr_db"], delta=5)
        # And with nothing at all.
        said = self.quantize("--model", run / "model.onnx", "--data", "random", "--output", "random.onnx")
        self.assertIn("'features' [8, 8] normal(0, 1)", said)
        self.assertGreater(json.loads((self.folder / "random.json").read_text())["outputs"][0]["snr_db"], 35)

    def test_a_model_that_ends_in_softmax_trains_like_one_of_logits(self):
        losses = {}
        for last in (None, "Softmax", "LogSoftmax"):
            with self.subTest(last=last):
                place = self.folder / str(last)
                place.mkdir()
                task_models.classes(place, last)
                (place / "c.yaml").write_text(f"""
run: {{name: c, epochs: 4, threads: 1, output: {place}/runs}}
model: {{onnx: {place}/model.onnx}}
data: {{type: tensors, path: {place}/data, batch_size: 32}}
optimizer: {{name: adamw, learning_rate: 0.02}}
precision: {{mode: fp32}}
""")
                said = self.run_in_folder(DS_TRAIN, "--config", place / "c.yaml")
                self.assertEqual(f"the model ends in {last}" in said, last is not None)
                losses[last] = json.loads((place / "runs" / "c" / "summary.json").read_text())["test_loss"]
        self.assertLess(losses[None], 0.4)
        self.assertAlmostEqual(losses["Softmax"], losses[None], delta=1e-3)
        self.assertAlmostEqual(losses["LogSoftmax"], losses[None], delta=1e-3)

    def test_a_weight_of_two_layouts_is_right_in_onnx_runtime(self):
        task_models.two_layouts(self.folder / "m.onnx")
        said = self.quantize("--model", "m.onnx", "--data", "random", "--output", "q.onnx", "--method", "min-max",
                                  "--verify", "--python", sys.executable)
        self.assertIn("dB from the float model", said)
        output = json.loads((self.folder / "q.json").read_text())["runtime"]["outputs"][0]
        self.assertGreater(output["runtime_db"], 35)
        self.assertGreater(output["between_db"], 60, "before the copy: -4 dB")

    def test_a_runtime_that_computes_something_else_ends_it_with_an_error(self):
        task_models.two_layouts(self.folder / "m.onnx")
        wrong = self.folder / "python"
        wrong.write_text(f"""#!{sys.executable}
import sys
script = sys.argv[2].replace("codes = {{np", "results = [-r for r in results]\\ncodes = {{np")
sys.argv = ["-c"] + sys.argv[3:]
exec(script)
""")
        wrong.chmod(0o755)
        command = [DS_QUANTIZE, "--model", "m.onnx", "--data", "random", "--output", "q.onnx", "--no-slow-layers-float", "--verify", "--python"]
        done = subprocess.run([*command, str(wrong)], cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("must not be used: output 'output' of ONNX Runtime is -", done.stderr)
        self.assertIn("computes something else", json.dumps(json.loads((self.folder / "q.json").read_text())["warnings"]))
        said = self.run_in_folder(*command, self.folder / "none")
        self.assertIn("not verified in ONNX Runtime: there is no program", said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[5:])
