"""ds_run as a user runs it: what it says of a network is what ONNX Runtime computes from the same samples.

    ds_run_test.py DS_EXPORT DS_RUN DS_BENCH
"""
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

import numpy as np
import onnxruntime

DS_EXPORT, DS_RUN, DS_BENCH = sys.argv[1:4]
SIDE, CLASSES, SAMPLES, WRONG = 32, 7, 50, 15
MEAN, STDDEV = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def run(*command, code=0):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def png(pixels):
    """[H, W, 3] bytes as a PNG."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class DsRun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ds_run_")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.onnx = cls.export("model.onnx", "--format", "onnx")
        cls.session = onnxruntime.InferenceSession(str(cls.onnx), providers=["CPUExecutionProvider"])
        cls.name = cls.session.get_inputs()[0].name
        cls.images = np.random.default_rng(3).standard_normal((SAMPLES, 3, SIDE, SIDE)).astype(np.float32)
        cls.scores = cls.session.run(None, {cls.name: cls.images})[0]
        labels = cls.scores.argmax(1)
        labels[:WRONG] = cls.scores[:WRONG].argmin(1)  # beyond the first five of seven
        cls.yaml = cls.data("right", labels)

    @classmethod
    def export(cls, output, *arguments, model="zoo:resnet8"):
        zoo = ("--height", SIDE, "--width", SIDE, "--classes", CLASSES) if model.startswith("zoo") else ()
        run(DS_EXPORT, "--model", model, *zoo, "--output", cls.folder / output, *arguments)
        return cls.folder / output

    @classmethod
    def data(cls, name, labels):
        for split in ("train", "test"):
            path = cls.folder / name / split
            path.mkdir(parents=True)
            np.save(path / f"{cls.name}.npy", cls.images)
            np.save(path / "labels.npy", labels.astype(np.int64))
        yaml = cls.folder / f"{name}.yaml"
        yaml.write_text(f"data: {{type: tensors, path: {cls.folder / name}}}\n")
        return yaml

    def scored(self, dsm, *arguments):
        return json.loads(run(DS_RUN, "--model", dsm, "--data", self.yaml, "--format", "json", *arguments))

    def test_it_counts_what_onnx_runtime_gives(self):
        for batch in (1, 3, 50, 64):  # 50 samples: the last batch of 3 and of 64 is not full
            dsm = self.export(f"batch{batch}.dsm", "--format", "dsm", "--batch", batch, model=str(self.onnx))
            for arguments in ((), ("--threads", 2), ("--isa", "scalar")):
                with self.subTest(batch=batch, arguments=arguments):
                    score = self.scored(dsm, *arguments)
                    self.assertEqual(score["samples"], SAMPLES)
                    self.assertAlmostEqual(score["accuracy"], 100 * (SAMPLES - WRONG) / SAMPLES, places=2)
                    self.assertAlmostEqual(score["top5"], 100 * (SAMPLES - WRONG) / SAMPLES, places=2)
        self.assertEqual(self.scored(dsm, "--limit", 20)["samples"], 20)

    def test_the_last_samples_run_in_the_batch_that_holds_them(self):
        dsm = self.export("batches.dsm", "--format", "dsm", "--batch", "16,1,4", model=str(self.onnx))
        for arguments in ((), ("--batch", 4), ("--batch", 1)):  # 50 = 3 * 16 + 2 = 12 * 4 + 2
            with self.subTest(arguments=arguments):
                score = self.scored(dsm, *arguments)
                self.assertEqual(score["samples"], SAMPLES)
                self.assertAlmostEqual(score["accuracy"], 100 * (SAMPLES - WRONG) / SAMPLES, places=2)
        picture = self.folder / "batches.png"
        picture.write_bytes(png(np.zeros((SIDE, SIDE, 3), np.uint8)))
        self.assertEqual(len(run(DS_RUN, "--model", dsm, "--image", picture, "--top", 2).strip().split("\n")), 2)
        there = f"{self.name} [16, 3, {SIDE}, {SIDE}]; {self.name} [1, 3, {SIDE}, {SIDE}]"
        for command in ((DS_RUN, "--model", dsm, "--data", self.yaml, "--batch", 3), (DS_BENCH, "--model", dsm, "--batch", 3),
                        (DS_BENCH, "--model", dsm, "--shape", f"2x3x{SIDE}x{SIDE}")):
            self.assertIn(there, run(*command, code=1))
        macs = [json.loads(run(DS_BENCH, "--model", dsm, "--runs", 2, "--format", "json", *batch))["macs"]
                for batch in (("--batch", 1), ("--batch", 4), ("--shape", f"16x3x{SIDE}x{SIDE}"), ())]
        self.assertEqual(macs, [macs[0] * n for n in (1, 4, 16, 16)])

    def test_a_picture_gets_the_scores_that_onnx_runtime_gives(self):
        pixels = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        picture, yaml = self.folder / "picture.png", self.folder / "picture.yaml"
        picture.write_bytes(png(pixels))
        yaml.write_text(f"data: {{type: synthetic, mean: {MEAN}, stddev: {STDDEV}}}\n")
        image = ((pixels / 255 - MEAN) / STDDEV).transpose(2, 0, 1)[None].astype(np.float32)
        expected = self.session.run(None, {self.name: image})[0][0]
        dsm = self.export("picture.dsm", "--format", "dsm", model=str(self.onnx))
        lines = run(DS_RUN, "--model", dsm, "--data", yaml, "--image", picture, "--top", 3).split("\n")[:3]
        order = np.argsort(-expected)[:3]
        self.assertEqual([int(line.split()[0]) for line in lines], list(order))
        np.testing.assert_allclose([float(line.split()[1]) for line in lines], expected[order], rtol=1e-4)

    def test_ds_bench_says_all_that_it_measures_in_each_format(self):
        dsm = self.export("bench.dsm", "--format", "dsm", model=str(self.onnx))
        figures = json.loads(run(DS_BENCH, "--model", dsm, "--runs", 5, "--format", "json", "--profile"))
        self.assertEqual(figures["file_bytes"], dsm.stat().st_size)
        self.assertGreaterEqual(figures["arena_bytes"], figures["arena_bound_bytes"])
        self.assertGreater(figures["unplanned_bytes"], figures["arena_bytes"])
        self.assertTrue(all(figures[name] > 0 for name in ("load_ms", "first_ms", "median_ms", "p99_ms", "rss_mib", "macs")))
        self.assertGreater(sum(op["macs"] for op in figures["operators"]), 0.9 * figures["macs"])
        names, values = run(DS_BENCH, "--model", dsm, "--runs", 5, "--format", "csv").strip().split("\n")
        self.assertEqual(len(names.split(",")), len(values.split(",")))
        self.assertLessEqual({"median_ms", "p99_ms", "load_ms", "arena_bytes"}, set(names.split(",")))
        table = run(DS_BENCH, "--model", dsm, "--runs", 5, "--profile")
        self.assertRegex(table, r"median_ms +[0-9.]+\n")
        self.assertRegex(table, r"(?m)^ +[0-9.]+ +[0-9.]+% +[0-9.]+ +[0-9.]+%  conv_f32 ")

    def test_ds_bench_says_each_operators_share_of_the_peak(self):
        dsm = self.export("peak.dsm", "--format", "dsm", model=str(self.onnx))
        figures = json.loads(run(DS_BENCH, "--model", dsm, "--runs", 5, "--format", "json", "--profile"))
        for op in figures["operators"]:
            if op["macs"] > 0 and figures["peak_fp32_gmacs"] > 0:
                self.assertAlmostEqual(op["peak_share"], op["gmacs"] / figures["peak_fp32_gmacs"], delta=0.02)
                self.assertGreater(op["peak_share"], 0)
        if figures["isa"] != "scalar":
            self.assertGreater(figures["peak_int8_gmacs"], figures["peak_fp32_gmacs"])

    def test_a_second_process_adds_its_buffers_and_little_else(self):
        dsm = self.export("second.dsm", "--format", "dsm", model=str(self.onnx))
        figures = json.loads(run(DS_BENCH, "--model", dsm, "--runs", 5, "--format", "json", "--second-process"))
        if figures["second_pss_mib"] == 0:
            self.skipTest("the kernel does not say what memory is private (smaps_rollup)")
        # What a run has not touched is not resident.
        self.assertGreater(figures["second_private_mib"], 0.25 * figures["buffer_bytes"] / 2**20)
        self.assertLess(figures["second_private_mib"], figures["buffer_bytes"] / 2**20 + 2)

    def test_ds_bench_runs_other_runtimes_in_turns(self):
        dsm = self.export("vs.dsm", "--format", "dsm", model=str(self.onnx))
        command = (DS_BENCH, "--model", dsm, "--runs", 5, "--vs", "onnxruntime", "--onnx", self.onnx, "--python", sys.executable, "--rounds", 1)
        figures = json.loads(run(*command, "--format", "json"))
        engine, rival = figures["runtimes"]
        self.assertEqual([engine["runtime"], rival["runtime"]], ["engine", "onnxruntime"])
        self.assertEqual(engine["ratio"], 1)
        self.assertAlmostEqual(rival["ratio"], rival["median_ms"] / engine["median_ms"], delta=0.1 * rival["ratio"])
        self.assertTrue(all(row[name] > 0 for row in (engine, rival) for name in ("median_ms", "p99_ms", "first_ms", "load_ms")))
        self.assertRegex(run(*command), r"(?m)^onnxruntime +[0-9.]+ +[0-9.]+ ")
        blocks = run(*command, "--format", "csv", "--profile").strip().split("\n\n")
        self.assertEqual([block.split(",")[0] for block in blocks], ["model", "name", "runtime"])
        for expected, more in (("litert needs the network's file: give --tflite", ("--vs", "litert")),
                               ("'no-such-python' failed: No such file", ("--vs", "onnxruntime", "--onnx", self.onnx, "--python", "no-such-python")),
                               ("onnxruntime: ", ("--vs", "onnxruntime", "--onnx", dsm, "--python", sys.executable))):
            with self.subTest(expected):
                self.assertIn(expected, run(DS_BENCH, "--model", dsm, "--runs", 2, *more, code=1))

    def test_what_does_not_go_together_is_said(self):
        dsm = self.export("errors.dsm", "--format", "dsm", model=str(self.onnx))
        labels = np.full(SAMPLES, CLASSES)
        beyond = self.data("beyond", labels)
        for expected, command in (
                (f"label {CLASSES}, the model's classes are 0 to {CLASSES - 1}", (DS_RUN, "--model", dsm, "--data", beyond)),
                ("give --data", (DS_RUN, "--model", dsm)),
                ("this is no .dsm file", (DS_RUN, "--model", self.onnx, "--data", self.yaml)),
                ("'mmx' was asked for", (DS_BENCH, "--model", dsm, "--isa", "mmx")),
                ("No such file", (DS_RUN, "--model", dsm, "--image", self.folder / "none.png"))):
            with self.subTest(expected):
                self.assertIn(expected, run(*command, code=1))
        small = self.folder / "small"
        for split in ("train", "test"):
            (small / split).mkdir(parents=True)
            np.save(small / split / f"{self.name}.npy", self.images[:, :, :16])
            np.save(small / split / "labels.npy", np.zeros(SAMPLES, np.int64))
        output = run(DS_RUN, "--model", dsm, "--data", self.yaml, f"data.path={small}", code=1)
        self.assertRegex(output, re.escape(f"'{self.name}' of the model is [1, 3, {SIDE}, {SIDE}]"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
