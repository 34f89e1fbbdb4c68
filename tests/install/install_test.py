"""What cmake --install puts somewhere is a library for others: examples/ build against it, wherever it was moved, and run.

    install_test.py SOURCE_FOLDER BINARY_FOLDER [--edge]

--edge: the edge side alone, configured and built for it in a folder beside BINARY_FOLDER, where ccache knows the sources.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE, BINARY = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
EDGE = "--edge" in sys.argv
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "passive", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
TRAIN = """
run: {name: t, epochs: 1, threads: 1}
model: {name: tiny}
data: {type: synthetic, channels: 1, height: 12, width: 12, classes: 4, size: 64, batch_size: 16}
precision: {mode: fp32}
"""


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=ENVIRONMENT, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-6000:]}{done.stderr[-6000:]}")
    return done.stdout


def torch_folder():
    """The folder that CMakeCache.txt found LibTorch in."""
    lines = (BINARY / "CMakeCache.txt").read_text().splitlines()
    return pathlib.Path(next(line.partition("=")[2] for line in lines if line.startswith("Torch_DIR:")))


def installed_folder(binary, folder):
    """Installs, then moves everything away: nothing may know where it was installed."""
    run("cmake", "--install", binary, "--prefix", folder / "first")
    (folder / "first").rename(folder / "moved")
    return folder / "moved"


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ds_install_")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        binary = cls.edge_build() if EDGE else BINARY
        cls.prefix = installed_folder(binary, cls.folder)
        cls.examples = cls.built_examples()

    @classmethod
    def edge_build(cls):
        binary = BINARY.with_name(BINARY.name + "-edge-install")
        run("cmake", "-S", SOURCE, "-B", binary, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DDS_EDGE_ONLY=ON",
            "-DDS_BUILD_TESTS=OFF", "-DDS_BUILD_BENCH=OFF")
        run("cmake", "--build", binary, "--parallel", "2")
        return binary

    @classmethod
    def built_examples(cls):
        """examples/, and beside them one source that includes every header that was installed."""
        source, build = cls.folder / "examples", cls.folder / "build"
        source.mkdir()
        for path in filter(pathlib.Path.is_file, (SOURCE / "examples").iterdir()):
            (source / path.name).write_bytes(path.read_bytes())
        root = cls.prefix / "include/downstream"
        cls.headers = sorted(str(path.relative_to(root)) for path in root.rglob("*.h"))
        (source / "headers.cc").write_text("".join(f'#include "{name}"\n' for name in cls.headers))
        with (source / "CMakeLists.txt").open("a") as text:
            text.write(f"add_library(headers OBJECT headers.cc)\ntarget_link_libraries(headers {'ds::deploy' if EDGE else 'ds::trainer'})\n"
                       "target_compile_options(headers PRIVATE -O0)\n")
        prefixes = [cls.prefix] if EDGE else [cls.prefix, torch_folder()]
        run("cmake", "-S", source, "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={';'.join(map(str, prefixes))}")
        run("cmake", "--build", build, "--parallel", "2")
        return build

    def onnx_outputs(self, model, shape):
        try:
            import numpy as np
            import onnxruntime
        except ImportError:
            return None
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: np.zeros(shape, np.float32)})[0].shape

    def test_the_package_names_no_folder_of_the_build(self):
        files = list(self.prefix.rglob("*.cmake"))
        self.assertGreater(len(files), 3)
        for path in files:
            for name in [str(SOURCE) + "/", str(BINARY), str(self.folder), "site-packages"]:
                self.assertNotIn(name, path.read_text(), path.name)

    def test_headers_are_the_ones_that_others_may_include(self):
        self.assertIn("graph/builder.h", self.headers)
        self.assertIn("quant/ranges/observer.h", self.headers)
        self.assertEqual("trainer/mixed_precision_trainer.h" in self.headers, not EDGE)
        self.assertEqual([name for name in self.headers if name.endswith(("_inl.h", "internal.h", "/proto.h"))], [])

    def test_weights_are_quantised_without_libtorch(self):
        model, output = self.folder / "mobilenet.onnx", self.folder / "small.onnx"
        run(self.prefix / "bin/ds_export", "--model", "zoo:mobilenet_v2", "--format", "onnx", "--output", model)
        self.assertRegex(run(self.examples / "quantize_weights", model, output), r"5\d convolutions in 4 bits")
        self.assertLess(output.stat().st_size, 0.6 * model.stat().st_size)

    @unittest.skipIf(EDGE, "trains")
    def test_a_network_is_trained_and_quantised(self):
        model, output = self.folder / "lenet.onnx", self.folder / "lenet-w4.onnx"
        trained = run(self.examples / "train", model)
        self.assertGreater(float(trained.split()[-1]), 0.5, "chance is 0.25")
        self.assertIn("4 bits", run(self.examples / "quantize", model, output))
        self.assertIn(self.onnx_outputs(output, (2, 1, 28, 28)), [None, (2, 4)])

    @unittest.skipIf(EDGE, "trains")
    def test_an_installed_program_trains_a_plugins_model(self):
        (self.folder / "plugin.yaml").write_text(TRAIN)
        run(self.prefix / "bin/ds_train", "--config", "plugin.yaml", f"model.plugin={self.examples / 'libown_model.so'}",
            cwd=self.folder)
        self.assertTrue((self.folder / "runs/t/model.onnx").exists())

    def test_without_what_it_needs_the_package_says_so(self):
        if EDGE:
            self.skipTest("the edge side needs what every test needs")
        (self.folder / "asks").mkdir()
        (self.folder / "asks/CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.22)\nproject(asks LANGUAGES CXX)\n"
                                                         "find_package(Downstream REQUIRED)\n")
        with self.assertRaisesRegex(AssertionError, r"(?s)LibTorch\s+[\d.]+\s+is\s+needed.*CMAKE_PREFIX_PATH"):
            run("cmake", "-S", self.folder / "asks", "-B", self.folder / "asks-build", f"-DCMAKE_PREFIX_PATH={self.prefix}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
