#!/usr/bin/env bash
# Installs what Downstream needs, and only what is missing. A second call changes nothing and takes a second.
#
#   launch/setup.sh          Debian packages of launch/packages/apt.txt, Python packages of launch/packages/python.txt in .venv
#   launch/setup.sh --test   also launch/packages/apt-test.txt and launch/packages/python-test.txt: lints, oracles, rivals
#   launch/setup.sh --dev    also launch/packages/apt-dev.txt: fuzzing, clang-tidy, cross-compilers
#
# DS_SKIP_APT=1 leaves the Debian packages to you. Where CMAKE_PREFIX_PATH (environment) holds a LibTorch, that one is built
# against and pip's torch is not installed. pip downloads from wherever your pip is configured to.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "setup: $*" >&2; }

# The entries of list files, without comments.
entries() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$@"; }

one_line() { tr '\n' ' '; }

missing_packages() {
  local installed
  # dpkg-query fails where one of the names is unknown, and still lists the others. The ${} is its own.
  # shellcheck disable=SC2016
  installed=$(entries "$@" | xargs dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p' || true)
  comm -23 <(entries "$@" | sort) <(sort <<<"$installed")
}

# How to become root, as a prefix; fails where there is no way.
root_prefix() {
  if [ "$(id -u)" = 0 ]; then return 0; fi
  command -v sudo >/dev/null || return 1
  if sudo -n true 2>/dev/null; then echo "sudo -n"; return 0; fi
  # A password can be asked for only where somebody is there to type it.
  [ -t 0 ] && [ -t 2 ] && echo "sudo"
}

install_debian_packages() {
  local missing prefix
  if command -v dpkg-query >/dev/null; then
    missing=$(missing_packages "$@" | one_line)
  else
    missing=$(entries "$@" | one_line)
  fi
  [ -n "$missing" ] || return 0
  if ! command -v apt-get >/dev/null; then
    say "there is no apt-get here, so nothing can be installed. Install what these Debian packages hold:"
    say "  $missing"
    say "then run again with DS_SKIP_APT=1 in the environment."
    return 1
  fi
  if ! prefix=$(root_prefix); then
    say "Debian packages are missing and this user is neither root nor has sudo. Have an administrator run:"
    say "  apt-get update && apt-get install --no-install-recommends $missing"
    say "then run again."
    return 1
  fi
  say "installing Debian packages: $missing"
  # shellcheck disable=SC2086  # both are lists of words
  if ! { $prefix apt-get update -qq &&
    $prefix env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null </dev/null; }; then
    say "apt-get failed (its words are above). Is the network up? Install by hand: apt-get install --no-install-recommends $missing"
    return 1
  fi
}

# The folder of a LibTorch in CMAKE_PREFIX_PATH, if there is one.
own_libtorch() {
  local folder
  while IFS= read -r -d ':' folder; do
    if [ -f "$folder/share/cmake/Torch/TorchConfig.cmake" ]; then echo "$folder"; return 0; fi
  done <<<"${CMAKE_PREFIX_PATH:-}:"
  return 1
}

make_virtual_environment() {
  .venv/bin/python3 -m pip --version >/dev/null 2>&1 && return 0
  command -v python3 >/dev/null || { say "python3 is missing: apt-get install python3 python3-venv"; return 1; }
  python3 -m venv --clear .venv || { say "python3 -m venv failed (its words are above): apt-get install python3-venv"; return 1; }
}

# pip_install STAMP ARGUMENTS...: does nothing where the last success in STAMP was with the same requirements (stdin).
pip_install() {
  local stamp=$1 wanted
  shift
  wanted=$(cat)
  [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "installing into .venv: $(one_line <<<"$wanted")"
  .venv/bin/python3 -m pip install -q --disable-pip-version-check --no-input "$@" -r /dev/stdin <<<"$wanted" || return 1
  printf '%s\n' "$wanted" >"$stamp"
}

install_python_packages() {
  local libtorch
  make_virtual_environment
  if libtorch=$(own_libtorch); then
    say "building against the LibTorch in $libtorch, so pip's torch is not installed. The tests and benchmarks that compare"
    say "with PyTorch want it all the same: .venv/bin/python3 -m pip install $(entries launch/packages/python.txt | grep '^torch==')"
    entries launch/packages/python.txt | grep -v '^torch=='
  else
    entries launch/packages/python.txt
  fi | pip_install .venv/.downstream-requirements || {
    say "pip failed (its words are above). What is needed is in launch/packages/python.txt"
    return 1
  }
}

install_test_packages() {
  entries launch/packages/python-test.txt | pip_install .venv/.downstream-requirements-test || {
    say "pip failed (its words are above). What is needed is in launch/packages/python-test.txt"
    return 1
  }
}

# NCCL is 300 MB: only where it can be compiled against (a CUDA toolkit) and something here would include it.
install_nccl() {
  local cuda=${CUDA_HOME:-/usr/local/cuda}
  [ -f "$cuda/include/cuda_runtime.h" ] && grep -qs '^#include [<"]nccl.h[>"]' comm/nccl/*.cc comm/nccl/*.h || return 0
  entries launch/packages/python-nccl.txt | pip_install .venv/.downstream-requirements-nccl --no-deps ||
    say "NCCL could not be installed; the NCCL backend will be left out of the build"
}

lists=(launch/packages/apt.txt)
tests=yes
case "${1:-}" in
  "") tests= ;;
  --test) lists+=(launch/packages/apt-test.txt) ;;
  --dev) lists+=(launch/packages/apt-test.txt launch/packages/apt-dev.txt) ;;
  *) say "unknown argument '$1'; usage: launch/setup.sh [--test|--dev]"; exit 2 ;;
esac
[ "${DS_SKIP_APT:-0}" = 1 ] || install_debian_packages "${lists[@]}"
install_python_packages
[ -z "$tests" ] || install_test_packages
install_nccl
