"""ds_train with local steps: bytes, bits after kill -9, other numbers of ranks, accuracy.

    local_steps_test.py DS_TRAIN MPIRUN
"""
import json
import pathlib
import shutil
import sys
import unittest

import ds_train_test

FASHION_MNIST = [pathlib.Path("data/fashion-mnist"), pathlib.Path("/usr/share/datasets/fashion-mnist")]


class LocalSteps(ds_train_test.DsTrain):
    def summary(self, output, *options, ranks=2):
        run, text = self.train(output, *options, ranks=ranks)
        return json.loads((run / "summary.json").read_text()), text

    def files(self, run, stem):
        return sorted(path.name for path in self.newest(run).glob(f"{stem}*.safetensors"))

    def test_bytes_fall_with_the_number_of_local_steps(self):
        # 40 steps an epoch: 5 outer steps of 8.
        options = ["run.epochs=1", "data.size=1280", "compression.minimum_size=100"]
        every, text = self.summary("every", *options)
        self.assertEqual(every["local_steps"], 1)
        self.assertNotIn("local steps", text)
        for steps, method, factor in ((8, "none", 8), (8, "uniform", 8 * 6.5), (40, "none", 40)):
            with self.subTest(steps=steps, method=method):
                local, text = self.summary(f"{steps}{method}", *options, f"sync.every={steps}", f"compression.method={method}")
                self.assertEqual(local["local_steps"], steps)
                self.assertRegex(text, rf"local steps +{steps}\n")
                self.assertEqual(local["raw_bytes_per_step"], every["raw_bytes_per_step"])
                saved = every["wire_bytes_per_step"] / local["wire_bytes_per_step"]
                if method == "none":
                    # What ranks agree on beside the weights (loss scale, skipped steps) is 56 bytes.
                    self.assertAlmostEqual(saved / factor, 1, delta=0.001)
                else:
                    self.assertGreater(saved, factor)
                self.assertGreater(local["step_ms"]["exchange"], 0)
                self.assertGreater(local["step_ms"]["exchange_exposed"], 0)

    def test_a_killed_run_resumes_to_the_bits_of_one_that_never_stopped(self):
        # 6 steps an epoch: outer steps after 4 and, the epoch being over, 6.
        for name, options in {"sgd, 4 bit": ["compression.method=uniform", "compression.rounding=stochastic", "ema.enabled=true"],
                              "adamw": ["optimizer.name=adamw", "optimizer.learning_rate=0.002", "optimizer.accumulate=2"],
                              "powersgd": ["compression=powersgd", "optimizer.clip_norm=1"]}.items():
            with self.subTest(name):
                whole, killed = self.train_killed_and_resumed(*options, "sync.every=4", "sync.outer_learning_rate=0.7", "sync.outer_momentum=0.9",
                                                              "compression.minimum_size=100")
                names = ["model.safetensors", "outer.safetensors", "optimizer-0.safetensors", "optimizer-1.safetensors"]
                if "compression" in str(options):
                    names += ["residuals-0.safetensors", "residuals-1.safetensors"]
                if "ema.enabled=true" in options:
                    names.append("ema.safetensors")
                self.assert_same_bits(whole, killed, names)
                checkpoint = self.newest(whole)
                self.assertNotEqual(self.digest(checkpoint / "optimizer-0.safetensors"), self.digest(checkpoint / "optimizer-1.safetensors"))
                for run in (whole, killed):
                    shutil.rmtree(run.parent)

    def test_a_run_goes_on_with_other_ranks_and_with_or_without_local_steps(self):
        options = ["compression.method=uniform", "compression.minimum_size=100"]
        run, _ = self.train("grow", *options, "sync.every=4", "run.epochs=1", ranks=2)
        for epochs, ranks, every in ((2, 3, 4), (3, 1, 4), (4, 2, 4), (5, 2, 1), (6, 3, 4)):
            with self.subTest(epochs=epochs, ranks=ranks, every=every):
                summary, _ = self.summary("grow", *options, f"sync.every={every}", f"run.epochs={epochs}", "--resume", ranks=ranks)
                self.assertEqual((summary["epochs"], summary["world_size"], summary["local_steps"]), (epochs, ranks, every))
                local = every > 1
                self.assertEqual(self.files(run, "optimizer"),
                                 [f"optimizer-{r}.safetensors" for r in range(ranks)] if local else ["optimizer.safetensors"])
                self.assertEqual(self.files(run, "outer"), ["outer.safetensors"] if local else [])
                self.assertEqual(len(self.files(run, "residuals")), ranks)

    def test_fp16_overflow_is_skipped_and_training_goes_on(self):
        summary, _ = self.summary("half", "precision.mode=fp16", "precision.initial_scale=1e10", "precision.backoff_factor=0.001",
                                  "run.epochs=2", "model.name=mlp", "sync.every=4")
        self.assertGreater(summary["skipped_steps"], 0)
        self.assertLess(summary["loss_scale"], 1e10)

    def test_bad_input_is_one_clear_error(self):
        for arguments, fragment in ((["sync.every=0"], "sync.every"), (["sync.every=2.5"], "sync.every"),
                                    (["sync.outer_learning_rate=0"], "outer_learning_rate"),
                                    (["sync.outer_momentum=1"], "outer_momentum"),
                                    (["sync.every=2", "compression.hierarchical=true"], "compression.hierarchical")):
            with self.subTest(arguments):
                self.assertIn(fragment, self.fails(*arguments))

    @unittest.skipUnless(any(path.is_dir() for path in FASHION_MNIST), "no Fashion-MNIST on this machine")
    def test_a_slice_of_fashion_mnist_is_learned_as_well(self):
        accuracy = {}
        for every, method in ((1, "none"), (8, "uniform")):
            summary, _ = self.summary(f"fashion{every}", "data={type: idx, train_limit: 6400, test_limit: 2000, batch_size: 32}",
                                      "run.epochs=2", f"sync.every={every}", f"compression.method={method}")
            accuracy[every] = summary["final_test_accuracy"]
        print(f"final accuracy by local steps: {accuracy}", file=sys.stderr)
        self.assertGreater(accuracy[8], 0.65, "chance is 0.1")
        self.assertGreater(accuracy[8], accuracy[1] - 0.08)


def load_tests(loader, _tests, _pattern):
    """Only what stands here: the base class's tests run on their own."""
    return unittest.TestSuite(LocalSteps(name) for name in vars(LocalSteps) if name.startswith("test_"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
