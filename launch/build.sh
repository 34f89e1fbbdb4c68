#!/usr/bin/env bash
# Configures and builds into build/ (Release). Further arguments go to cmake. Other variants: the presets in CMakePresets.json.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release "$@" >build-configure.log 2>&1 || { cat build-configure.log; exit 1; }
rm -f build-configure.log
# Two compilers at once per 4 GiB would be too many for LibTorch's headers on small machines: one a core, at most memory / 2 GiB.
cores=$(nproc)
memory_gib=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
jobs=$((cores < memory_gib / 2 ? cores : memory_gib / 2))
cmake --build build --parallel "$((jobs > 0 ? jobs : 1))"
