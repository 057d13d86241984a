"""What an injection works with, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from faulting.phases import PHASES
from faulting.training import Training
from processes import Process, wait_until

Outcome = Literal["recovered", "not recovered", "missed"]

RECOVERY_S = 60.0
"""Longest time until a recovery must be noted."""


class Disk(Protocol):
    """What the run folder lies on."""

    def fill(self, training: Training, rng: np.random.Generator) -> None:
        """Leaves room for little more."""
        ...

    def free(self) -> None:
        """Makes room again."""
        ...


@dataclass
class Scene:
    """What an injection works with."""

    training: Training
    rng: np.random.Generator
    disk: Disk
    phase: str
    """What the program was doing."""
    seconds_to_end: list[float]
    """From SIGTERM to the end of the program."""
    leaked: list[Process]
    """Processes that outlived what they belong to."""


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    name: str
    inject: Callable[[Scene], Outcome]
    phases: tuple[str, ...] = PHASES
    """Where the moments are drawn from."""
    launcher: str = "local"
    """How the program is started."""
    short: bool = True
    """Whether the short form of the campaign has it."""


def noted(training: Training, before: int, timeout_s: float = RECOVERY_S) -> Outcome:
    """Waits until one more recovery is noted; a run that is over needs none."""
    wait_until(
        lambda: training.recoveries() > before or training.ended is not None, timeout_s, 0.01
    )
    if training.recoveries() > before:
        return "recovered"
    return "missed" if training.ended == 0 else "not recovered"


def gone_or_leaked(scene: Scene, processes: Sequence[Process]) -> None:
    """Waits for processes to end; those that do not are leaked."""
    wait_until(lambda: not any(process.alive for process in processes), 15)
    scene.leaked += [process for process in processes if process.alive]
