"""What a player needs of simulators, wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from pushcut.envs.pool.pool import Reply
from pushcut.system.stopwatch import Seconds
from pushcut.types import EnvSpec, InitState, Observation


@runtime_checkable
class Simulators(Protocol):
    """Slots that play an episode each; see ``EnvPool`` for what the methods promise."""

    spec: EnvSpec
    slots: int
    restarts: int
    """Processes that had to be replaced."""
    seconds: Seconds
    """What a simulator process has done so far, ``simulate`` and ``render``, their mean."""

    def reset(self, slot: int, init: InitState) -> None:
        """Submits the start of an episode."""
        ...

    def step(self, slot: int, actions: np.ndarray, record_size: int = 0) -> None:
        """Submits an action chunk, float32 [h, a]."""
        ...

    def wait(self, timeout_s: float | None = None) -> list[Reply]:
        """Blocks until there are replies, ordered by slot; none after ``timeout_s``."""
        ...

    def observation(self, slots: Sequence[int]) -> Observation:
        """What the last replies of ``slots`` led to, one row per slot."""
        ...

    def close(self) -> None:
        """Ends the simulators."""
        ...

    def __enter__(self) -> Simulators: ...

    def __exit__(self, *exception: object) -> None: ...
