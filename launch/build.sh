#!/usr/bin/env bash
# Configures and builds into build/ (Release); programs land in build/bin.
#
#   launch/build.sh                          all, with tests and benchmarks
#   launch/build.sh ds_train ds_quantize     these programs and what they need
#   launch/build.sh -DDS_BUILD_TESTS=OFF     arguments that begin with - go to cmake
#
# Other variants are the presets of CMakePresets.json.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

options=()
targets=()
for argument in "$@"; do
  case $argument in
    -*) options+=("$argument") ;;
    *) targets+=("$argument") ;;
  esac
done
[ ${#targets[@]} = 0 ] || targets=(--target "${targets[@]}")

mkdir -p build
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release ${options[@]+"${options[@]}"} >build/configure.log 2>&1 || { cat build/configure.log >&2; exit 1; }

# A compiler that reads LibTorch's headers takes up to 2 GiB: one a core, as many as fit into memory.
cores=$(nproc)
memory_gib=$(awk '/^MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
jobs=$((cores < memory_gib / 2 ? cores : memory_gib / 2))
cmake --build build --parallel "$((jobs > 0 ? jobs : 1))" ${targets[@]+"${targets[@]}"}
