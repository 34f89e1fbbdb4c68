#!/bin/sh
# Compiles the codec kernels and their test for 64-bit ARM and runs them in an emulator: NEON against the scalar reference, and the
# scalar reference against the bits it makes elsewhere. The kernels need neither Abseil nor anything else of ours.
#   codec_arm64_test.sh SOURCE_FOLDER
set -eu
source=$1
compiler=aarch64-linux-gnu-g++
emulator=qemu-aarch64-static
googletest=/usr/src/googletest/googletest
for program in $compiler $emulator; do
  command -v $program >/dev/null || { echo "skipped: $program is missing (launch/setup.sh --dev)"; exit 77; }
done
[ -f $googletest/src/gtest-all.cc ] || { echo "skipped: GoogleTest's sources are missing ($googletest)"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
flags="-std=c++20 -O2 -ffp-contract=off -I$source -I$googletest/include -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers"
$compiler -std=c++17 -O1 -I$googletest -I$googletest/include -c $googletest/src/gtest-all.cc $googletest/src/gtest_main.cc
$compiler $flags -O3 -c "$source/codec/kernels_neon.cc"
$compiler $flags -c "$source/codec/kernels_scalar.cc" "$source/codec/kernels_choice.cc" "$source/base/cpu/cpu_features.cc" \
  "$source/base/random.cc" "$source/tests/codec/kernels_test.cc"
$compiler ./*.o -static -o codec_kernels_test 2>/dev/null
$emulator ./codec_kernels_test
