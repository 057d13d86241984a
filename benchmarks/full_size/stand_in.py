"""A stand-in for LIBERO that needs no simulator: its shapes, random pictures, chance for success.

An episode succeeds, at its time limit, unless the sum of its actions in thousandths is a multiple
of four: by chance, so that a policy with random weights fails and succeeds, and updates have work.
For `--plugin benchmarks/full_size/stand_in.py --env stand-in`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pushcut.envs import ENVS
from pushcut.envs.base import EnvConfig
from pushcut.types import ChunkResult, EnvSpec, InitState, Observation

TASK = "stand_in"
STATE_SIZE, ACTION_SIZE = 8, 7


@ENVS.register("stand-in")
@dataclass(frozen=True)
class StandInConfig(EnvConfig):
    """LIBERO's shapes without a simulator."""

    cameras: tuple[str, ...] = ("agentview", "wrist")
    """Cameras of random pictures."""
    image_size: int = 256
    """Height and width of the pictures, pixels."""
    max_steps: int = 10
    """Time limit, control steps."""

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec(
            tasks={TASK: "pick up the black bowl and place it on the plate"},
            cameras={name: (self.image_size, self.image_size) for name in self.cameras},
            state_size=STATE_SIZE,
            action_size=ACTION_SIZE,
            action_low=(-1.0,) * ACTION_SIZE,
            action_high=(1.0,) * ACTION_SIZE,
            max_steps=self.max_steps,
            sim_steps_per_control=1,
            control_hz=20.0,
            state_names=("x", "y", "z", "rx", "ry", "rz", "finger_1", "finger_2"),
            action_names=("dx", "dy", "dz", "drx", "dry", "drz", "gripper"),
        )

    def build(self) -> StandIn:
        return StandIn(self)


class StandIn:
    """Plays ``StandInConfig``; deterministic in its seed and the actions."""

    def __init__(self, config: StandInConfig) -> None:
        self.spec, self._config = config.spec, config
        self._seed = self._steps = 0
        self._sum = 0.0

    def reset(self, init: InitState) -> None:
        if init.task not in self.spec.tasks:
            raise KeyError(f"unknown task {init.task!r}; have {sorted(self.spec.tasks)}")
        self._seed, self._steps, self._sum = init.seed, 0, 0.0

    def observe(self) -> Observation:
        size = self._config.image_size
        generator = np.random.default_rng((self._seed, self._steps))
        images = {
            name: generator.integers(0, 256, (1, size, size, 3), dtype=np.uint8)
            for name in self._config.cameras
        }
        state = np.full((1, STATE_SIZE), self._sum, dtype=np.float32)
        return Observation(images, state, [self.spec.tasks[TASK]])

    def step_chunk(self, actions: np.ndarray) -> ChunkResult:
        actions = actions[: self.spec.max_steps - self._steps].clip(-1, 1)
        for action in actions:
            self._sum += float(action.sum())
        self._steps += len(actions)
        over = self._steps == self.spec.max_steps
        success = over and int(np.floor(1000 * self._sum)) % 4 > 0
        reward = np.zeros(len(actions), dtype=np.float32)
        reward[-1] = float(success)
        late = over and not success
        return ChunkResult(len(actions), len(actions), reward, success, success, late)

    def expert_action(self) -> np.ndarray:
        return np.zeros(ACTION_SIZE, dtype=np.float32)

    def render(self, size: int) -> np.ndarray:
        generator = np.random.default_rng((self._seed, self._steps))
        return generator.integers(0, 256, (size, size, 3), dtype=np.uint8)

    def snapshot(self) -> tuple[int, int, float]:
        return self._seed, self._steps, self._sum

    def restore(self, snapshot: tuple[int, int, float]) -> None:
        self._seed, self._steps, self._sum = snapshot

    def close(self) -> None:
        pass
