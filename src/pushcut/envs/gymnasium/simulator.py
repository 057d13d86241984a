"""One task in instances of a gymnasium environment: restarts by seed, snapshots by replay.

gymnasium knows no snapshots. What is exact is an episode that starts from its seed and takes the
same actions. So a snapshot is the seed and all actions so far. It is restored by finding the
instance in which exactly that was played; only where there is none is it played again.

This module imports gymnasium, so it is itself imported late.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float32

from pushcut.envs.gymnasium.making import RENDER, Making
from pushcut.envs.gymnasium.spaces import StateReader, bounds, is_image, leaves, part_of
from pushcut.envs.gymnasium.success import SuccessRule
from pushcut.envs.init_states import seed_of_32_bits
from pushcut.envs.mujoco.gl import choose_gl
from pushcut.errors import UserError


@dataclass(frozen=True)
class Outcome:
    """What came of one simulator step."""

    reward: float
    """The environment's own."""
    success: bool
    terminated: bool
    truncated: bool
    """The environment's own: pushcut's time limit is not its business."""


@dataclass(frozen=True)
class Played:
    """What an episode became what it is by."""

    seed: int
    actions: tuple[bytes, ...]


@dataclass
class Instance:
    """An environment and the episode in it."""

    env: gymnasium.Env
    seed: int = -1
    actions: list[bytes] = field(default_factory=list)
    observation: Any = None
    total: float = 0.0
    """Sum of the rewards so far."""
    frame: np.ndarray | None = None
    """What was drawn after the last step."""
    over: bool = False

    def holds(self, played: Played) -> bool:
        """Whether exactly this was played here."""
        return (
            self.seed == played.seed
            and len(self.actions) == len(played.actions)
            and tuple(self.actions) == played.actions
        )


class TaskSimulator:
    """One task; actions here are the environment's own."""

    def __init__(self, making: Making, success: SuccessRule, *, instances: int) -> None:
        """``instances``: most that are kept."""
        self.making, self.success, self._most = making, success, instances
        self.replayed_steps = 0
        """Simulator steps that were played again, to come back to an episode."""
        self._instances: list[Instance] = [Instance(make(making))]
        """The one that was used last stands last."""
        self.low, self.high = bounds(self.env.action_space)
        self._reader = StateReader(self.env.observation_space, making.state)
        self._action_type = self.env.action_space.dtype
        self._action_shape = self.env.action_space.shape or ()
        self._check_cameras()

    @property
    def env(self) -> gymnasium.Env:
        """The environment that the episode is in."""
        return self._now.env

    @property
    def observation(self) -> Any:
        """The environment's last observation."""
        return self._now.observation

    @property
    def state_names(self) -> tuple[str, ...]:
        """A name for each number of the state."""
        return self._reader.names

    def reset(self, seed: int) -> None:
        """Starts the episode of a seed."""
        self._start(self._spare(), seed)

    def step(self, action: np.ndarray) -> Outcome:
        """One step of the environment."""
        now = self._now
        native = np.asarray(action, self._action_type).reshape(self._action_shape)
        now.actions.append(native.tobytes())
        # The environment may keep the array, or write to it.
        observation, reward, terminated, truncated, info = now.env.step(native.copy())
        now.observation, reward = observation, float(reward)
        now.total += reward
        now.frame = self._draw(now) if self.making.draw == "step" else None
        success = self.success.holds(
            info, reward=reward, total=now.total, terminated=bool(terminated)
        )
        return Outcome(reward, success, bool(terminated), bool(truncated))

    def finish(self) -> None:
        """The episode is over: its instance is the first that is taken for another."""
        self._now.over = True

    def state(self) -> Played:
        """What the rest of the episode depends on."""
        return Played(self._now.seed, tuple(self._now.actions))

    def set_state(self, state: Played) -> None:
        """Continues from ``state``."""
        for instance in reversed(self._instances):
            if instance.holds(state):
                self._use(instance)
                return
        self._start(self._spare(), state.seed)
        for action in state.actions:
            self.step(np.frombuffer(action, self._action_type))
        self.replayed_steps += len(state.actions)

    def numbers(self) -> Float32[np.ndarray, " s"]:
        """The state."""
        return self._reader.read(self._now.observation)

    def image(self, camera: str) -> np.ndarray:
        """What a camera sees, as large as the environment makes it."""
        if camera != RENDER:
            return part_of(self._now.observation, camera)
        if self._now.frame is None:
            self._now.frame = self._draw(self._now)
        return self._now.frame

    def close(self) -> None:
        """Releases every instance."""
        for instance in self._instances:
            instance.env.close()
        self._instances.clear()

    @property
    def _now(self) -> Instance:
        return self._instances[-1]

    def _start(self, instance: Instance, seed: int) -> None:
        instance.seed = -1  # whatever goes wrong below, nobody takes it for another
        if self.making.restart == "make" and instance.observation is not None:
            instance.env.close()
            instance.env = make(self.making)
        instance.actions.clear()
        instance.total, instance.over = 0.0, False
        instance.observation, _ = instance.env.reset(seed=seed_of_32_bits(seed))
        instance.frame = self._draw(instance) if self.making.draw == "step" else None
        instance.seed = seed

    def _draw(self, instance: Instance) -> np.ndarray:
        frame = np.asarray(instance.env.render())
        if frame.ndim != 3:
            modes = instance.env.metadata.get("render_modes")
            raise UserError(
                f"{self.making.id} has no images from render_mode 'rgb_array' (it has {modes}): "
                "leave --env.cameras empty, or name a part of its observation"
            )
        return frame.copy()

    def _use(self, instance: Instance) -> None:
        self._instances.remove(instance)
        self._instances.append(instance)

    def _spare(self) -> Instance:
        """An instance whose episode is over, a new one, or the one unused for longest."""
        for instance in self._instances:
            if instance.over or instance.seed < 0:
                break
        else:
            if len(self._instances) < self._most:
                instance = Instance(make(self.making))
                self._instances.append(instance)
            else:
                instance = self._instances[0]
        self._use(instance)
        return instance

    def _check_cameras(self) -> None:
        parts = leaves(self.env.observation_space)
        images = [name for name, part in parts.items() if is_image(part)]
        for camera in self.making.cameras:
            if camera != RENDER and camera not in images:
                raise UserError(
                    f"{self.making.id} has no camera {camera!r}; it has {[RENDER, *images]}"
                )


def make(making: Making) -> gymnasium.Env:
    """A new environment without a time limit; UserError where gymnasium cannot make it."""
    if RENDER in making.cameras:
        _prepare_drawing()
    drawing = {"render_mode": "rgb_array"} if RENDER in making.cameras else {}
    try:
        if making.module:
            importlib.import_module(making.module)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            env = gymnasium.make(
                making.id,
                max_episode_steps=-1,
                disable_env_checker=True,
                **drawing,
                **making.arguments,
            )
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"cannot make {making.id}: {text}") from error
    if drawing:
        # MuJoCo's free camera looks for all its life at where things were when it drew first.
        env.reset(seed=0)
        env.render()
    return env


def registered_limit(making: Making) -> int:
    """The time limit of the registration, simulator steps; 0 for none."""
    return gymnasium.spec(making.id).max_episode_steps or 0


def function_of(path: str) -> Callable[..., Any]:
    """The function that ``module:function`` names; UserError where there is none."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"no expert {path!r}: {error} (modules are looked for in PYTHONPATH)"
        ) from error


def _prepare_drawing() -> None:
    """Chooses how to draw without a display, before a simulator is imported."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with suppress(UserError):  # most environments draw without OpenGL; the others will say so
        choose_gl()
