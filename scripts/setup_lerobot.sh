#!/usr/bin/env bash
# Makes a virtual environment with LeRobot, for the tests that run it beside pushcut. LeRobot wants
# another Python, torch and numpy than pushcut, so the two never share one.
#   scripts/setup_lerobot.sh VENV                (for example: .venv-lerobot)
# PYTHON312=/path/to/python3.12 picks the interpreter. Where it cannot be made, VENV/missing.txt
# says why in one line, which is the tests' reason for being skipped.
set -euo pipefail

venv=$1
requirement='lerobot[dataset,pi]==0.6.1'
python=$venv/bin/python

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

cannot() {
    mkdir -p "$venv"
    printf 'LeRobot cannot be installed: %s\n' "$*" | tee "$venv/missing.txt" >&2
    exit 0
}

# LeRobot 0.6 needs 3.12 or later; its torch has no wheels for what is newer than 3.13.
suitable() { "$1" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' \
    >/dev/null 2>&1; }

candidates() {
    local root=${PYENV_ROOT:-$HOME/.pyenv}
    printf '%s\n' "$root"/versions/3.12*/bin/python "$root"/versions/3.13*/bin/python
    uv python find 3.12 2>/dev/null || true
    printf '%s\n' python3.12 python3.13 python3
}

find_python() {
    if [[ -n ${PYTHON312:-} ]]; then
        suitable "$PYTHON312" && echo "$PYTHON312"
        return 0
    fi
    local candidate
    while read -r candidate; do
        if suitable "$candidate"; then echo "$candidate"; return 0; fi
    done < <(candidates)
}

# The usual torch brings several GB of CUDA along; these tests run on the CPU.
cpu_torch_first() {
    "$python" -c 'import torch' >/dev/null 2>&1 && return 0
    say "trying for the CPU build of torch (about 200 MB)"
    "$python" -m pip install -q --disable-pip-version-check --retries 0 --timeout 15 \
        --index-url https://download.pytorch.org/whl/cpu \
        'torch>=2.7,<2.12' 'torchvision>=0.22,<0.27' >/dev/null 2>&1 \
        || say "its index cannot be reached; taking the usual build (5 GB)"
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
rm -f "$venv/missing.txt"
if ! "$python" -c 'import pip' >/dev/null 2>&1; then
    base=$(find_python)
    if [[ -z $base && -n ${PYTHON312:-} ]]; then
        cannot "PYTHON312=$PYTHON312 is no Python 3.12 or 3.13"
    elif [[ -z $base ]]; then
        cannot "no Python 3.12 or 3.13 was found; name one: make PYTHON312=/path/to/python3.12 ..."
    fi
    say "making $venv with $("$base" --version 2>&1)"
    "$base" -m venv "$venv" || cannot "$base cannot make a virtual environment in $venv"
fi
cpu_torch_first
say "installing $requirement into $venv: 5 to 15 minutes the first time, then seconds"
log=$(mktemp)
"$python" -m pip install -q --disable-pip-version-check "$requirement" >"$log" 2>&1 \
    || cannot "pip could not install $requirement ($(grep -m 1 '^ERROR' "$log" || tail -n 1 "$log"))"
rm -f "$log"
"$python" -c 'import lerobot.policies.pi0.modeling_pi0' >/dev/null 2>&1 \
    || cannot "$requirement is installed and cannot be imported"
