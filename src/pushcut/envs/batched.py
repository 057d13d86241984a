"""Batches of scenes: episodes that step together, one scene as an environment, and the reverse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from pushcut.envs.checks import CorruptedError, check_init
from pushcut.envs.protocol import BatchedEnv, BatchStep, Env
from pushcut.envs.resized import resized
from pushcut.errors import UserError
from pushcut.types import ChunkResult, InitState, Observation


@dataclass
class _Episode:
    """The episode in one scene, and the chunk that it executes."""

    steps: int = 0
    """Control steps so far."""
    actions: Float32[np.ndarray, "h a"] | None = None
    """The chunk under way."""
    reward: list[float] = field(default_factory=list)
    """Rewards of the chunk's steps so far."""


class Lockstep:
    """Plays an episode in each scene of a batch, all of them one control step at a time.

    A step is taken only while every episode under way has an action, so no scene moves that has
    none. Episodes may begin and end, and chunks may be used up, at different times.
    """

    def __init__(self, env: BatchedEnv) -> None:
        self.env = env
        self._episodes: dict[int, _Episode] = {}
        """Episodes under way, by scene."""
        low, high = env.spec.action_low, env.spec.action_high
        self._low, self._high = np.array(low, np.float32), np.array(high, np.float32)

    def start(self, inits: Mapping[int, InitState]) -> None:
        """Starts episodes in these scenes."""
        self.env.reset(inits)
        self._episodes.update({scene: _Episode() for scene in inits})

    def drop(self, scene: int) -> None:
        """Ends an episode that goes no further."""
        self._episodes.pop(scene, None)

    def give(self, scene: int, actions: Float32[np.ndarray, "h a"]) -> None:
        """Gives a scene without one its next chunk."""
        episode = self._episodes[scene]
        episode.actions, episode.reward = actions.clip(self._low, self._high), []

    def play(self) -> dict[int, ChunkResult]:
        """Steps until a chunk is used up or its episode is over; results by scene.

        Empty where an episode under way has no action.
        """
        results: dict[int, ChunkResult] = {}
        while not results and self._episodes:
            if any(episode.actions is None for episode in self._episodes.values()):
                break
            results = self._step()
        return results

    def _step(self) -> dict[int, ChunkResult]:
        shape = (self.env.scenes, self.env.spec.action_size)
        actions, playing = np.zeros(shape, np.float32), np.zeros(shape[0], bool)
        for scene, episode in self._episodes.items():
            assert episode.actions is not None
            actions[scene], playing[scene] = episode.actions[len(episode.reward)], True
        step = self.env.step(actions, playing)
        _check(step, playing)
        found = {scene: self._after(scene, step) for scene in list(self._episodes)}
        return {scene: result for scene, result in found.items() if result is not None}

    def _after(self, scene: int, step: BatchStep) -> ChunkResult | None:
        """The result of a scene's chunk if this step was its last."""
        episode, spec = self._episodes[scene], self.env.spec
        assert episode.actions is not None
        episode.steps += 1
        episode.reward.append(float(step.reward[scene]))
        success = bool(step.success[scene])
        terminated = success or bool(step.terminated[scene])
        truncated = not terminated and episode.steps >= spec.max_steps
        steps, length = len(episode.reward), len(episode.actions)
        if not (terminated or truncated) and steps < length:
            return None
        reward = np.zeros(length, np.float32)
        reward[:steps] = episode.reward
        episode.actions = None
        if terminated or truncated:
            self.drop(scene)
        sim_steps = steps * spec.sim_steps_per_control
        return ChunkResult(steps, sim_steps, reward, success, terminated, truncated)


def _check(step: BatchStep, playing: Bool[np.ndarray, " scenes"]) -> None:
    """CorruptedError where a step of a batch reports what cannot be."""
    for name in ("reward", "success", "terminated"):
        if (shape := getattr(step, name).shape) != playing.shape:
            raise CorruptedError(f"{name} of shape {list(shape)} for {len(playing)} scenes")
    if not np.isfinite(step.reward[playing]).all():
        raise CorruptedError(f"rewards that are not finite: {step.reward[playing].tolist()}")


@dataclass(frozen=True)
class Played:
    """What an episode became what it is by."""

    init: InitState
    chunks: tuple[bytes, ...]
    """Float32 [h, a] each."""


class OneScene:
    """An environment made of a batch with one scene; its snapshots are played again."""

    def __init__(self, env: BatchedEnv) -> None:
        self.spec = env.spec
        self._batch, self._lockstep = env, Lockstep(env)
        self._now: Played | None = None
        self._done = False

    def reset(self, init: InitState) -> None:
        check_init(init, self.spec.tasks)
        self._lockstep.drop(0)
        self._lockstep.start({0: init})
        self._now, self._done = Played(init, ()), False

    def observe(self) -> Observation:
        self._episode()
        return self._batch.observe([0])

    def step_chunk(self, actions: np.ndarray) -> ChunkResult:
        now = self._episode()
        if self._done:
            raise RuntimeError("the episode is over; call reset first")
        actions = np.ascontiguousarray(actions, np.float32)
        if not np.isfinite(actions).all():
            raise ValueError("actions must be finite numbers")
        self._now = None  # what breaks half-way is no state of anybody
        self._lockstep.give(0, actions)
        result = self._lockstep.play()[0]
        self._now, self._done = Played(now.init, (*now.chunks, actions.tobytes())), result.done
        return result

    def expert_action(self) -> np.ndarray:
        self._episode()
        if not hasattr(self._batch, "expert_actions"):
            raise NotImplementedError("this batch of scenes has no scripted expert")
        experts: Any = self._batch
        return experts.expert_actions()[0]

    def render(self, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """The first camera's image in another size."""
        if not self.spec.cameras:
            raise UserError("there are no images without cameras")
        image = self.observe().images[next(iter(self.spec.cameras))][0]
        return np.rint(resized(image, size, size)).astype(np.uint8)

    def snapshot(self) -> Played:
        return self._episode()

    def restore(self, snapshot: Played) -> None:
        if self._now == snapshot:
            return
        self.reset(snapshot.init)
        for chunk in snapshot.chunks:
            self.step_chunk(np.frombuffer(chunk, np.float32).reshape(-1, self.spec.action_size))

    def close(self) -> None:
        self._batch.close()

    def _episode(self) -> Played:
        if self._now is None:
            raise RuntimeError("no episode; call reset first")
        return self._now


class SideBySide:
    """A batch made of environments, each a scene, for simulators without batches of their own."""

    def __init__(self, envs: Iterable[Env]) -> None:
        self._envs = list(envs)
        self.spec, self.scenes = self._envs[0].spec, len(self._envs)

    def reset(self, inits: Mapping[int, InitState]) -> None:
        for scene, init in inits.items():
            self._envs[scene].reset(init)

    def observe(self, scenes: Sequence[int]) -> Observation:
        return Observation.concatenate([self._envs[scene].observe() for scene in scenes])

    def step(
        self, actions: Float32[np.ndarray, "scenes a"], playing: Bool[np.ndarray, " scenes"]
    ) -> BatchStep:
        reward = np.zeros(self.scenes, np.float32)
        success, terminated = np.zeros(self.scenes, bool), np.zeros(self.scenes, bool)
        for scene in np.flatnonzero(playing):
            result = self._envs[scene].step_chunk(actions[scene : scene + 1])
            reward[scene] = result.reward[0]
            success[scene], terminated[scene] = result.success, result.terminated
        return BatchStep(reward, success, terminated)

    def close(self) -> None:
        for env in self._envs:
            env.close()
