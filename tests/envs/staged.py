"""A point mass that must reach red, then blue: one episode of two sub-tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pushcut.envs.point_mass import PointMassConfig, PointMassEnv, _Plane
from pushcut.types import EnvSpec

BOTH = "both"
SENTENCES = ("to the red one", "to the blue one")


@dataclass(frozen=True)
class StagedConfig(PointMassConfig):
    """The task ``BOTH`` alone."""

    max_steps: int = 40

    @property
    def spec(self) -> EnvSpec:
        return replace(
            super().spec,
            tasks={BOTH: SENTENCES[0]},
            wordings={BOTH: SENTENCES},
            stages={BOTH: 2},
        )

    def build(self) -> StagedEnv:
        return StagedEnv(self)


class StagedEnv(PointMassEnv):
    """Rewards red and blue with 1 each."""

    def _make_simulator(self, task: str) -> Any:
        return _TwoGoals(self._config)

    def _instruction(self) -> str:
        return SENTENCES[self._now.stage]

    def _reward(self, success: bool) -> float:
        return float(self._now.gained)


class _TwoGoals(_Plane):
    def __init__(self, config: PointMassConfig) -> None:
        super().__init__(config, target=0)
        self.stage, self.gained = 0, False

    def reset(self, seed: int) -> None:
        super().reset(seed)
        self.stage = self._target = 0

    def hold(self, action: np.ndarray, limit: int) -> tuple[int, bool]:
        steps, self.gained = super().hold(action, limit)
        done = self.gained and self.stage == 1
        if self.gained and not done:
            self.stage = self._target = 1
        return steps, done

    def state(self) -> tuple:
        return super().state(), self.stage

    def set_state(self, state: tuple) -> None:
        own, self.stage = state
        self._target = self.stage
        super().set_state(own)
