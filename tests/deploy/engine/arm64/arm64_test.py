"""The engine's runtime, cross-compiled for 64-bit ARM, passes its tests under qemu-user as three processors: a Cortex-A72, which has
no dot product; a Neoverse N1, which has; and the newest that qemu knows, with products of matrices. Each takes its own kernels.
Instructions that only some have are in the one source that is compiled for them, and nothing of that source is shared with others.
Skipped (77) without the cross compiler or qemu.

    arm64_test.py SOURCE_FOLDER BINARY_FOLDER

It is built in a folder beside BINARY_FOLDER, where ccache knows the sources.
"""
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys

SOURCE, BINARY = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
NEEDED = {"aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu", "qemu-aarch64-static": "qemu-user-static"}

# Processor: the kernels that it should take, and those that ran on the one before.
PROCESSORS = {"cortex-a72": ("neon", ()),
              "neoverse-n1": ("neondot", ("scalar", "neon")),
              "max": ("neoni8mm", ("scalar", "neon", "neondot"))}

DOT, MATRIX = {"sdot", "udot"}, {"usdot", "sudot", "smmla", "ummla", "usmmla"}
# Source: what it must have of these, and what it may.
WIDE = {"kernels_neondot.cc.o": ({"sdot"}, DOT), "kernels_neoni8mm.cc.o": ({"usmmla", "usdot", "sudot"}, DOT | MATRIX)}


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], check=False, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}")
    return done.stdout


def members(tool, *options, archive):
    """What a tool of binutils says of each object of an archive, as lines."""
    lines, member = collections.defaultdict(list), None
    for line in run(f"aarch64-linux-gnu-{tool}", *options, archive, stdout=subprocess.PIPE, text=True).splitlines():
        heading = re.match(r"(\S+\.o):", line)
        if heading:
            member = heading[1]
        elif member:
            lines[member].append(line)
    return lines


def check_instructions(archive):
    """No processor meets an instruction that it lacks: neither in a source for all, nor through a function that the linker takes from
    a source for few, nor before the choice."""
    for member, lines in members("objdump", "-d", "--no-show-raw-insn", archive=archive).items():
        used = {word for line in lines for word in line.split("\t")[1:2]} & (DOT | MATRIX)
        must, may = WIDE.get(member, (set(), set()))
        if not must <= used <= may:
            sys.exit(f"{member} has the instructions {sorted(used)}; of these it must have {sorted(must)} and may have {sorted(may)}")
    symbols, sections = members("nm", "--defined-only", archive=archive), members("objdump", "-h", archive=archive)
    for member in WIDE:
        shared = [line.split(" ", 1)[1] for line in symbols[member] if re.match(r"\w+ [A-Zu] ", line)]
        if len(shared) != 1 or not re.fullmatch(r"T _ZN2ds6engine\d+Neon(Dot|I8mm)KernelsEv", shared[0]):
            sys.exit(f"{member} shares more than its table with sources for other processors: {shared}")
        if any(".init_array" in line for line in sections[member]):
            sys.exit(f"{member} runs before anybody has chosen it")


def main():
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if not pathlib.Path("/usr/src/googletest").is_dir():
        missing.append("libgtest-dev")
    if missing:
        print(f"skipped: apt-get install {' '.join(missing)}")
        sys.exit(77)
    binary = BINARY.with_name(BINARY.name + "-arm64")
    run("cmake", "-S", SOURCE, "-B", binary, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DDS_ENGINE_ONLY=ON",
        f"-DCMAKE_TOOLCHAIN_FILE={SOURCE / 'cmake/aarch64-linux-gnu.cmake'}")
    run("cmake", "--build", binary, "--parallel", "2")
    check_instructions(binary / "deploy/engine/runtime/kernels/libds_engine_kernels.a")
    for processor, (best, tested) in PROCESSORS.items():
        print(f"as {processor}:", flush=True)
        run("ctest", "--test-dir", binary, "--output-on-failure",
            env={**os.environ, "QEMU_CPU": processor, "DS_BEST_ISA": best,
                 "GTEST_FILTER": "-" + ":".join(f"*/{name}" for name in tested)})


if __name__ == "__main__":
    main()
