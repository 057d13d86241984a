"""Which GPU this process computes on and draws on, told by environment variables; no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

GPU_VARIABLE = "PUSHCUT_GPU"
"""The number of a rank's GPU, where that is not its number on its machine: Ray hides the GPUs of
the others, so that each has number 0."""

EGL_VARIABLE = "MUJOCO_EGL_DEVICE_ID"
"""The number of the GPU that MuJoCo draws on."""

CHOSEN_VARIABLE = "PUSHCUT_EGL_CHOSEN"
"""Set where ``EGL_VARIABLE`` is our choice: where it does not work another device may draw."""

DEVICES = Path("/dev")


def gpu_number(rank: int) -> int:
    """Number of this rank's GPU among those that the process sees."""
    return int(os.environ.get(GPU_VARIABLE, os.environ.get("LOCAL_RANK", rank)))


def drawing_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables by which simulator processes draw on the GPU that their rank computes on.

    EGL counts all GPUs of the machine, also those that CUDA_VISIBLE_DEVICES hides. Nothing where
    the user has chosen, the GPU is not known, or the machine has no such NVIDIA GPU.
    """
    if EGL_VARIABLE in environment:
        return {}
    device = _machine_number(environment)
    if device is None or device >= _nvidia_gpus():
        return {}
    return {EGL_VARIABLE: str(device), CHOSEN_VARIABLE: "1"}


def forget_choice() -> bool:
    """Takes our choice back in this process; False where it was not ours."""
    if os.environ.pop(CHOSEN_VARIABLE, None) is None:
        return False
    os.environ.pop(EGL_VARIABLE, None)
    return True


def without_choice(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which only the user has chosen where to draw."""
    ours = (EGL_VARIABLE, CHOSEN_VARIABLE) if CHOSEN_VARIABLE in environment else ()
    return {name: value for name, value in environment.items() if name not in ours}


def _machine_number(environment: Mapping[str, str]) -> int | None:
    """Number of the GPU on its machine; None where it is named otherwise or not at all."""
    own = environment.get(GPU_VARIABLE, environment.get("LOCAL_RANK"))
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return None if own is None else int(own)
    numbers = [name.strip() for name in visible.split(",")]
    index = int(own or 0)
    if index >= len(numbers) or not re.fullmatch(r"\d+", numbers[index]):
        return None
    return int(numbers[index])


def _nvidia_gpus() -> int:
    """Number of NVIDIA GPUs that this machine, or container, has."""
    return len([path for path in DEVICES.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)])
