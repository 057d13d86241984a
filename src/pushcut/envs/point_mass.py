"""A point on a plane that must reach the goal its instruction names; analytic, for tests."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.base import EnvConfig
from pushcut.types import ChunkResult, EnvSpec, InitState, Observation

PALETTE = {
    "red": (225, 45, 45),
    "blue": (45, 90, 230),
    "green": (40, 180, 70),
    "yellow": (235, 205, 45),
}
BACKGROUND = (30, 30, 30)
POINT = (255, 255, 255)
POINT_RADIUS = 0.1
"""Radius at which the point is drawn, metres."""
START_RANGE = 0.2
"""The point starts within this distance of the centre along each axis, metres."""


@dataclass(frozen=True)
class PointMassConfig(EnvConfig):
    """Describes a ``PointMassEnv``."""

    colours: tuple[str, ...] = ("red", "blue")
    """One goal and one task ``reach-<colour>`` per colour; every goal is always in the image."""
    image_size: int = 32
    """Height and width of the camera ``top``, pixels."""
    max_steps: int = 20
    """Time limit, control steps."""
    step_size: float = 0.1
    """Distance that an action of 1 moves the point along an axis, metres."""
    goal_distance: float = 0.7
    """Distance of the goals from the centre, metres."""
    success_radius: float = 0.15
    """Solved when the point is at most this far from the named goal, metres."""

    def __post_init__(self) -> None:
        if not self.colours or len(set(self.colours)) < len(self.colours):
            raise ValueError(f"colours must be different and at least one, got {self.colours}")
        if unknown := sorted(set(self.colours) - set(PALETTE)):
            raise ValueError(f"unknown colours {unknown}; have {sorted(PALETTE)}")
        if self.image_size < 8:
            raise ValueError(f"image_size must be >= 8, got {self.image_size}")
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be >= 1, got {self.max_steps}")
        if self.step_size <= 0 or self.success_radius <= 0:
            raise ValueError("step_size and success_radius must be > 0")
        if not START_RANGE * math.sqrt(2) + self.success_radius < self.goal_distance <= 1:
            raise ValueError(
                "goal_distance must be <= 1 and so large that no episode starts solved "
                f"(> {START_RANGE * math.sqrt(2) + self.success_radius:.2f}), "
                f"got {self.goal_distance}"
            )

    @property
    def spec(self) -> EnvSpec:
        """What ``build()`` offers."""
        return EnvSpec(
            tasks={f"reach-{name}": f"move the point to the {name} goal" for name in self.colours},
            cameras={"top": (self.image_size, self.image_size)},
            state_size=2,
            action_size=2,
            action_low=(-1.0, -1.0),
            action_high=(1.0, 1.0),
            max_steps=self.max_steps,
            sim_steps_per_control=1,
            control_hz=10.0,
            state_names=("x", "y"),
            action_names=("dx", "dy"),
        )

    def build(self) -> PointMassEnv:
        """Makes the environment; imports nothing."""
        return PointMassEnv(self)


class PointMassEnv:
    """A point on the plane [-1, 1]² (metres, x to the right, y up) and one goal per colour.

    Action: 0 ``dx``, 1 ``dy`` in [-1, 1] (clipped), in units of ``step_size``; the walls
    stop the point. State: 0 ``x``, 1 ``y``. Image ``top``: the goals as coloured discs of
    the success radius, the point as a white one, edges anti-aliased.
    Initial state: drawn from the seed alone, so the tasks of one seed show one image and
    only the instruction tells them apart. Goals lie on a circle around the centre, spread
    evenly and turned by a random angle; the point starts near the centre.
    Reward: 1 in the step that succeeds, else 0. Terminates at success, truncates at the
    time limit.
    """

    def __init__(self, config: PointMassConfig) -> None:
        self.spec = config.spec
        self._config = config
        self._goals: tuple[tuple[float, float], ...] = ()
        self._target = 0
        self._position = (0.0, 0.0)
        self._steps = 0
        self._task = ""
        self._done = True

    def reset(self, init: InitState) -> None:
        """Starts the episode of ``init``; raises KeyError for an unknown task."""
        if init.task not in self.spec.tasks:
            raise KeyError(f"unknown task {init.task!r}; have {sorted(self.spec.tasks)}")
        rng = np.random.default_rng(init.seed)
        x, y = rng.uniform(-START_RANGE, START_RANGE, size=2)
        turn = rng.uniform(0, 2 * math.pi)
        count = len(self._config.colours)
        angles = [turn + 2 * math.pi * i / count for i in range(count)]
        distance = self._config.goal_distance
        self._goals = tuple((distance * math.cos(a), distance * math.sin(a)) for a in angles)
        self._target = list(self.spec.tasks).index(init.task)
        self._position = (float(x), float(y))
        self._steps = 0
        self._task = init.task
        self._done = False

    def observe(self) -> Observation:
        """Draws the image and reads the state: a batch of one."""
        return Observation(
            images={"top": self.render(self._config.image_size)[None]},
            state=np.array([self._position], dtype=np.float32),
            instruction=[self.spec.tasks[self._task]],
        )

    def step_chunk(self, actions: Float32[np.ndarray, "h 2"]) -> ChunkResult:
        """Executes the actions until they are used up, success or the time limit."""
        if self._done:
            raise RuntimeError("the episode is over; call reset first")
        reward = np.zeros(len(actions), dtype=np.float32)
        steps, success, truncated = 0, False, False
        for dx, dy in actions.tolist():
            self._move(dx, dy)
            steps += 1
            success = self._distance_to_goal() <= self._config.success_radius
            truncated = not success and self._steps >= self._config.max_steps
            if success or truncated:
                break
        if success:
            reward[steps - 1] = 1.0
        self._done = success or truncated
        return ChunkResult(steps, steps, reward, success, success, truncated)

    def expert_action(self) -> Float32[np.ndarray, " 2"]:
        """Straight to the goal, as fast as the bounds allow."""
        delta = np.subtract(self._goals[self._target], self._position)
        return np.clip(delta / self._config.step_size, -1, 1).astype(np.float32)

    def render(self, size: int) -> UInt8[np.ndarray, "size size 3"]:
        """Draws the plane from above."""
        # Pixel centres; row 0 is the top, where y is largest.
        axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
        image = np.full((size, size, 3), BACKGROUND, dtype=np.float32)
        colours = [PALETTE[name] for name in self._config.colours]
        for centre, colour in zip(self._goals, colours, strict=True):
            _draw_disc(image, axis, centre, self._config.success_radius, colour)
        _draw_disc(image, axis, self._position, POINT_RADIUS, POINT)
        return np.rint(image).astype(np.uint8)

    def snapshot(self) -> tuple:
        """The whole state; immutable."""
        return (self._goals, self._target, self._position, self._steps, self._task, self._done)

    def restore(self, snapshot: tuple) -> None:
        """Goes back to a snapshot, exactly."""
        (
            self._goals,
            self._target,
            self._position,
            self._steps,
            self._task,
            self._done,
        ) = snapshot

    def close(self) -> None:
        """Nothing to release."""

    def _move(self, dx: float, dy: float) -> None:
        x, y = self._position
        x += min(max(dx, -1.0), 1.0) * self._config.step_size
        y += min(max(dy, -1.0), 1.0) * self._config.step_size
        self._position = (min(max(x, -1.0), 1.0), min(max(y, -1.0), 1.0))
        self._steps += 1

    def _distance_to_goal(self) -> float:
        x, y = self._position
        goal_x, goal_y = self._goals[self._target]
        return math.hypot(goal_x - x, goal_y - y)


def _draw_disc(
    image: np.ndarray,
    axis: np.ndarray,
    centre: tuple[float, float],
    radius: float,
    colour: tuple[int, int, int],
) -> None:
    """Blends a disc into the image; edge pixels by coverage, so that no motion is invisible."""
    pixel = 2 / len(axis)
    distance = np.hypot(axis[None, :] - centre[0], -axis[:, None] - centre[1])
    coverage = np.clip((radius - distance) / pixel + 0.5, 0, 1)[..., None]
    image += coverage * (np.array(colour, dtype=np.float32) - image)
