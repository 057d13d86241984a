"""Mixed environments that cost nothing; the workers of tests import them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pushcut.envs.mixed.config import Member, MixedConfig
from pushcut.envs.point_mass import PointMassConfig, PointMassEnv
from pushcut.types import ChunkResult, EnvSpec, InitState, Observation
from tests.envs.pool.faulty import FaultyConfig, FaultyEnv


@dataclass(frozen=True)
class TallConfig(PointMassConfig):
    """A point mass that can also rise, which helps nobody: three actions, three numbers."""

    @property
    def spec(self) -> EnvSpec:
        return replace(
            super().spec,
            state_size=3,
            action_size=3,
            action_low=(-1.0,) * 3,
            action_high=(1.0,) * 3,
            state_names=("height", "x", "y"),
            action_names=("dz", "dx", "dy"),
        )

    def build(self) -> TallEnv:
        return TallEnv(self)


class TallEnv(PointMassEnv):
    """Its height is the sum of the first actions."""

    def __init__(self, config: TallConfig) -> None:
        super().__init__(config)
        self._height = 0.0

    def reset(self, init: InitState) -> None:
        super().reset(init)
        self._height = 0.0

    def observe(self) -> Observation:
        seen = super().observe()
        height = np.full((1, 1), self._height, np.float32)
        state = np.concatenate([height, seen.state], axis=1)
        return replace(seen, state=state)

    def step_chunk(self, actions: np.ndarray) -> ChunkResult:
        result = super().step_chunk(actions[:, 1:])
        for rise in actions[: result.steps, 0]:
            self._height += float(rise)
        return result

    def expert_action(self) -> np.ndarray:
        return np.append(np.float32(0), super().expert_action())

    def snapshot(self) -> Any:
        return (super().snapshot(), self._height)

    def restore(self, snapshot: Any) -> None:
        inner, self._height = snapshot
        super().restore(inner)


@dataclass(frozen=True)
class FaultyMember(PointMassConfig):
    """A ``FaultyConfig`` of a type that can be a member."""

    faulty: FaultyConfig = FaultyConfig()

    def build(self) -> FaultyEnv:
        return self.faulty.build()


TALL = TallConfig(max_steps=24)
FLAT = PointMassConfig(colours=("green",), max_steps=16)
MIX = MixedConfig((Member("tall", TALL), Member("flat", FLAT)))
TALL_RED, TALL_BLUE, FLAT_GREEN = "tall/reach-red", "tall/reach-blue", "flat/reach-green"
