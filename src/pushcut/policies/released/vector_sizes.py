"""Lengths of states and actions, where folder, statistics and options have to agree."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pushcut.errors import UserError
from pushcut.policies.normalisation import NormStats
from pushcut.policies.released.options import ReleasedConfig

Vector = Literal["state", "action"]
VECTORS: tuple[Vector, Vector] = ("state", "action")

PADDING = 1e-6
"""Statistics up to here are those of zeros."""


def vector_size(
    name: Vector,
    path: Path,
    options: ReleasedConfig,
    *,
    stated: int | None,
    found: NormStats | None,
    width: int,
) -> int:
    """Length of state or action; UserError where folder, statistics and options disagree.

    Args:
        name: Which of them.
        path: The folder.
        options: What is asked for.
        stated: What the folder states.
        found: The statistics.
        width: What the network takes.
    """
    asked = options.state_size if name == "state" else options.action_size
    flag = f"--policy.released.{name}-size"
    if asked is not None and stated not in (None, asked):
        raise UserError(
            f"{path} is for {name}s of {stated} numbers, as its config.json states; asked are "
            f"{asked} ({flag}, or the preset): it belongs to another robot or preset, unless "
            "`pushcut sft --statistics data` teaches it yours"
        )
    size = asked or stated or (found.size if found else width)
    if found is not None and found.size > size and not _is_padding(found, size):
        raise UserError(
            f"{path} has statistics of {name}s of {found.size} numbers, {size} are asked "
            f"({flag}, or the preset), and the others are no padding: it belongs to another robot "
            "or preset, unless `pushcut sft --statistics data` teaches it yours"
        )
    return size


def _is_padding(statistics: NormStats, size: int) -> bool:
    """Whether the numbers beyond a size were zero in all frames."""
    values = statistics.by_name()
    spread = values.pop("std", [])
    # Some programs pad deviations with ones.
    tail = [x for numbers in values.values() for x in numbers[size:]]
    return all(abs(x) <= PADDING for x in tail) and all(
        x <= PADDING or x == 1.0 for x in spread[size:]
    )
