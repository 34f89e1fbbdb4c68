"""The edge engine alone, installed and moved, is a library for a C program: it needs the C and C++ libraries and exports its C
interface, nothing else.

    install_engine_test.py SOURCE_FOLDER BINARY_FOLDER
"""
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest

SOURCE, BINARY = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
MODEL = SOURCE / "tests/fuzz/corpus/dsm/small.dsm"
ALLOWED = re.compile(r"lib(c|m|stdc\+\+|gcc_s|pthread|asan|ubsan|tsan)\.so|ld-linux")
MOST_BYTES = 3 << 19  # 1.5 MiB


def run(*command, code=0):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout + done.stderr


class InstallEngine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ds_engine_")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        run("cmake", "--install", BINARY, "--component", "engine", "--prefix", cls.folder / "first")
        cls.prefix = cls.folder / "moved"
        (cls.folder / "first").rename(cls.prefix)
        cls.library = next(path for path in cls.prefix.rglob("libds_engine.so.*") if not path.is_symlink())
        run("cmake", "-S", SOURCE / "examples/engine", "-B", cls.folder / "build", f"-DCMAKE_PREFIX_PATH={cls.prefix}")
        run("cmake", "--build", cls.folder / "build")
        cls.classify = cls.folder / "build/classify"

    def test_only_the_engine_is_installed(self):
        names = {path.name for path in self.prefix.rglob("*") if path.is_file()}
        unexpected = {name for name in names if not re.match(r"libds_engine\.so|ds_engine\.h$|DownstreamEngine", name)}
        self.assertEqual(unexpected, set())

    def test_it_needs_the_language_libraries_alone(self):
        needed = re.findall(r"NEEDED.*\[(.+)\]", run("readelf", "-d", self.library))
        self.assertTrue(needed)
        self.assertEqual([name for name in needed if not ALLOWED.match(name)], [])

    def test_it_exports_its_interface_alone(self):
        names = re.findall(r" T (\S+)", run("nm", "-D", "--defined-only", self.library))
        header = next(self.prefix.rglob("ds_engine.h")).read_text(encoding="utf-8")
        self.assertEqual(set(names), set(re.findall(r"\b(ds_engine_\w+)\(", header)))

    def test_it_is_small(self):
        stripped = self.folder / "stripped.so"
        run("strip", "-o", stripped, self.library)
        self.assertLess(stripped.stat().st_size, MOST_BYTES)

    def test_a_c_program_classifies(self):
        values = self.folder / "input.f32"
        values.write_bytes(struct.pack("<108f", *(0.01 * i for i in range(108))))
        self.assertRegex(run(self.classify, MODEL, values), r"class [0-4], score -?[0-9.]+")

    def test_it_says_what_is_wrong_with_a_file(self):
        broken = self.folder / "broken.dsm"
        broken.write_bytes(MODEL.read_bytes()[:-1])
        self.assertIn("cut off", run(self.classify, broken, MODEL, code=1))
        self.assertIn("No such file", run(self.classify, self.folder / "none.dsm", MODEL, code=1))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
