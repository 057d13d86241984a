"""A simulator's state, known without the simulator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SimulatorState:
    """What a scene became what it is by."""

    seed: int
    actions: tuple[bytes, ...]
    """Float32 [7] each."""
