#!/usr/bin/env bash
# Makes sure that MuJoCo can render off-screen, by rendering a frame.
#   scripts/ensure_gl.sh [PYTHON]                (default: .venv/bin/python)
# Installs Mesa's software OpenGL through apt-get where it may; elsewhere says what to type.
# Sets nothing: pushcut picks its own backend (src/pushcut/envs/mujoco/gl.py).
set -euo pipefail

python=${1:-.venv/bin/python}
first_choice="libegl1 libgl1-mesa-dri libgles2"
second_choice="libosmesa6"

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

works() { "$python" -c 'import sys; from pushcut.envs.mujoco.gl import main; sys.exit(main())'; }

as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null || return 1
    [[ $(id -u) == 0 ]] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

# Package names may differ or be gone in other releases; the frame afterwards is what counts.
apt_install() {
    say "installing $* with apt-get (about a minute)"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" \
        >/tmp/pushcut-apt.$$ 2>&1 || tail -n 5 /tmp/pushcut-apt.$$ >&2
    rm -f /tmp/pushcut-apt.$$
}

"$python" -c 'import mujoco, pushcut.envs.mujoco.gl' || {
    echo "error: $python cannot import mujoco and pushcut; run 'make venv' first" >&2
    exit 1
}
say "checking off-screen OpenGL by rendering a frame (a few seconds)"
works && exit 0

if may_install; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null \
        || echo "apt-get update failed; trying with the lists that are there" >&2
    for packages in "$first_choice" "$second_choice"; do
        # shellcheck disable=SC2086  # a list of packages
        apt_install $packages
        works && exit 0
    done
fi

cat >&2 <<TEXT
error: MuJoCo cannot render here: neither EGL nor OSMesa gave a frame.
Type what fits your system, then the same make command again:
  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install -y --no-install-recommends $first_choice
  Fedora, RHEL:    sudo dnf install -y mesa-libEGL mesa-dri-drivers mesa-libGLES
  Arch:            sudo pacman -S --needed mesa libglvnd
  no root:         conda install -c conda-forge mesalib libegl    (inside a conda environment)
  NVIDIA docker:   docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all ...
TEXT
exit 1
