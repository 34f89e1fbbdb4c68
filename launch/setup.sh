#!/usr/bin/env bash
# Installs what Downstream needs, and only what is missing: Debian packages (launch/apt-packages.txt) and, in .venv, the pinned
# Python packages (launch/requirements.txt). A second call changes nothing and takes a second.
#
# To build with your own LibTorch, configure with -DCMAKE_PREFIX_PATH=/path/to/libtorch; the wheel in .venv is then used by
# tests and benchmarks only.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

missing_packages() {
  local package
  grep -v '^#' launch/apt-packages.txt | while read -r package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

install_packages() {
  local missing sudo=""
  if ! command -v dpkg-query >/dev/null; then
    echo "setup: this is not a Debian system; install the equivalents of these packages yourself, then run again with" >&2
    echo "setup: DS_SKIP_APT=1: $(grep -v '^#' launch/apt-packages.txt | tr '\n' ' ')" >&2
    return 1
  fi
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo="sudo"; else
      echo "setup: packages are missing and this is not root. Ask an administrator for:" >&2
      echo "  apt-get install --no-install-recommends $(echo $missing)" >&2
      return 1
    fi
  fi
  if ! command -v apt-get >/dev/null; then
    echo "setup: there is no apt-get here; install these packages yourself: $(echo $missing)" >&2
    return 1
  fi
  echo "setup: installing $(echo $missing)"
  $sudo apt-get update -qq
  # shellcheck disable=SC2086
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

install_python() {
  local stamp=.venv/.downstream-requirements
  if [ ! -x .venv/bin/python3 ]; then
    python3 -m venv .venv || { echo "setup: python3 -m venv failed; install python3-venv" >&2; return 1; }
  fi
  cmp -s launch/requirements.txt "$stamp" && return 0
  echo "setup: installing Python packages into .venv"
  .venv/bin/python3 -m pip install -q --disable-pip-version-check -r launch/requirements.txt
  cp launch/requirements.txt "$stamp"
}

[ "${DS_SKIP_APT:-0}" = 1 ] || install_packages
install_python
