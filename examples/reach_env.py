"""A robot of one's own: a point that must reach a coloured dot, simulated in a few lines of numpy.

Run it with `--plugin examples/reach_env.py`; then its name is `reach` in every command.
"""

from dataclasses import dataclass

import numpy as np

from pushcut.envs import ENVS
from pushcut.envs.base import EnvConfig
from pushcut.types import ChunkResult, EnvSpec, InitState, Observation

DOTS = {"reach the left dot": -0.7, "reach the right dot": 0.7}


@ENVS.register("reach")
@dataclass(frozen=True)
class ReachConfig(EnvConfig):
    """A point that must reach one of two dots."""

    image_size: int = 32
    """Height and width of the images, pixels."""
    max_steps: int = 20
    """Time limit, control steps."""

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec(
            tasks={f"dot-{text.split()[2]}": text for text in DOTS},
            cameras={"top": (self.image_size, self.image_size)},
            state_size=1,
            action_size=1,
            action_low=(-1.0,),
            action_high=(1.0,),
            max_steps=self.max_steps,
            sim_steps_per_control=1,
            control_hz=10.0,
            state_names=("position",),
            action_names=("velocity",),
        )

    def build(self) -> "ReachEnv":
        return ReachEnv(self)


class ReachEnv:
    """Plays ``ReachConfig``: an action moves the point by up to 0.1; success is to be near."""

    def __init__(self, config: ReachConfig) -> None:
        self.spec, self.size = config.spec, config.image_size

    def reset(self, init: InitState) -> None:
        if init.task not in self.spec.tasks:
            raise KeyError(f"unknown task {init.task!r}; have {sorted(self.spec.tasks)}")
        self.instruction = self.spec.tasks[init.task]
        self.goal = DOTS[self.instruction]
        self.position = float(np.random.default_rng(init.seed).uniform(-0.4, 0.4))
        self.steps = 0

    def observe(self) -> Observation:
        state = np.array([[self.position]], dtype=np.float32)
        return Observation({"top": self.render(self.size)[None]}, state, [self.instruction])

    def step_chunk(self, actions: np.ndarray) -> ChunkResult:
        reward, success, done = np.zeros(len(actions), np.float32), False, 0
        for velocity in actions[:, 0]:
            self.position += 0.1 * float(np.clip(velocity, -1, 1))
            self.steps, done = self.steps + 1, done + 1
            success = abs(self.position - self.goal) < 0.08
            if success or self.steps == self.spec.max_steps:
                break
        reward[done - 1] = float(success)
        late = not success and self.steps == self.spec.max_steps
        return ChunkResult(done, done, reward, success, success, late)

    def expert_action(self) -> np.ndarray:
        return np.clip([10 * (self.goal - self.position)], -1, 1).astype(np.float32)

    def render(self, size: int) -> np.ndarray:
        image = np.zeros((size, size, 3), np.uint8)
        for place, colour in ((self.goal, (255, 0, 0)), (self.position, (255, 255, 255))):
            column = int(np.clip((place + 1.2) / 2.4, 0, 1) * (size - 1))
            image[size // 2 - 1 : size // 2 + 2, max(0, column - 1) : column + 2] = colour
        return image

    def snapshot(self) -> tuple:
        return self.instruction, self.goal, self.position, self.steps

    def restore(self, snapshot: tuple) -> None:
        self.instruction, self.goal, self.position, self.steps = snapshot

    def close(self) -> None:
        pass
