"""What environments of MuJoCo tasks have in common: episodes, chunks, snapshots, images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.types import ChunkResult, EnvSpec, InitState

if TYPE_CHECKING:
    from pushcut.envs.mujoco.renderer import OpenGL, RenderStyle, TaskRenderer


@dataclass(frozen=True)
class Snapshot:
    """An episode that is put aside."""

    init: InitState
    sim_steps: int
    done: bool
    state: Any
    """The simulator's."""


class MuJoCoEnv(ABC):
    """Plays the tasks of a spec, each in a simulator and with a renderer of its own.

    Both are made when first needed and kept. A simulator has ``model``, ``data``, ``state()``,
    ``set_state(state)``, ``sync()`` and ``hold(action, limit) -> (steps, success)``; its
    gripper closes at +1.
    """

    def __init__(
        self, spec: EnvSpec, *, max_steps: int, action_repeat: int, image_size: int
    ) -> None:
        """``max_steps`` are simulator steps, as many as ``action_repeat`` to a control step."""
        from pushcut.envs.mujoco.renderer import OpenGL, TaskRenderer

        self.spec = spec
        self._max_steps, self._action_repeat = max_steps, action_repeat
        self._image_size = image_size
        self._make_renderer = TaskRenderer
        self._make_opengl = OpenGL
        self._opengl: OpenGL | None = None
        self._simulators: dict[str, Any] = {}
        self._renderers: dict[str, TaskRenderer] = {}
        self._init: InitState | None = None
        self._sim_steps = 0
        self._done = True

    @property
    @abstractmethod
    def _style(self) -> RenderStyle:
        """How images are drawn."""

    @abstractmethod
    def _make_simulator(self, task: str) -> Any:
        """A fresh simulator of a task."""

    @abstractmethod
    def _start(self, simulator: Any, init: InitState) -> None:
        """Puts a simulator into an initial state."""

    def reset(self, init: InitState) -> None:
        """Starts the episode of ``init``; raises KeyError for an unknown task."""
        if init.task not in self.spec.tasks:
            raise KeyError(f"unknown task {init.task!r}; have {sorted(self.spec.tasks)}")
        if init.seed < 0:
            raise ValueError(f"seed must be >= 0, got {init.seed}")
        self._start(self._simulator(init.task), init)
        self._init = init
        self._sim_steps = 0
        self._done = False

    def step_chunk(self, actions: Float32[np.ndarray, "h a"]) -> ChunkResult:
        """Executes the actions until they are used up, success or the time limit."""
        simulator = self._simulator(self._episode().task)
        if self._done:
            raise RuntimeError("the episode is over; call reset first")
        if not np.isfinite(actions).all():
            raise ValueError("actions must be finite numbers")
        reward = np.zeros(len(actions), dtype=np.float32)
        before = self._sim_steps
        steps, success = 0, False
        for action in flip_gripper(np.clip(actions, -1, 1)):
            limit = min(self._action_repeat, self._max_steps - self._sim_steps)
            done_steps, success = simulator.hold(action, limit)
            self._sim_steps += done_steps
            steps += 1
            if success or self._sim_steps >= self._max_steps:
                break
        if success:
            reward[steps - 1] = 1.0
        truncated = not success and self._sim_steps >= self._max_steps
        self._done = success or truncated
        return ChunkResult(
            steps,
            self._sim_steps - before,
            reward,
            success,
            terminated=success,
            truncated=truncated,
        )

    def snapshot(self) -> Snapshot:
        """The whole episode; it can be pickled, and restored any number of times."""
        init = self._episode()
        return Snapshot(init, self._sim_steps, self._done, self._simulator(init.task).state())

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to a snapshot, exactly."""
        self._simulator(snapshot.init.task).set_state(snapshot.state)
        self._init = snapshot.init
        self._sim_steps = snapshot.sim_steps
        self._done = snapshot.done

    def close(self) -> None:
        """Releases simulators and renderers."""
        for renderer in self._renderers.values():
            renderer.free()
        self._renderers.clear()
        self._simulators.clear()
        if self._opengl is not None:
            self._opengl.free()
            self._opengl = None
        self._init = None

    def _episode(self) -> InitState:
        if self._init is None:
            raise RuntimeError("no episode; call reset first")
        return self._init

    def _simulator(self, task: str) -> Any:
        if task not in self._simulators:
            self._simulators[task] = self._make_simulator(task)
        return self._simulators[task]

    def _draw(self, camera: str, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """What one of the model's cameras sees."""
        task = self._episode().task
        simulator = self._simulator(task)
        if self._opengl is None:
            self._opengl = self._make_opengl()
        if task not in self._renderers:
            self._renderers[task] = self._make_renderer(
                self._opengl,
                simulator.model,
                simulator.data,
                style=self._style,
                size=self._image_size,
            )
        simulator.sync()
        return self._renderers[task].draw(camera, size)


def flip_gripper(actions: Float32[np.ndarray, "*h a"]) -> Float32[np.ndarray, "*h a"]:
    """Between our actions, which open the gripper at +1, and those that close it so."""
    flipped = actions.copy()
    flipped[..., -1] *= -1
    return flipped
