"""Every C++ and CUDA source is as clang-format leaves it, and no line is longer than .clang-format allows.

clang-format does not break what it cannot (a long word, a comment without blanks), so lines are measured too. Another
version lays code out differently: it must be the one that launch/packages/apt-test.txt installs. Where there is none the
test is skipped, except under CI, which has to install it.

    format_test.py SOURCE_FOLDER
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import source_tree

SOURCE = pathlib.Path(sys.argv[1]).resolve()
VERSION = "14"  # Debian 12's
COLUMNS = int(re.search(r"^ColumnLimit: (\d+)$", (SOURCE / ".clang-format").read_text(), re.MULTILINE)[1])
FILES_A_CALL = 40


def clang_format():
    """Its path, or None and why."""
    for name in (f"clang-format-{VERSION}", "clang-format"):
        path = shutil.which(name)
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout if path else ""
        if re.search(rf"version {VERSION}\.", version):
            return path, None
    return None, f"clang-format {VERSION} is not installed ({version.strip() or 'none is'}): run launch/setup.sh --test"


def layout_faults(program, paths):
    def check(some):
        done = subprocess.run([program, f"--style=file:{SOURCE / '.clang-format'}", "--dry-run", "-Werror", *map(str, some)],
                              capture_output=True, text=True, check=False)
        return [] if done.returncode == 0 else [line for line in done.stderr.splitlines() if ": error:" in line] or [done.stderr]

    groups = [paths[start:start + FILES_A_CALL] for start in range(0, len(paths), FILES_A_CALL)]
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return [fault for faults in pool.map(check, groups) for fault in faults]


def long_lines(path):
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if len(line) > COLUMNS:
            yield f"{path}:{number}: {len(line)} columns, more than {COLUMNS}"


class Format(unittest.TestCase):
    def test_sources_are_as_clang_format_leaves_them(self):
        paths = sorted(source_tree.cpp_files(SOURCE))
        self.assertGreater(len(paths), 50, "hardly any source was found")
        found = layout_faults(PROGRAM, paths)
        self.assertEqual(found, [], "run clang-format -i on these:\n" + "\n".join(found))

    def test_no_line_is_too_long(self):
        found = [fault for path in sorted(source_tree.cpp_files(SOURCE)) for fault in long_lines(path)]
        self.assertEqual(found, [], "\n".join(found))

    def test_finds_what_it_looks_for(self):
        with tempfile.TemporaryDirectory() as name:
            good, bad, wide = (pathlib.Path(name) / file for file in ("good.cc", "bad.cc", "wide.cu"))
            good.write_text("int One() { return 1; }\n")
            bad.write_text("int One( ) {return 1;}\n")
            wide.write_text("// " + "w" * COLUMNS + "\n")
            self.assertEqual(layout_faults(PROGRAM, [good]), [])
            self.assertTrue(layout_faults(PROGRAM, [good, bad]))
            self.assertEqual(len(list(long_lines(wide))), 1)
            self.assertEqual(list(long_lines(good)), [])


if __name__ == "__main__":
    PROGRAM, missing = clang_format()
    if missing and not os.environ.get("CI"):
        print(f"SKIPPED: {missing}")
        sys.exit(77)
    if missing:
        sys.exit(missing)
    unittest.main(argv=sys.argv[:1], verbosity=2)
