"""When an object counts as placed, and what the steps towards it are worth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from jaxtyping import Float64

Reward = Literal["success", "rlinf", "pi_rl"]

BESIDE = 0.01
"""How far the object's centre may be beyond the receptacle's largest half edge, metres."""
ABOVE = 0.05
"""How far the two may be apart in height beyond half their heights, metres."""
TOUCHING = 0.03
"""They touch with more force, newtons."""
LONG_HELD = 5
"""Control steps in a row."""

Position = Float64[np.ndarray, " 3"]


@dataclass(frozen=True)
class Resting:
    """Half edges of the upright box around a thing at the start of its episode, metres."""

    half: Position

    @staticmethod
    def of(pose: Float64[np.ndarray, "4 4"], size: Position) -> Resting:
        """The box around a thing that has one of ``size`` in its own frame."""
        corners = np.array(list(product((-0.5, 0.5), repeat=3))) * size
        turned = corners @ pose[:3, :3].T
        return Resting((turned.max(0) - turned.min(0)) / 2)


FLAT = Resting(np.zeros(3))


@dataclass
class Outcome:
    """What has been reached in an episode so far, and what its last step was worth."""

    obj: Resting = FLAT
    receptacle: Resting = FLAT
    kind: Reward = "success"
    """How steps are rewarded."""
    placed: bool = False
    grasped: bool = False
    held: int = 0
    """Control steps in a row in which it was grasped."""
    reward: float = 0.0
    """Reward of the last control step."""
    _level: float = 0.0
    """What all steps so far were worth."""

    def note(self, *, obj: Position, receptacle: Position, force: float, grasped: bool) -> None:
        """Takes in a control step: where the two are, metres; how hard they touch, newtons."""
        way = obj - receptacle
        beside = np.linalg.norm(way[:2]) <= self.receptacle.half.max() + BESIDE
        above = 0 < way[2] <= self.receptacle.half[2] + self.obj.half[2] + ABOVE
        self.placed = bool(beside and above and force > TOUCHING)
        self.grasped = grasped
        self.held = self.held + 1 if grasped else 0
        level = self._worth()
        self.reward, self._level = level - self._level, level

    def _worth(self) -> float:
        """How much has been reached, by ``kind``."""
        if self.kind == "success":
            return float(self.placed)
        if self.kind == "pi_rl":
            return 0.1 * self.grasped + 1.0 * self.placed
        long = self.held >= LONG_HELD
        return 0.1 * self.grasped + 0.1 * long + 1.0 * (self.placed and self.grasped)
