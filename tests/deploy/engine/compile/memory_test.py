"""What files with one shape and with several take of a machine's memory, in processes of their own.

    memory_test.py DS_EXPORT PROBE
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

DS_EXPORT, PROBE = sys.argv[1:3]
REQUESTS = 10000
MIB = 1024  # KiB


class Process:
    """A probe that has run its requests and still has the file open."""

    def __init__(self, path, requests):
        self.process = subprocess.Popen([PROBE, path, str(requests)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.figures = json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()


class Memory(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="engine_memory_")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def export(self, name, *arguments):
        path = self.folder / name
        done = subprocess.run([DS_EXPORT, "--format", "dsm", "--output", path, "--explain", *map(str, arguments)],
                              capture_output=True, text=True, check=True)
        return path, done.stdout

    def test_a_second_process_adds_its_buffers_and_two_mebibytes_at_most(self):
        path, _ = self.export("mobilenet.dsm", "--model", "zoo:mobilenet_v2", "--height", 96, "--width", 96)
        first = Process(path, 3)
        second = Process(path, 3)
        of_second = second.figures
        self.assertEqual([first.end(), second.end()], [0, 0])
        print("second process:", of_second)
        # All that is its own, from its start on: libraries' data, heap and stack included.
        self.assertLessEqual(of_second["private_kib"], of_second["buffers"] / 1024 + 2 * MIB)
        # The weights are there, nobody's own, and unchanged.
        self.assertGreater(of_second["file_rss_kib"], 4 * MIB)
        self.assertEqual(of_second["file_dirty_kib"], 0)
        self.assertEqual(of_second["file_private_kib"], 0)

    def test_random_shapes_leave_the_resident_memory_flat(self):
        path, told = self.export("resnet.dsm", "--model", "zoo:resnet8", "--height", 8, "--width", 8, "--batch", "1,2,4,3")
        self.assertEqual(len(re.findall(r"\[[0-9]+, 3, 8, 8\]: arena", told)), 4)
        probe = Process(path, REQUESTS)
        figures = probe.figures
        self.assertEqual(probe.end(), 0)
        print(f"{REQUESTS} requests:", figures)
        self.assertLessEqual(figures["rss_last_kib"], figures["rss_first_kib"] + 64)

    def test_more_shapes_store_the_weights_once(self):
        one, _ = self.export("one.dsm", "--model", "zoo:resnet20")
        four, _ = self.export("four.dsm", "--model", "zoo:resnet20", "--batch", "1,2,4,8")
        self.assertLess(four.stat().st_size, 1.05 * one.stat().st_size)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
