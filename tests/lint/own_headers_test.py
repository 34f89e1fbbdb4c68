"""Every header compiles on its own: nobody must include another one first.

A header that a source includes first has compiled on its own already; what is left is compiled here. Headers that need LibTorch
are left out, for they take minutes: --libtorch, by hand, compiles them too, behind the build's precompiled ATen/ATen.h.

    own_headers_test.py SOURCE_FOLDER BINARY_FOLDER [--libtorch]
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import compile_database

SOURCE, BINARY = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
LIBTORCH_TOO = "--libtorch" in sys.argv
LIBTORCH = re.compile(r"^(ATen|c10|torch)/")


def own_includes(path):
    for name in compile_database.included_names(path):
        for candidate in (SOURCE / name, path.parent / name):
            if candidate.is_file():
                yield candidate.resolve()
                break


def needs_libtorch(path, seen):
    """Also true of what includes, however deep, a header that does."""
    seen.add(path)
    if any(LIBTORCH.match(name) for name in compile_database.included_names(path)):
        return True
    return any(needs_libtorch(included, seen) for included in own_includes(path) if included not in seen)


def headers_with_commands():
    """Our headers, each with the command of a source that includes it, so with the folders that it is compiled with."""
    found, proven = {}, set()
    for command in compile_database.read(BINARY):
        if command.source.is_relative_to(SOURCE) and not command.source.is_relative_to(BINARY) and command.source.exists():
            own = list(own_includes(command.source))
            names = compile_database.included_names(command.source)
            # A precompiled header is forced in before everything else: such a source proves nothing.
            if own and "-include" not in command.arguments and own[0].is_relative_to(SOURCE) and str(own[0]).endswith(names[0]):
                proven.add(own[0])
            for header in own:
                found.setdefault(header, command)
    return {header: command for header, command in sorted(found.items())
            if header not in proven and (LIBTORCH_TOO or not needs_libtorch(header, set()))
            and not header.stem.endswith("_inl")}  # included in the middle of a source, by design


def compile_alone(item):
    header, command = item
    # The header is given as the main file; a command that forces another header in would hide what is missing.
    flags = command.flags()
    if not needs_libtorch(header, set()):
        flags = [flag for flag in flags if flag not in ("-include", "-Winvalid-pch", "-fpch-preprocess")
                 and not flag.endswith("cmake_pch.hxx")] + ["-O0"]
    # A launcher such as ccache cannot help here.
    while "=" in flags[0] or pathlib.Path(flags[0]).name in ("cmake", "-E", "env", "ccache"):
        flags.pop(0)
    done = subprocess.run([*flags, "-fsyntax-only", "-x", "c++", "-Wno-pragma-once-outside-header", "-Wno-error",
                           "-include", str(header), os.devnull], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"{header}:\n{done.stderr[:2000]}"


class OwnHeaders(unittest.TestCase):
    def test_each_compiles_alone(self):
        headers = headers_with_commands()
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            faults = [fault for fault in pool.map(compile_alone, headers.items()) if fault]
        print(f"{len(headers)} headers that no source includes first")
        self.assertEqual(faults, [], "include what the header uses:\n" + "\n".join(faults))

    def test_a_header_that_needs_another_is_found(self):
        command = compile_database.read(BINARY)[0]
        with tempfile.TemporaryDirectory() as name:
            needy, whole = pathlib.Path(name) / "needy.h", pathlib.Path(name) / "whole.h"
            needy.write_text("#pragma once\ninline std::string Name() { return {}; }\n")
            whole.write_text("#pragma once\n#include <string>\ninline std::string Name() { return {}; }\n")
            self.assertIsNotNone(compile_alone((needy, command)))
            self.assertIsNone(compile_alone((whole, command)))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
