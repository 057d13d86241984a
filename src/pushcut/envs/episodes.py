"""What environments with a simulator for each task share: episodes, chunks, snapshots."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.checks import check_init
from pushcut.types import ChunkResult, EnvSpec, InitState, Observation


def check_views(config: Any, known: Collection[str]) -> None:
    """ValueError unless a config's cameras are among the ``known`` and its images can be drawn."""
    if isinstance(config.tasks, str) or isinstance(config.cameras, str):
        raise ValueError("tasks and cameras are tuples of names, got one string")
    if len(set(config.cameras)) < len(config.cameras):
        raise ValueError(f"cameras must be different, got {config.cameras}")
    if unknown := sorted(set(config.cameras) - set(known)):
        raise ValueError(f"unknown cameras {unknown}; have {sorted(known)}")
    if not 16 <= config.image_size <= 2048:
        raise ValueError(f"image_size must be in 16..2048, got {config.image_size}")


@dataclass(frozen=True)
class Snapshot:
    """An episode that is put aside."""

    init: InitState
    sim_steps: int
    done: bool
    state: Any
    """The simulator's."""


class EpisodicEnv(ABC):
    """Plays the tasks of a spec, each in a simulator of its own; actions are clipped to [-1, 1].

    A simulator is made when first needed and kept until it is released. It has ``state()``, which
    shares no memory with it, ``set_state(state)``, ``hold(action, limit) -> (steps, success)`` for
    at most ``limit`` simulator steps, ``expert_action()`` unless a subclass has its own, and
    ``close()`` if it holds what must be released. Success ends the episode and is rewarded with 1,
    unless a subclass rewards more.
    """

    def __init__(self, spec: EnvSpec, *, max_sim_steps: int) -> None:
        """``max_sim_steps``: time limit of an episode, simulator steps."""
        self.spec = spec
        self._max_sim_steps = max_sim_steps
        self._simulators: dict[str, Any] = {}
        self._init: InitState | None = None
        self._sim_steps = 0
        self._done = True

    @abstractmethod
    def _make_simulator(self, task: str) -> Any:
        """A fresh simulator of a task."""

    @abstractmethod
    def _images(self) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
        """Draws what each camera of the spec sees."""

    @abstractmethod
    def _state(self) -> Float32[np.ndarray, " s"]:
        """The numbers that a policy sees."""

    def _privileged(self) -> Float32[np.ndarray, " p"]:
        """What only a critic sees, by ``privileged_names`` of the spec."""
        raise NotImplementedError

    def _instruction(self) -> str:
        """What the policy is told in the current state."""
        return self.spec.tasks[self._episode().task]

    def _reward(self, success: bool) -> float:
        """The reward of the control step that was just executed."""
        return float(success)

    def _failed(self) -> bool:
        """Whether the task can no longer be solved after the step that was just executed.

        That ends the episode as success does, with ``terminated``.
        """
        return False

    def _start(self, simulator: Any, init: InitState) -> None:
        """Puts a simulator into an initial state."""
        simulator.reset(init.seed)

    def reset(self, init: InitState) -> None:
        """Starts the episode of ``init``; raises KeyError for an unknown task."""
        check_init(init, self.spec.tasks)
        self._start(self._simulator(init.task), init)
        self._init, self._sim_steps, self._done = init, 0, False

    def observe(self) -> Observation:
        """Renders the cameras and reads the state: a batch of one."""
        return Observation(
            images={name: image[None] for name, image in self._images().items()},
            state=self._state()[None],
            instruction=[self._instruction()],
            privileged=self._privileged()[None] if self.spec.privileged_names else None,
        )

    def step_chunk(self, actions: Float32[np.ndarray, "h a"]) -> ChunkResult:
        """Executes the actions until they are used up, an end or the time limit."""
        simulator = self._now
        if self._done:
            raise RuntimeError("the episode is over; call reset first")
        if not np.isfinite(actions).all():
            raise ValueError("actions must be finite numbers")
        reward = np.zeros(len(actions), dtype=np.float32)
        before = self._sim_steps
        steps, success, failed = 0, False, False
        for action in self._to_native(actions.clip(-1, 1)):
            left = self._max_sim_steps - self._sim_steps
            held, success = simulator.hold(action, min(self.spec.sim_steps_per_control, left))
            self._sim_steps += held
            reward[steps] = self._reward(success)
            steps += 1
            failed = not success and self._failed()
            if success or failed or self._sim_steps >= self._max_sim_steps:
                break
        terminated = success or failed
        truncated = not terminated and self._sim_steps >= self._max_sim_steps
        self._done = terminated or truncated
        sim_steps = self._sim_steps - before
        return ChunkResult(steps, sim_steps, reward, success, terminated, truncated)

    def stay(self, action: Float32[np.ndarray, " a"]) -> None:
        """Executes one more control step, also of an episode that is over; nothing is judged."""
        native = self._to_native(action[None].clip(-1, 1))[0]
        left = self.spec.sim_steps_per_control
        while left > 0:  # a simulator stops at every step that is a success
            held, _ = self._now.hold(native, left)
            left -= held

    def expert_action(self) -> Float32[np.ndarray, " a"]:
        """The scripted expert's action, from the simulator's state.

        Raises NotImplementedError for a task without one.
        """
        return self._now.expert_action()

    def snapshot(self) -> Snapshot:
        """The whole episode; it can be pickled, and restored any number of times."""
        return Snapshot(self._episode(), self._sim_steps, self._done, self._now.state())

    def restore(self, snapshot: Snapshot) -> None:
        self._simulator(snapshot.init.task).set_state(snapshot.state)
        self._init, self._sim_steps = snapshot.init, snapshot.sim_steps
        self._done = snapshot.done

    def release(self, task: str) -> None:
        """Frees the simulator of a task, which is made again where the task is played again."""
        simulator = self._simulators.pop(task, None)
        if hasattr(simulator, "close"):
            simulator.close()
        if self._init is not None and self._init.task == task:
            self._init = None

    def close(self) -> None:
        for task in list(self._simulators):
            self.release(task)
        self._init = None

    def _to_native(self, actions: Float32[np.ndarray, "h a"]) -> Float32[np.ndarray, "h a"]:
        """Actions as the simulators take them."""
        return actions

    def _episode(self) -> InitState:
        if self._init is None:
            raise RuntimeError("no episode; call reset first")
        return self._init

    @property
    def _now(self) -> Any:
        """The simulator that the episode is in."""
        return self._simulator(self._episode().task)

    def _simulator(self, task: str) -> Any:
        if task not in self._simulators:
            self._simulators[task] = self._make_simulator(task)
        return self._simulators[task]
