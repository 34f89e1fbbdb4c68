"""No product code reads the wall clock, or waits by it: a step of the clock would end waits, or make them endless.

    wall_clock_test.py SOURCE_FOLDER

Time is base/clock.h's. absl's own timed waits (CondVar::WaitWithTimeout and its kin) count by the wall clock, so they are out too:
wait with std::condition_variable::wait_until on a Deadline's Moment.
"""
import pathlib
import re
import sys
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
NOT_PRODUCT = {"tests", "bench", "examples", "docs", "build", ".venv", "runs"}
# Dates that people read, and those of certificates.
ALLOWED = {"report/tensorboard.cc", "federated/pki/wall_time.cc"}
WALL = re.compile(r"absl::(Now|GetCurrentTimeNanos)\(|\bsystem_clock\b|\bhigh_resolution_clock\b|\bgettimeofday\(|\bCLOCK_REALTIME\b"
                  r"|\btime\((nullptr|NULL|0|&\w+)\)|\b(WaitWith|AwaitWith|LockWhenWith|ReaderLockWhenWith|WriterLockWhenWith)(Timeout|Deadline)\(")


def without_comments(text):
    """The code, with line breaks where they were."""
    text = re.sub(r"/\*.*?\*/", lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL)
    return re.sub(r"//[^\n]*", "", text)


def faults(text):
    code = without_comments(text)
    return [(code.count("\n", 0, match.start()) + 1, match[0]) for match in WALL.finditer(code)]


def sources():
    for path in sorted(SOURCE.rglob("*")):
        parts = path.relative_to(SOURCE).parts
        if path.suffix in (".h", ".cc", ".cu") and parts[0] not in NOT_PRODUCT and not parts[0].startswith("build"):
            yield path


class WallClock(unittest.TestCase):
    def test_no_product_code_waits_by_it(self):
        paths = list(sources())
        self.assertGreater(len(paths), 50, "hardly any source was found")
        found = [f"{path.relative_to(SOURCE)}:{line}: {match} (use base/clock.h)" for path in paths
                 if str(path.relative_to(SOURCE)) not in ALLOWED for line, match in faults(path.read_text(encoding="utf-8"))]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_finds_what_it_looks_for(self):
        for text in ["deadline = absl::Now() + timeout;", "std::chrono::system_clock::now()", "time(nullptr)", "changed.WaitWithTimeout(&m, d)",
                     "clock_gettime(CLOCK_REALTIME, &t)", "mutex.AwaitWithDeadline(c, t)"]:
            self.assertTrue(faults(text), text)
        for text in ["// absl::Now() is for dates", "SteadyTime()", "/* system_clock */", "wall_time(1)", "runtime(nullptr_t)"]:
            self.assertFalse(faults(text), text)
        self.assertEqual(faults("a\n/* b\n */ c\nabsl::Now()"), [(4, "absl::Now(")])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
