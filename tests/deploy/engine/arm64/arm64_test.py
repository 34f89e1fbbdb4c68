"""The engine's runtime, cross-compiled for 64-bit ARM, passes its tests under qemu-user: as a Cortex-A72, which has no dot product,
and as the newest processor that qemu knows. Skipped (77) without the cross compiler or qemu.

    arm64_test.py SOURCE_FOLDER BINARY_FOLDER

It is built in a folder beside BINARY_FOLDER, where ccache knows the sources.
"""
import os
import pathlib
import shutil
import subprocess
import sys

SOURCE, BINARY = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
NEEDED = {"aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu", "qemu-aarch64-static": "qemu-user-static"}


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], check=False, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}")


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
    for processor in ("cortex-a72", "max"):
        print(f"as {processor}:", flush=True)
        run("ctest", "--test-dir", binary, "--output-on-failure", env={**os.environ, "QEMU_CPU": processor})


if __name__ == "__main__":
    main()
