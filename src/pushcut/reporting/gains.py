"""How success changed from before to after, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pushcut.evaluation.intervals import Interval, difference
from pushcut.reporting.charts import Bar

STAGES = ("before", "after")
ALL = ""
"""Stands where a task has its name."""

PairedGains = Mapping[str, Mapping[str, Any]]
"""Task, or ``ALL`` -> the paired difference as JSON ("difference" and "interval")."""


@dataclass(frozen=True)
class Gain:
    """A difference of success rates, as a fraction, with its 95 % interval."""

    value: float
    interval: Interval
    paired: bool
    """Whether both policies played the same episodes."""

    @property
    def verdict(self) -> Literal["up", "down", "flat"]:
        """Whether the interval lies above 0, below 0, or neither."""
        low, high = self.interval
        return "up" if low > 0 else "down" if high < 0 else "flat"

    @property
    def points(self) -> str:
        """In percentage points."""
        return f"{100 * self.value:+.1f}"

    @property
    def limits(self) -> str:
        """The interval in percentage points."""
        low, high = self.interval
        return f"{100 * low:+.1f} to {100 * high:+.1f}"


@dataclass(frozen=True)
class Change:
    """What happened to one task."""

    task: str
    before: Bar
    after: Bar
    gain: Gain


def gain_of(stages: Mapping[str, Bar], paired: Mapping[str, Any] | None) -> Gain | None:
    """The gain from before to after; None unless both were evaluated.

    ``paired`` is the difference over the same episodes; without it they count as independent.
    """
    if not all(stage in stages and stages[stage].episodes for stage in STAGES):
        return None
    before, after = (stages[stage] for stage in STAGES)
    if paired:
        low, high = paired["interval"]
        return Gain(paired.get("difference", after.rate - before.rate), (low, high), True)
    interval = difference(after.rate, after.interval, before.rate, before.interval)
    return Gain(after.rate - before.rate, interval, False)


def changes(tasks: Mapping[str, Mapping[str, Bar]], paired: PairedGains) -> list[Change]:
    """The change of each task that was evaluated before and after."""
    found = []
    for task, stages in tasks.items():
        gain = gain_of(stages, paired.get(task))
        if gain is not None:
            found.append(Change(task, stages["before"], stages["after"], gain))
    return found


def clear(found: Sequence[Change], verdict: str) -> list[Change]:
    """The changes with a verdict, the largest first."""
    return sorted(
        (change for change in found if change.gain.verdict == verdict),
        key=lambda change: -abs(change.gain.value),
    )
