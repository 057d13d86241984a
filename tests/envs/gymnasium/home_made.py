"""Small environments, registered as a user's module would, with one peculiarity each."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

MADE = 0


class Line(gymnasium.Env):
    """A point on a line that counts as home at 1; every argument is a peculiarity."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        render_mode: str | None = None,
        low: float = -2.0,
        high: float = 4.0,
        observation: str = "vector",
        fault: str = "",
    ) -> None:
        global MADE
        MADE += 1
        self.number, self.fault, self.kind = MADE, fault, observation
        self.render_mode = render_mode
        self.action_space = spaces.Box(low, high, (1,), np.float32)
        vector = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        picture = spaces.Box(0, 255, (12, 16, 3), np.uint8)
        self.observation_space = {
            "vector": vector,
            "picture": picture,
            "both": spaces.Dict(
                {"where": vector, "pixels": spaces.Dict({"top": picture, "side": picture})}
            ),
        }[observation]
        self.episodes = 0
        self.x = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        if seed is not None:
            np.random.RandomState(seed)  # takes 32 bits and no more
        self.x = float(self.np_random.uniform(-0.5, 0.5))
        self.episodes += 1
        self.steps = self.drawn = 0
        if self.fault == "reset":
            self.x += self.episodes
        if self.fault == "random":
            self.x += self.number
        return self._seen(), {}

    def step(self, action: np.ndarray):
        self.steps += 1
        self.x += 0.1 * float(action[0])
        action[0] = np.nan  # some environments write to what they are given
        if self.fault == "drawing":
            self.x += self.drawn
        info = {"home": {"reached": self.x >= 1}, "left": np.array(1 - self.x)}
        fell = self.x < -1
        if self.x >= 1:
            info["late"] = True
        return self._seen(), -abs(1 - self.x), fell, self.steps >= 90, info

    def render(self):
        self.drawn += 1
        return self._picture()

    def _seen(self) -> Any:
        vector = np.array([self.x, self.steps], np.float64)
        if self.kind == "vector":
            return vector
        if self.kind == "picture":
            return self._picture()
        side = self._picture()[:, :, ::-1]
        return {"where": vector, "pixels": {"top": self._picture(), "side": side}}

    def _picture(self) -> np.ndarray:
        picture = np.zeros((12, 16, 3), np.uint8)
        picture[:, int(np.clip(8 + 6 * self.x, 0, 15)), 0] = 255
        return picture


def home(env: Any, observation: Any) -> np.ndarray:
    """Goes right."""
    return np.array([4.0])


ENTRY = f"{__name__}:Line"
gymnasium.register("pushcut/Line-v0", ENTRY, max_episode_steps=40)
gymnasium.register("pushcut/Endless-v0", ENTRY)
