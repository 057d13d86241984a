"""Which device ManiSkill draws on: a GPU with Vulkan where there is one, else the CPU."""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pushcut.envs.isolated.simulators import run_isolated
from pushcut.errors import UserError
from pushcut.system.gpus import GPU_VARIABLE

NAMES = re.compile(r"auto|cpu|cuda(:\d+)?")
"""What ``render_device`` may be."""

NO_VULKAN = (
    "ManiSkill finds no Vulkan device for images; type: pushcut sims install maniskill (it fetches "
    "a driver for CPUs, or says what to do); states need none: leave --env.cameras empty"
)


@dataclass(frozen=True)
class DeviceChoice:
    """A device to draw on."""

    name: str
    """As ManiSkill's ``render_backend`` names it: cpu, cuda or cuda:N."""
    why: str
    """What it is, or why it is no other."""


def choose_device(
    asked: str, find: Callable[[str], Any], environment: Mapping[str, str]
) -> DeviceChoice:
    """The device that is asked for; with ``auto`` the rank's GPU if it draws, else the CPU.

    Args:
        asked: auto, cpu, cuda or cuda:N.
        find: ``sapien.Device``: raises RuntimeError where there is no device of a name.
        environment: Tells which GPU is the rank's.
    """
    if asked == "cpu":
        return DeviceChoice("cpu", "as --env.render-device asks")
    wanted = _own_gpu(environment) if asked == "auto" else asked
    for name in dict.fromkeys((wanted, "cuda") if asked == "auto" else (wanted,)):
        try:
            device = find(name)
        except RuntimeError:
            continue
        # SAPIEN is not always right about GPUs that cannot draw: who asks for one gets it.
        if asked != "auto" or device.can_render():
            return DeviceChoice(name, str(device.name))
        return DeviceChoice("cpu", f"{device.name} has no Vulkan driver")
    if asked != "auto":
        raise UserError(
            f"--env.render-device {asked}: ManiSkill finds no such GPU; auto takes one if there is"
        )
    return DeviceChoice("cpu", "there is no CUDA device")


def _own_gpu(environment: Mapping[str, str]) -> str:
    """The GPU of this rank among those that are visible; Ray shows each rank its own only."""
    rank = environment.get("LOCAL_RANK", "")
    return f"cuda:{rank}" if rank.isdigit() and GPU_VARIABLE not in environment else "cuda"


def ask_device(python: Path, asked: str, *, timeout: float = 120.0) -> DeviceChoice:
    """The choice of ManiSkill's interpreter; UserError where nothing there could draw.

    It takes some seconds, most of them for importing SAPIEN.
    """
    try:
        done = run_isolated(python, __name__, asked, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise UserError(f"SAPIEN does not start within {timeout:g} s: pushcut doctor") from None
    lines = done.stdout.strip().splitlines()
    answer = json.loads(lines[-1]) if done.returncode == 0 and lines else None
    if answer is None:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"ManiSkill cannot draw here: {said[-1]}")
    if "error" in answer:
        raise UserError(answer["error"])
    return DeviceChoice(**answer)


LICENCE = "files of the benchmark: CC BY-NC 4.0, says their page (not for commercial use)"


def say_licence(benchmark: str) -> None:
    """Says under which licence a benchmark's files are that the user has fetched."""
    from pushcut.system.progress import say  # ManiSkill's interpreter lacks rich

    say(f"{benchmark}: {LICENCE}")


def say_device(python: Path, asked: str) -> None:
    """Says which device ManiSkill's interpreter draws on; UserError where nothing could draw."""
    from pushcut.system.progress import say  # ManiSkill's interpreter lacks rich

    choice = ask_device(python, asked)
    say(f"ManiSkill draws on {choice.name} ({choice.why}); --env.render-device chooses")


NO_CUDA = (
    "--env.batch cuda: ManiSkill's own environment finds no CUDA device (it needs an NVIDIA GPU, "
    "and a torch built for CUDA there); --env.batch cpu plays the scenes of a batch on the CPU"
)


def require_cuda(python: Path) -> None:
    """UserError where ManiSkill's interpreter has no GPU to simulate on."""
    asks = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    if subprocess.run([python, "-c", asks], capture_output=True, check=False).returncode:
        raise UserError(NO_CUDA)


def check_playing(render_device: str, max_steps: int, scenes: int) -> None:
    """ValueError for settings that no environment of ManiSkill can have."""
    if not NAMES.fullmatch(render_device):
        raise ValueError(f"render_device must be auto, cpu, cuda or cuda:N, got {render_device!r}")
    if max_steps < 1 or scenes < 1:
        raise ValueError(f"max_steps and scenes must be >= 1, got {max_steps} and {scenes}")


def main() -> None:
    """Prints the choice for the name that is asked for, or what to tell the user."""
    import sapien
    import sapien.render

    try:
        choice = choose_device(sys.argv[1], sapien.Device, os.environ)
        sapien.render.RenderMaterial()
    except UserError as error:
        print(json.dumps({"error": str(error)}))
    except RuntimeError:
        print(json.dumps({"error": NO_VULKAN}))
    else:
        print(json.dumps(asdict(choice)))


if __name__ == "__main__":
    main()
