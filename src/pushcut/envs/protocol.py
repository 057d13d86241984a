"""The protocols of environments: one robot, or a batch of scenes that step together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32

from pushcut.types import ChunkResult, EnvSpec, InitState, Observation


@runtime_checkable
class Env(Protocol):
    """One simulated robot that can play any task of its spec, one episode at a time.

    Many episodes share one ``Env`` by ``snapshot`` and ``restore``, which must be exact:
    stepping A, B, A in turns gives the same numbers as stepping A alone.

    Conventions at this border: metres, radians, gripper +1 = open; images are RGB
    with row 0 at the top; rewards are per control step, 1 where the task is solved and else 0;
    actions beyond the bounds of the spec act as the bounds.

    ``envs.contract`` holds an environment to all of this (``pushcut check-env``).
    """

    spec: EnvSpec

    def reset(self, init: InitState) -> None:
        """Starts the episode of ``init``; raises KeyError for an unknown task."""
        ...

    def observe(self) -> Observation:
        """Renders the cameras and reads the state: a batch of one. The only call that renders."""
        ...

    def step_chunk(self, actions: np.ndarray) -> ChunkResult:
        """Executes actions float32 [h, a] until they are used up, success or the time limit."""
        ...

    def expert_action(self) -> np.ndarray:
        """The scripted expert's action float32 [a] for the current state.

        Raises NotImplementedError where there is no expert.
        """
        ...

    def render(self, size: int) -> np.ndarray:
        """An image for people, uint8 [size, size, 3], from the first camera of the spec."""
        ...

    def snapshot(self) -> Any:
        """Everything that the rest of the episode depends on, detached from the simulator."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Goes back to a snapshot of this or an equal environment, exactly."""
        ...

    def close(self) -> None:
        """Releases the simulator and its renderer."""
        ...


@dataclass(frozen=True)
class BatchStep:
    """What one control step of a batch led to; rows of scenes that do not play say nothing."""

    reward: Float32[np.ndarray, " scenes"]
    success: Bool[np.ndarray, " scenes"]
    """Whether the task is solved, which ends the episode."""
    terminated: Bool[np.ndarray, " scenes"]
    """Whether the episode is over: solved, or beyond solving. The time limit is not told."""


@runtime_checkable
class BatchedEnv(Protocol):
    """A simulator of many scenes that step together, an episode in each.

    Conventions are those of ``Env``. The caller clips actions to the bounds of the spec, counts
    control steps and ends an episode at the limit of the spec. It never steps while a scene that
    plays has no action, so a simulator may move all its scenes at once. Snapshots are not asked
    for: what must begin again is reset and played again.

    A method ``expert_actions() -> float32 [scenes, a]`` is optional: the scripted expert's action
    in each scene that plays.
    """

    spec: EnvSpec
    scenes: int

    def reset(self, inits: Mapping[int, InitState]) -> None:
        """Starts an episode in some scenes, by their numbers; the others stay as they are.

        An initial state is the same in every scene.
        """
        ...

    def observe(self, scenes: Sequence[int]) -> Observation:
        """What is seen in these scenes, a row for each, in their order; changes nothing."""
        ...

    def step(self, actions: np.ndarray, playing: np.ndarray) -> BatchStep:
        """One control step with actions float32 [scenes, a].

        ``playing``, bool [scenes]: where episodes are under way. The other scenes may do anything
        until they are reset; their actions are 0.
        """
        ...

    def close(self) -> None:
        """Releases the simulator."""
        ...


def note_of(env: Env) -> str:
    """What a reader of results should know of the initial state that was set last, or nothing.

    An environment has it where it has a method ``note``; one that wraps another asks that.
    """
    return getattr(env, "note", str)()
