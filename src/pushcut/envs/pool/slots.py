"""What a pool knows of its slots, and what it tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from pushcut.envs.events import Events
from pushcut.envs.pool.recording import Course
from pushcut.types import ChunkResult, Demonstration, InitState

RequestKind = Literal["reset", "step", "demonstrate", "release", "play"]
ReplyKind = RequestKind | Literal["lost"]
Part = tuple[ReplyKind, int, Any]
"""What a worker says of one slot: kind, slot, payload."""


@dataclass(frozen=True)
class Reply:
    """What became of one slot's request, or, when ``lost``, of its episode."""

    slot: int
    kind: ReplyKind
    result: ChunkResult | None = None
    """After ``step``."""
    demonstration: Demonstration | None = None
    """After ``demonstrate``."""
    frames: UInt8[np.ndarray, "t _ _ 3"] | None = None
    """After a recorded ``step``: an image after each control step, and one before the
    episode's first, so that the frames of an episode's replies join to its video. After a recorded
    ``demonstrate``: all of them."""
    events: Events | None = None
    """After the last ``step`` of an episode, or the expert's, where they were asked for."""
    course: Course | None = None
    """After the last ``step`` of an episode, where it was asked for."""
    reason: str = ""
    """Why the episode was lost."""
    note: str = ""
    """After ``reset``: what the environment notes of the initial state."""

    def shown(self, *, final_observation: bool) -> bool:
        """Whether there is an observation after it."""
        if self.result is None:
            return self.kind == "reset"
        return self.result.shown(final_observation=final_observation)


@dataclass
class Slot:
    """One episode of a pool."""

    init: InitState
    worker: int
    """Index of the process that plays it."""
    scene: int = -1
    """Number of its scene, where the process plays a batch of them."""
    playing: bool = True
    """An episode is under way."""
    waiting: bool = True
    """A request has no reply yet."""
    observed: bool = False
    """The slot's row shows what the last reply led to."""
    chunk: int = 0
    """Actions in the last request."""

    def answered(self, reply: Reply, *, observed: bool) -> None:
        """Notes what a reply says of the episode."""
        self.waiting, self.observed = False, observed
        over = reply.result is not None and reply.result.done
        self.playing = not over and reply.kind != "demonstrate"
