"""What a command needs of the machine, asked before anything is loaded or written.

Weights of a VLA take minutes to load. Whatever ends a command anyway is told before that.
"""

from __future__ import annotations

from pathlib import Path

from pushcut.envs.base import EnvConfig
from pushcut.errors import UserError
from pushcut.policies.lora import check_peft
from pushcut.policies.source import PolicyFolder
from pushcut.system.machine import free_bytes
from pushcut.system.video import check_encoder

LEAST_BYTES = 1_000_000
"""A run's configs, metrics and log take so much."""


def check_policy_needs(policy: PolicyFolder) -> None:
    """UserError where a package is missing that training it takes."""
    if policy.trained == "lora":
        check_peft()


def check_pictures(env: EnvConfig, *, videos: int) -> None:
    """UserError where the environment cannot draw what is asked for, or films not be written.

    Args:
        env: What is played.
        videos: Episodes of each task that are filmed.
    """
    env.check_drawing(films=videos > 0)
    if videos:
        check_encoder()


def check_room(out: Path | None) -> None:
    """UserError where nothing can be written to a run's folder or file, which may not exist yet."""
    if out is None:
        return
    folder = next(path for path in (out, *out.absolute().parents) if path.is_dir())
    free = free_bytes(folder)
    if free is not None and free < LEAST_BYTES:
        raise UserError(
            f"the disk of {folder} is full ({free / 1000:.0f} kB are free): free some space or "
            "choose another place with --out"
        )
