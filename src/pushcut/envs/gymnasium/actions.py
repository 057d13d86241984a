"""Between actions at the border and those of a gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float32

from pushcut.envs.gymnasium.making import Facts


class ActionScale:
    """Maps each action linearly onto the environment's bounds, or only clips it to them.

    A flipped action is mirrored at the middle of its bounds.
    """

    def __init__(
        self, facts: Facts, *, unit: Literal["fraction", "native"], flipped: Sequence[int]
    ) -> None:
        self._low, self._high = np.array(facts.action_low), np.array(facts.action_high)
        self._native = unit == "native"
        self._flipped = list(flipped)

    def to_native(self, action: Float32[np.ndarray, " a"]) -> np.ndarray:
        """The environment's action for ours, within its bounds."""
        native = action.astype(np.float64)
        if not self._native:
            # Not middle + half * action: the bounds are to be met exactly.
            fraction = (native + 1) / 2
            native = self._low * (1 - fraction) + self._high * fraction
        return self._mirrored(native).clip(self._low, self._high)

    def from_native(self, native: np.ndarray) -> Float32[np.ndarray, " a"]:
        """Our action for the environment's, within our bounds."""
        action = self._mirrored(native.astype(np.float64).clip(self._low, self._high))
        if not self._native:
            action = 2 * (action - self._low) / (self._high - self._low) - 1
        return action.astype(np.float32)

    def _mirrored(self, native: np.ndarray) -> np.ndarray:
        at = self._flipped
        native[at] = self._low[at] + self._high[at] - native[at]
        return native
