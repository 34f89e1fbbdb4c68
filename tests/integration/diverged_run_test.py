"""A run that goes wrong says so: exit code, what was not finite first, what is left; and what only looks like a fault is none.

    diverged_run_test.py DS_TRAIN MPIRUN DS_QUANTIZE DS_PRUNE
"""
import subprocess
import sys
import unittest

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

DS_QUANTIZE, DS_PRUNE = sys.argv[3], sys.argv[4]
del sys.argv[3:]
from training_case import DS_TRAIN, ENVIRONMENT, MPIRUN, TrainingCase  # noqa: E402

CONFIG = """
run: {name: t, epochs: 3, seed: 5, threads: 1}
model: {name: resnet8}
data: {type: synthetic, channels: 1, height: 12, width: 12, classes: 4, size: 192, batch_size: 16}
optimizer: {learning_rate: 0.05}
precision: {mode: fp32}
log: {every_steps: 3, tensorboard: false}
"""
F = np.float32


def network(extra_nodes, extra_tensors, source="r", result="m"):
    """Conv -> BatchNormalization -> Relu (r [N, 8, 12, 12]) -> extra nodes -> m -> mean -> Gemm."""
    rng = np.random.default_rng(7)
    tensors = {"w": rng.standard_normal((8, 1, 3, 3)) * .4, "scale": np.ones(8), "shift": np.zeros(8), "mean": np.zeros(8),
               "variance": np.ones(8), "fc": rng.standard_normal((4, 8)) * .3, "bias": np.zeros(4), **extra_tensors}
    make = helper.make_node
    nodes = [make("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4),
             make("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["b"], name="norm"),
             make("Relu", ["b"], [source], name="relu"), *extra_nodes,
             make("GlobalAveragePool", [result], ["p"], name="pool"), make("Flatten", ["p"], ["f"], name="flat"),
             make("Gemm", ["f", "fc", "bias"], ["y"], name="gemm", transB=1)]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.asarray(v, F), n) for n, v in tensors.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def scaled(constant):
    """A network with one scalar in it."""
    return network([helper.make_node("Mul", ["r", "constant"], ["m"], name="mul")], {"constant": F(constant)})


def masked():
    """One with the mask of causal attention in it, between two axes of the image."""
    make = helper.make_node
    mask = np.triu(np.full((12, 12), -np.inf, F), 1)
    return network([make("Add", ["r", "mask"], ["s"], name="add"), make("Softmax", ["s"], ["q"], name="softmax", axis=-1),
                    make("MatMul", ["q", "r"], ["m"], name="matmul")], {"mask": mask})


class DivergedRun(TrainingCase):
    CONFIG = CONFIG

    def save(self, model, name="model.onnx"):
        path = self.folder / name
        onnx.save(model, path)
        return path

    def fails(self, output, *arguments, ranks=2):
        """What a run that must not end well says."""
        done = subprocess.run(self.command(ranks, f"run.output={self.folder / output}", *arguments), env=ENVIRONMENT, capture_output=True,
                              text=True, timeout=250)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        lines = [line for line in done.stderr.splitlines() if line.startswith("ds_train: ")]
        self.assertEqual(len(lines), 1, done.stderr)
        return lines[0]

    def assert_says(self, text, *words):
        for word in words:
            self.assertIn(word, text)

    def assert_only_finite_files(self, folder):
        for path in folder.rglob("*.safetensors"):
            for name, values in load_file(path).items():
                self.assertTrue(np.isfinite(values).all(), f"{path}: {name}")
        for path in folder.rglob("*.onnx"):
            for tensor in onnx.load(path).graph.initializer:
                self.assertTrue(np.isfinite(numpy_helper.to_array(tensor)).all(), f"{path}: {tensor.name}")

    def test_a_learning_rate_that_is_far_too_high_fails_on_any_number_of_ranks(self):
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                text = self.fails(f"high{ranks}", "optimizer.learning_rate=1e6", ranks=ranks)
                self.assert_says(text, " at step ", "lower optimizer.learning_rate")
                self.assert_only_finite_files(self.folder / f"high{ranks}")

    def test_what_was_good_before_stays_and_can_be_resumed(self):
        self.train("later", "run.epochs=2", ranks=2)
        run = self.folder / "later" / "t"
        good, checkpoint = self.digest(run / "model.onnx"), self.newest(run)
        text = self.fails("later", "run.epochs=4", "--resume", "optimizer.learning_rate=1e30")
        self.assert_says(text, "diverged", "the best model so far, of epoch")
        self.assertEqual(self.digest(run / "model.onnx"), good)
        self.assertEqual(self.newest(run), checkpoint)
        self.assert_only_finite_files(self.folder / "later")
        self.train("later", "run.epochs=3", "--resume", ranks=2)
        self.assertGreater(self.newest(run).name, checkpoint.name)

    def test_ranks_whose_optimisers_would_round_differently_do_not_start(self):
        one = ["-np", "1", "-x", "ATEN_CPU_CAPABILITY=default"]
        run = [DS_TRAIN, "--config", str(self.folder / "c.yaml"), f"run.output={self.folder / 'mixed'}"]
        done = subprocess.run([MPIRUN, *self.MPI_OPTIONS, *one, *run, ":", "-np", "1", *run], env=ENVIRONMENT, capture_output=True, text=True,
                              timeout=250)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assert_says(done.stderr, "the instructions that LibTorch uses", "--instructions")
        self.assertFalse((self.folder / "mixed").exists())

    def test_a_constant_that_is_not_finite_is_named(self):
        for value in (np.nan, np.inf):
            model = self.save(scaled(value))
            text = self.fails("constant", "model.name=", f"model.onnx={model}")
            self.assert_says(text, "constant 'constant' of the model", "repair the constant")

    def test_a_range_that_fp16_has_not_is_named(self):
        model = self.save(scaled(1e8))
        text = self.fails("half", "model.name=", f"model.onnx={model}", "precision.mode=fp16")
        self.assert_says(text, "which node '", "65504", "precision.mode=bf16")

    def test_a_mask_of_minus_infinity_is_no_fault(self):
        model = self.save(masked())
        run, _ = self.train("mask", "model.name=", f"model.onnx={model}", "ema.enabled=true", ranks=2)
        written = onnx.load(run / "model.onnx")
        before = next(t for t in masked().graph.initializer if t.name == "mask")
        after = next(t for t in written.graph.initializer if t.name == "mask")
        np.testing.assert_array_equal(numpy_helper.to_array(after), numpy_helper.to_array(before))
        session = onnxruntime.InferenceSession(str(run / "model.onnx"), providers=["CPUExecutionProvider"])
        x = np.random.default_rng(1).standard_normal((5, 1, 12, 12)).astype(F)
        self.assertTrue(np.isfinite(session.run(None, {"x": x})[0]).all())
        self.train("mask", "model.name=", f"model.onnx={model}", "ema.enabled=true", "run.epochs=4", "--resume", ranks=2)
        for tool in (DS_QUANTIZE, DS_PRUNE):
            done, output = self.convert(tool, run / "model.onnx")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(output.exists())

    def convert(self, tool, model):
        (self.folder / "data.yaml").write_text(CONFIG)
        output = self.folder / "converted.onnx"
        options = ["--samples", "64"] + (["--amount", "0.2"] if tool == DS_PRUNE else [])
        done = subprocess.run([tool, "--model", model, "--data", self.folder / "data.yaml", "--output", output, *options],
                              env=ENVIRONMENT, capture_output=True, text=True, timeout=250)
        return done, output

    def test_quantising_and_pruning_refuse_what_is_lost_and_write_nothing(self):
        lost = network([helper.make_node("Identity", ["r"], ["m"], name="same")], {"variance": np.full(8, np.inf)})
        broken_bias = network([helper.make_node("Add", ["r", "added"], ["m"], name="add")], {"added": np.full((8, 1, 1), np.nan)})
        cases = {"weight 'variance'": lost, "'added'": broken_bias, "constant 'constant'": scaled(np.nan)}
        for words, model in cases.items():
            for tool in (DS_QUANTIZE, DS_PRUNE):
                with self.subTest(words, tool=tool):
                    done, output = self.convert(tool, self.save(model))
                    self.assertNotEqual(done.returncode, 0)
                    self.assertIn(words, done.stderr)
                    self.assertFalse(output.exists())
                    self.assertFalse(output.with_suffix(".json").exists())
        text = self.fails("lost", "model.name=", f"model.onnx={self.save(lost)}")
        self.assertIn("weight 'variance'", text)
        self.assertFalse((self.folder / "lost").exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
