"""Point masses that step together in numpy: a made-up simulator of many scenes at once.

To the bit it is ``PointMassEnv`` in each scene, as the tests show.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pushcut.envs.batched import OneScene
from pushcut.envs.point_mass import BACKGROUND, PALETTE, POINT, POINT_RADIUS, START_RANGE
from pushcut.envs.point_mass import PointMassConfig as Single
from pushcut.envs.protocol import BatchStep
from pushcut.types import InitState, Observation


@dataclass(frozen=True)
class ManyPointsConfig(Single):
    """A point mass whose episodes are played in batches."""

    fault: str = ""
    """What goes wrong in the batch with an episode of seed 13, once there are 8 steps of it: kill,
    nan, always, or leak (its state reaches the next scene)."""
    once: str = ""
    """A path: the fault happens only while this file does not exist, and creates it."""

    @property
    def batched(self) -> bool:
        return True

    def build(self) -> Any:
        return OneScene(self.build_batch(1))

    def build_batch(self, scenes: int) -> ManyPoints:
        return ManyPoints(self, scenes)


class ManyPoints:
    """Rows of positions and goals, one for each scene; every step moves all that play."""

    def __init__(self, config: ManyPointsConfig, scenes: int) -> None:
        self.spec, self.scenes, self._config = config.spec, scenes, config
        self._goals = np.zeros((scenes, len(config.colours), 2))
        self._place = np.zeros((scenes, 2))
        self._target = np.zeros(scenes, int)
        self._seed = np.zeros(scenes, int)
        self._steps = np.zeros(scenes, int)
        self._inits: dict[int, InitState] = {}

    def reset(self, inits: Mapping[int, InitState]) -> None:
        self._inits.update(inits)
        tasks = list(self.spec.tasks)
        for scene, init in inits.items():
            rng = np.random.default_rng(init.seed)
            self._place[scene] = rng.uniform(-START_RANGE, START_RANGE, size=2)
            turn, count = rng.uniform(0, 2 * math.pi), len(self._config.colours)
            for number in range(count):
                angle = turn + 2 * math.pi * number / count
                way = (math.cos(angle), math.sin(angle))
                self._goals[scene, number] = [self._config.goal_distance * x for x in way]
            self._target[scene], self._seed[scene] = tasks.index(init.task), init.seed
            self._steps[scene] = 0

    def observe(self, scenes: Sequence[int]) -> Observation:
        index = list(scenes)
        state, goal = self._place[index], self._goal()[index]
        return Observation(
            {"top": self._images(index)},
            state.astype(np.float32),
            [self.spec.tasks[self._inits[scene].task] for scene in index],
            privileged=np.concatenate([state, goal], axis=1).astype(np.float32),
        )

    def step(self, actions: np.ndarray, playing: np.ndarray) -> BatchStep:
        assert np.abs(actions).max() <= 1
        moved = self._place + self._config.step_size * actions.astype(float)
        self._place = moved.clip(-1, 1)  # whoever does not play may move as well
        self._steps += 1
        distance = np.hypot(*(self._goal() - self._place).T)
        success = distance <= self._config.success_radius
        reward = success.astype(np.float32)
        self._go_wrong(reward, playing)
        return BatchStep(reward, success, success)

    def expert_actions(self) -> np.ndarray:
        way = (self._goal() - self._place) / self._config.step_size
        return way.clip(-1, 1).astype(np.float32)

    def close(self) -> None:
        self._place = np.full_like(self._place, np.nan)

    def _goal(self) -> np.ndarray:
        return self._goals[np.arange(self.scenes), self._target]

    def _images(self, index: list[int]) -> np.ndarray:
        size = self._config.image_size
        axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
        images = np.full((len(index), size, size, 3), BACKGROUND, np.float32)
        radius = self._config.success_radius
        discs = [
            (self._goals[index, number], radius, PALETTE[name])
            for number, name in enumerate(self._config.colours)
        ]
        for centre, radius, colour in (*discs, (self._place[index], POINT_RADIUS, POINT)):
            x, y = centre.astype(np.float32)[:, :, None, None].transpose(1, 0, 2, 3)
            away = np.hypot(axis[None, None, :] - x, -axis[None, :, None] - y)
            covered = np.clip((radius - away) / (2 / size) + 0.5, 0, 1)[..., None]
            images += covered * (np.array(colour, np.float32) - images)
        return np.rint(images).astype(np.uint8)

    def _go_wrong(self, reward: np.ndarray, playing: np.ndarray) -> None:
        if self._config.fault == "leak" and playing.sum() > 1:
            self._place += 1e-9
        bad = playing & (self._seed == 13) & (self._steps == 8)
        if not bad.any() or self._config.fault in ("", "leak"):
            return
        if self._config.once:
            if Path(self._config.once).exists():
                return
            Path(self._config.once).touch()
        if self._config.fault == "kill":
            os._exit(3)
        reward[bad] = np.nan
