#!/usr/bin/env bash
# Makes a virtual environment if there is none and installs this checkout into it.
#   scripts/setup_venv.sh VENV REQUIREMENT       (for example: .venv '.[dev]')
# PYTHON=/path/to/python picks the interpreter; any of 3.11, 3.12, 3.13 will do.
set -euo pipefail

venv=$1
requirement=$2
python=$venv/bin/python

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# mujoco 3.3.0, which metaworld 3.1.1 asks for, has wheels up to Python 3.13.
suitable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
    >/dev/null 2>&1; }

find_python() {
    if [[ -n ${PYTHON:-} ]]; then
        suitable "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13" \
            "($("$PYTHON" --version 2>&1 | head -n 1))"
        echo "$PYTHON"
        return
    fi
    local candidate
    for candidate in python3.11 python3 python3.12 python3.13 python; do
        if suitable "$candidate"; then echo "$candidate"; return; fi
    done
    die "pushcut needs Python 3.11, 3.12 or 3.13; python3 here is" \
        "$(python3 --version 2>&1 || echo missing)." \
        "Install one (Debian: apt-get install python3.11 python3.11-venv) or say" \
        "make PYTHON=/path/to/python3.11 ..."
}

make_venv() {
    local base
    base=$(find_python)
    say "making $venv with $("$base" --version 2>&1)"
    if "$base" -c 'import venv; from ensurepip import bootstrap' >/dev/null 2>&1; then
        "$base" -m venv "$venv" || die "cannot make a virtual environment in $venv"
        return
    fi
    # Debian keeps ensurepip in python3-venv; a pip that is there can do its work.
    local advice="cannot make a virtual environment; Debian: apt-get install python3-venv"
    "$base" -m venv --without-pip "$venv" || die "$advice"
    "$base" -m pip --python "$python" install -q pip || die "$advice"
}

# pip, telling the packages that take long; warnings and errors come through as they are.
pip_install() {
    "$python" -m pip install --disable-pip-version-check --progress-bar off "$@" \
        | sed -u -n -E \
            -e 's/^ *Downloading (.*\/)?([^ /]+\.whl).*(\([0-9.]+ [MG]B\))$/    \2 \3/p' \
            -e 's/^Installing collected packages.*/    unpacking them all/p'
}

# On Linux the usual torch brings several GB of CUDA along, which a machine without a GPU never
# uses. The CPU build is a convenience: whatever goes wrong here, the normal install does the work.
cpu_torch_first() {
    [[ $(uname -s) == Linux && ! -e /dev/nvidiactl && ! -e /dev/dxg ]] || return 0
    "$python" -c 'import torch' >/dev/null 2>&1 && return 0
    local torch
    torch=$("$python" -c 'import tomllib
wanted = tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]
print(next(name for name in wanted if name.startswith("torch>")))')
    say "no GPU here: trying for the CPU build of $torch (about 200 MB)"
    pip_install --retries 0 --timeout 15 --index-url https://download.pytorch.org/whl/cpu \
        "$torch" 2>/dev/null || say "its index cannot be reached; taking the usual build"
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! "$python" -c 'import pip' >/dev/null 2>&1; then make_venv; fi
cpu_torch_first
say "installing pushcut ($requirement) into $venv: 1 to 5 minutes the first time, seconds later"
start=$SECONDS
pip_install -e "$requirement" \
    || die "pip could not install everything (its message is above); make again to go on"
say "installed in $((SECONDS - start)) s: $("$python" -c \
    'from importlib.metadata import version as v
print(", ".join(f"{n} {v(n)}" for n in ("pushcut", "torch", "mujoco", "metaworld")))')"
