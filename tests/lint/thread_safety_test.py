"""Locks are ds::Mutex (base/mutex.h), what they guard says so, and Clang finds no access without the lock.

Sources that see a lock are compiled by Clang, which alone checks such rules, with -Wthread-safety. Those are the sources that
include base/mutex.h, themselves or through a header that they include: the members in question are private to them.

    thread_safety_test.py SOURCE_FOLDER BINARY_FOLDER
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

import compile_database
import source_tree

SOURCE, BINARY = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
LOCK = "base/mutex.h"
NOT_PRODUCT = {"tests", "bench", "examples"}
STANDARD_LOCK = re.compile(r"\bstd::(recursive_|shared_|timed_)*(mutex|condition_variable(_any)?|lock_guard|unique_lock|scoped_lock)\b"
                           r"|\babsl::(Mutex|MutexLock|CondVar)\b")
LOCK_MEMBER = re.compile(r"^\s*(?:mutable |static )*(?:ds::)?Mutex (\w+);", re.MULTILINE)
# Said where the compiler does not read it.
COMMENT = re.compile(r"//.*\bguarded by\b", re.IGNORECASE)
# GCC's own, and what would force a header compiled by GCC in.
NOT_CLANGS = re.compile(r"-fpch-preprocess|-Winvalid-pch|-fno-gnu-unique|-Wno-maybe-uninitialized|-include|.*cmake_pch\.hxx|-Werror.*|-O\d|-g\d?")


def product_files():
    return [path for path in source_tree.cpp_files(SOURCE) if path.relative_to(SOURCE).parts[0] not in NOT_PRODUCT]


def text_faults(text):
    """Locks that Clang cannot check, or has nothing to check of."""
    code = re.sub(r"//.*", "", text)
    for match in STANDARD_LOCK.finditer(code):
        yield f"{match[0]}: use the locks of {LOCK}, which Clang checks"
    for match in LOCK_MEMBER.finditer(code):
        if not re.search(rf"ABSL_(PT_)?GUARDED_BY\((\w+(\.|->))?{match[1]}\)", code):
            yield f"{match[1]} guards nothing: mark what it guards with ABSL_GUARDED_BY({match[1]})"
    for match in COMMENT.finditer(text):
        yield f"'{match[0].strip()}' is a comment: say it with ABSL_GUARDED_BY"


def sees_a_lock(source):
    names = compile_database.included_names(source)
    return LOCK in names or any(LOCK in compile_database.included_names(SOURCE / name)
                                for name in names if (SOURCE / name).is_file())


def clang_faults(clang, flags, source):
    kept = [flag for flag in flags if not NOT_CLANGS.fullmatch(flag)]
    while "=" in kept[0] or pathlib.Path(kept[0]).name in ("cmake", "-E", "env", "ccache"):
        kept.pop(0)
    done = subprocess.run([clang, *kept[1:], "-fsyntax-only", "-Wno-everything", "-Wthread-safety", "-Werror=thread-safety", str(source)],
                          capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"{source}:\n{done.stderr[:3000]}"


class ThreadSafety(unittest.TestCase):
    def test_locks_are_ones_that_clang_checks(self):
        found = [f"{path.relative_to(SOURCE)}: {fault}" for path in product_files() if path != SOURCE / LOCK
                 for fault in text_faults(path.read_text())]
        self.assertEqual(found, [], "\n".join(found))

    def test_no_access_without_the_lock(self):
        product = set(product_files())
        commands = {command.source: command for command in compile_database.read(BINARY) if command.source in product}
        checked = [command for command in commands.values() if sees_a_lock(command.source)]
        self.assertTrue(checked, f"no source includes {LOCK}")
        with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            found = [fault for fault in pool.map(lambda command: clang_faults(CLANG, command.flags(), command.source), checked) if fault]
        print(f"{len(checked)} sources that see a lock: " + ", ".join(str(c.source.relative_to(SOURCE)) for c in checked))
        self.assertEqual(found, [], "\n".join(found))

    def test_finds_what_it_looks_for(self):
        for text in ["std::mutex mutex_;", "absl::Mutex mutex_;", "Mutex mutex_;\nint count_;", "int count_;  // guarded by mutex_"]:
            self.assertTrue(list(text_faults(text)), text)
        self.assertEqual(list(text_faults("Mutex mutex_;\nint count_ ABSL_GUARDED_BY(mutex_);  // not std::mutex")), [])

    def test_an_access_without_the_lock_is_found(self):
        begin = f'#include "{LOCK}"\nclass Counter {{\n public:\n  int Add() {{ '
        end = " }\n private:\n  ds::Mutex mutex_;\n  int count_ ABSL_GUARDED_BY(mutex_) = 0;\n};\nint Use(Counter& c) { return c.Add(); }\n"
        bodies = {"ds::MutexLock lock(mutex_); return ++count_;": False, "return ++count_;": True,
                  "ds::MutexLock lock(mutex_); { ds::MutexUnlock open(mutex_); } return ++count_;": False,
                  "ds::MutexLock lock(mutex_); { ds::MutexUnlock open(mutex_); return ++count_; }": True,
                  "mutex_.Lock(); return ++count_;": True}
        with tempfile.TemporaryDirectory() as name:
            source = pathlib.Path(name) / "counter.cc"
            for body, wrong in bodies.items():
                source.write_text(begin + body + end)
                fault = clang_faults(CLANG, ["c++", "-std=c++20", f"-I{SOURCE}"], source)
                self.assertEqual(bool(fault), wrong, f"{body}\n{fault}")
                self.assertTrue(fault is None or "thread-safety" in fault, fault)


if __name__ == "__main__":
    CLANG = shutil.which("clang++") or shutil.which("clang++-14")
    if not CLANG:
        missing = "clang++ is not installed: run launch/setup.sh --test"
        if os.environ.get("CI"):
            sys.exit(missing)
        print(f"SKIPPED: {missing}")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)
