"""Lengths of states and actions, where folder, statistics and options have to agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from pushcut.errors import UserError
from pushcut.policies.normalisation import DataStats, NormStats
from pushcut.policies.released.options import ReleasedConfig

Vector = Literal["state", "action"]
VECTORS: tuple[Vector, Vector] = ("state", "action")

PADDING = 1e-6
"""Statistics up to here are those of zeros."""


@runtime_checkable
class VectorFacts(Protocol):
    """What a folder says of the lengths of "state" and "action"."""

    @property
    def stated(self) -> Mapping[str, int]:
        """Lengths that its description states."""
        ...

    @property
    def statistics(self) -> DataStats:
        """Statistics, which may be padded."""
        ...


def vector_sizes(
    path: Path,
    facts: VectorFacts,
    options: ReleasedConfig,
    data: DataStats | None,
    *,
    widths: tuple[int, int],
) -> tuple[int, int]:
    """Lengths of state and action; UserError where folder, statistics and options disagree.

    Args:
        path: The folder.
        facts: What it says.
        options: What is asked for.
        data: Statistics that take the place of the folder's, and then decide.
        widths: What state and action are padded to, where nothing tells other lengths.
    """
    if data is not None:
        return data["state"].size, data["action"].size
    asked = {"state": options.state_size, "action": options.action_size}
    state, action = (
        _agreed(name, path, facts, asked[name], width)
        for name, width in zip(VECTORS, widths, strict=True)
    )
    return state, action


def _agreed(name: Vector, path: Path, facts: VectorFacts, asked: int | None, width: int) -> int:
    stated, found = facts.stated.get(name), facts.statistics.get(name)
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
