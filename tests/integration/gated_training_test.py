"""Gates in ds_train: real mpirun, real kills, files run and counted by ONNX Runtime.

    gated_training_test.py DS_TRAIN MPIRUN DS_QUANTIZE
"""
import collections
import json
import re
import subprocess
import sys
import unittest

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

from training_case import ENVIRONMENT, TrainingCase, small_config

DS_QUANTIZE = sys.argv[3]
CONFIG = small_config(5, 1024, """checkpoint: {keep: 10}
gating: {mode: channels, share: 0.4, ramp_epochs: 3}""")
CHANCE = 0.25
FLOAT_REASON = re.compile(r'node "(.*)" \((\w+)\) stays float: (.+)')
# Behind a fusion ONNX Runtime's name is another.
KIND = {"FusedConv": "Conv", "FusedGemm": "Gemm"}


def images(count):
    return np.random.default_rng(1).standard_normal((count, 3, 16, 16)).astype(np.float32)


def run(path, x, outputs=None, optimised=None):
    options = onnxruntime.SessionOptions()
    if optimised:
        options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(path if isinstance(path, bytes) else str(path), options, providers=["CPUExecutionProvider"])
    return session.run(outputs, {session.get_inputs()[0].name: x})


def gates(model):
    """(Mul node, name of its saliency) of each gate of an ONNX model, by its own look at the graph."""
    maker = {output: node for node in model.graph.node for output in node.output}
    found = []
    for node in model.graph.node:
        if node.op_type != "Mul":
            continue
        for name in node.input:
            chain, value = [], name
            while value in maker and len(chain) < 3:
                chain.append(maker[value].op_type)
                value = maker[value].input[0]
            if chain == ["Relu", "Conv", "GlobalAveragePool"]:
                found.append((node, name))
    return found


def with_outputs(path, names):
    model = onnx.load(path)
    for name in names:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return model.SerializeToString()


def mul_inputs(path, x):
    names = [name for node in onnx.load(path).graph.node if node.op_type == "Mul" for name in node.input]
    return run(with_outputs(path, names), x, names)


class GatedTraining(TrainingCase):
    CONFIG = CONFIG
    MPI_OPTIONS = (*TrainingCase.MPI_OPTIONS, *"--mca btl_vader_single_copy_mechanism none --mca mpi_yield_when_idle 1".split())

    def train(self, output, *arguments, ranks=2):
        run_folder, printed = super().train(output, *arguments, ranks=ranks)
        return run_folder, json.loads((run_folder / "summary.json").read_text()), printed

    def test_two_ranks_reach_the_share_and_onnx_runtime_sees_the_zeros(self):
        run_folder, summary, printed = self.train("gated", "quantization={mode: ptq, exports: [w8a8, w4a8], samples: 128}")
        self.assertAlmostEqual(summary["zero_gate_share"], 0.4, delta=0.04)
        self.assertGreater(summary["test_accuracy"], CHANCE + 0.4)
        self.assertGreater(summary["best_epoch"], 3)
        self.assertIn("computed by stock runtimes", printed)
        self.assertIn("no gain of time", printed)
        path = run_folder / "model.onnx"
        model = onnx.load(path)
        found = gates(model)
        self.assertEqual(len(found), 3)   # resnet8 has three blocks
        names = [name for _, name in found]
        saliencies = run(with_outputs(path, names), images(256), names)
        zeros = np.concatenate([s.reshape(256, -1) == 0 for s in saliencies], axis=1)
        self.assertEqual(zeros.shape[1], 16 + 32 + 64)
        self.assertGreater(zeros.mean(), 0.1)
        self.assertTrue((zeros.any(0) & ~zeros.all(0)).any(), "some gates must depend on the image")
        self.assertLess(summary["macs_needed"], summary["macs"])
        # The quantised files decide as the float file does.
        for export in summary["exports"]:
            self.assertGreater(export["accuracy"], summary["test_accuracy"] - 0.05)
            logits = run(run_folder / export["file"], images(256))[0]
            agree = (logits.argmax(1) == run(path, images(256))[0].argmax(1)).mean()
            self.assertGreater(agree, 0.9 if export["bits"] == 8 else 0.8, export["file"])
            quantised = [s for s in mul_inputs(run_folder / export["file"], images(256)) if s.shape[2:] == (1, 1)]
            self.assertEqual([s.shape for s in quantised], [s.shape for s in saliencies])
            for there, here in zip(quantised, saliencies):
                self.assertGreater(np.mean((there == 0) == (here == 0)), 0.9, "closed channels are exactly 0 there too")
        self.onnx_runtime_leaves_in_float_what_the_report_names(run_folder)

    def onnx_runtime_leaves_in_float_what_the_report_names(self, run_folder):
        for bits in (8, 4):
            target, optimised = self.folder / f"q{bits}.onnx", self.folder / f"o{bits}.onnx"
            command = [DS_QUANTIZE, "--model", str(run_folder / "model.onnx"), "--data", str(run_folder / "config.yaml"), "--bits", str(bits),
                       "--activation-bits", "8", "--repair", "none", "--samples", "128", "--output", str(target)]
            done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            ours = collections.Counter(op for _, op, _ in FLOAT_REASON.findall(done.stdout + done.stderr))
            run(target, images(2), optimised=optimised)
            theirs = collections.Counter(KIND.get(n.op_type, n.op_type) for n in onnx.load(optimised).graph.node)
            for op in ("Conv", "Mul", "Relu", "GlobalAveragePool", "Add", "Gemm"):
                self.assertEqual(theirs[op], ours[op], f"{op} at {bits} bits: {done.stdout}")
            self.assertEqual(theirs["QLinearMul"], 3)

    def test_a_run_killed_on_the_ramp_resumes_to_the_same_bits(self):
        options = ("data.size=2048", "ema.enabled=true", "ema.decay=0.9")   # long enough to be caught
        whole, _, _ = self.train("whole", *options)
        killed = self.start_and_kill(lambda run_folder: len(self.checkpoints(run_folder)) >= 2, *options)
        self.assertFalse((killed / "summary.json").exists(), "it was to be killed before it had finished")
        self.train("killed", *options, "--resume")
        self.assert_same_bits((whole, killed), "gating.safetensors")
        # Steered: not what it was at first, nor the same after each epoch.
        strengths = [load_file(folder / "gating.safetensors")["controller"][0] for folder in self.checkpoints(whole)]
        self.assertEqual(len(set(strengths)), len(strengths))

    def test_a_gated_file_is_trained_on_with_its_gates(self):
        first, before, _ = self.train("first", ranks=1)
        run_folder, summary, _ = self.train("second", "model.name=", f"model.onnx={first / 'model.onnx'}", "gating.share=0.6", "run.epochs=4",
                                            "gating.ramp_epochs=2", ranks=1)
        self.assertEqual(summary["parameters"], before["parameters"])
        self.assertAlmostEqual(summary["zero_gate_share"], 0.6, delta=0.05)
        self.assertEqual(len(gates(onnx.load(run_folder / "model.onnx"))), 3)

    def test_compressed_gradients_bf16_and_adamw_go_along(self):
        _, summary, _ = self.train("along", "precision.mode=bf16", "compression.method=uniform", "compression.minimum_size=100",
                                   "optimizer.name=adamw", "optimizer.learning_rate=0.01")
        self.assertAlmostEqual(summary["zero_gate_share"], 0.4, delta=0.06)
        self.assertGreater(summary["test_accuracy"], CHANCE + 0.2)

    def test_settings_that_cannot_be_are_one_clear_error_before_anything_is_trained(self):
        cases = {"(0, 1)": ["gating.share=1"],
                 "leaves no epoch": ["gating.ramp_epochs=5"],
                 "nothing to gate": ["model.name=mlp"],
                 "conv99": ["gating.keep=[conv99]"],
                 "not built for one run": ["pruning.mode=channels"],
                 "qat": ["quantization.mode=qat"],
                 "local steps": ["sync.every=4"],
                 "is for a": ["gating.mode=none", "gating.keep=[conv1]"]}
        self.assert_refused(cases)

    def test_a_checkpoint_without_gates_is_refused(self):
        self.train("plain", "gating.mode=none", "run.epochs=1", ranks=1)
        done = subprocess.run(self.command(1, "run.epochs=6", f"run.output={self.folder / 'plain'}", "--resume"), env=ENVIRONMENT,
                              capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("without gates", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
