"""A policy under test, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pushcut.policies.base import Policy
from pushcut.policies.noise import DecisionKey, DecisionNoise
from pushcut.types import Observation

ROWS = 8
"""Observations in a batch."""
ROUNDING = 2e-5
"""Of log-probabilities in float32: matrix products of another shape, sums in another order."""
BFLOAT16_ROUNDING = 0.02
"""The same in bfloat16, of 8 bits: 2**-8 of a logit of 5."""


@dataclass(frozen=True)
class PolicyCase:
    """A policy under test, and what it looks at."""

    policy: Policy
    observation: Callable[[int, int], Observation]
    """Number of rows and a seed -> random observations."""
    bounds: tuple[Sequence[float], Sequence[float]] | None = None
    """1 % and 99 % quantiles of the actions that it is fitted to, where it promises to stay
    within them."""
    tolerance: float = 0.0
    """Largest log-ratio before the first update: 0, or ``ROUNDING`` for a chain that is sampled
    step by step and evaluated in one pass."""
    rounding: float = ROUNDING
    """Largest log-ratio where the batch has another size."""

    def noise(self, decision: int = 0) -> DecisionNoise:
        """Noise of a batch."""
        return DecisionNoise([DecisionKey(0, 0, row, 0, decision) for row in range(ROWS)])

    def demonstration(self) -> tuple[Observation, Tensor, Tensor]:
        """Observations, action chunks [b, h, a] and valid [b, h]: the first half of each chunk."""
        shape = (ROWS, self.policy.horizon, self.policy.action_size)
        low, high = self.bounds or ((-1.0,) * shape[2], (1.0,) * shape[2])
        drawn = torch.rand(shape, generator=torch.Generator().manual_seed(3))
        action = torch.tensor(low) + drawn * (torch.tensor(high) - torch.tensor(low))
        valid = torch.ones(shape[:2], dtype=torch.bool)
        valid[:, (shape[1] + 1) // 2 :] = False
        return self.observation(ROWS, 0), action, valid


def largest(difference: Tensor) -> float:
    """The largest absolute value; infinite where something is not a number."""
    if not bool(torch.isfinite(difference).all()):
        return float("inf")
    return float(difference.detach().abs().max())
