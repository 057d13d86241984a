"""The protocol every environment follows, and the base of its config."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

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


class EnvConfig(ABC):
    """The base of an environment's description: a frozen dataclass that builds it.

    No dataclass itself: what stands here is not stored with an experiment, nor an option.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]  # of every subclass

    simulator: str = ""
    """Name of the simulator among the isolated ones, where it can be one; where a package is
    installed is not part of an experiment."""

    @property
    def title(self) -> str:
        """What messages call it."""
        return type(self).__name__

    @property
    def robot_type(self) -> str:
        """What the demonstrations call it."""
        return type(self).__name__.removesuffix("Config").lower()

    @property
    def episodes_kept(self) -> int | None:
        """How many episodes can be under way in a process before one must be played again.

        None where snapshots are, as usual, of any number.
        """
        return None

    @property
    def tasks_kept(self) -> int | None:
        """Tasks whose simulators a process keeps, where --rollout.tasks-per-process does not say.

        None where a simulator of one task plays all of them, or is too small to matter.
        """
        return None

    @property
    def memory_mb(self) -> tuple[float, float] | None:
        """Host memory of a worker process without a task, and of each that it keeps, as measured.

        None where nobody has. With software rendering; a GPU's driver keeps a part of it.
        """
        return None

    @property
    def parts(self) -> tuple[EnvConfig, ...]:
        """What has worker processes of its own: all of it, or each member of a mix."""
        return (self,)

    experts: tuple[str, ...] = ()
    """What ``tasks`` may name that has a scripted expert, where not all tasks have one."""

    without_experts: str = "take demonstrations of others: `pushcut sft PRESET --dataset DIR`"
    """What to do where no task has a scripted expert."""

    @property
    def expert_tasks(self) -> tuple[str, ...]:
        """Tasks of the spec that have a scripted expert; known without the simulator."""
        return tuple(self.spec.tasks)

    @property
    @abstractmethod
    def spec(self) -> EnvSpec:
        """What ``build()`` will offer, without importing the simulator."""

    @abstractmethod
    def build(self) -> Env:
        """Imports the simulator and makes the environment."""
