"""A policy under test, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pushcut.policies import load
from pushcut.policies.base import Policy
from pushcut.policies.noise import DecisionKey, DecisionNoise
from pushcut.policies.normalisation import known
from pushcut.policies.small.observation_tokens import SmallPolicy
from pushcut.policies.tokens.policy import ParallelTokenPolicy
from pushcut.types import Observation

ROWS = 8
"""Observations in a batch."""
ROUNDING = 2e-5
"""Log-ratio in float32 from matrix products of another shape and sums in another order."""
BFLOAT16_ROUNDING = 0.02
"""Log-ratio from rounding in bfloat16, of 8 bits: 2**-8 of a logit of 5."""

INSTRUCTIONS = ("push the red block", "open the door")
"""What the policy is told to do."""


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
    load: Callable[[Path], Policy] = load
    """How a saved one is read, where more than its folder decides how it computes."""

    @staticmethod
    def of(
        policy: Policy,
        *,
        state_size: int = 1,
        rounding: float = ROUNDING,
        load: Callable[[Path], Policy] = load,
    ) -> PolicyCase:
        """The case of any policy: random observations of the cameras and sizes that it names.

        ``state_size`` is that of observations for policies that take no state.
        """
        bounds = None
        if isinstance(policy, SmallPolicy):
            action = policy.statistics["action"]
            bounds = known(action.q01, "q01"), known(action.q99, "q99")
        return PolicyCase(
            policy.eval(),
            RandomObservations(policy.cameras, policy.image_size, policy.state_size or state_size),
            bounds=bounds,
            tolerance=0.0 if isinstance(policy, ParallelTokenPolicy) else rounding,
            rounding=rounding,
            load=load,
        )

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


@dataclass(frozen=True)
class RandomObservations:
    """Makes observations of noise: pixels, states in [0, 1) and two instructions in turns."""

    cameras: tuple[str, ...]
    image_size: int
    """Height and width of the images, in pixels."""
    state_size: int

    def __call__(self, rows: int, seed: int) -> Observation:
        """A batch; a seed gives the same one every time."""
        draw, size = np.random.default_rng(seed), self.image_size
        images = {
            camera: draw.integers(0, 256, (rows, size, size, 3), dtype=np.uint8)
            for camera in self.cameras
        }
        state = draw.random((rows, self.state_size), dtype=np.float32)
        return Observation(images, state, [INSTRUCTIONS[row % 2] for row in range(rows)])


def largest(difference: Tensor) -> float:
    """The largest absolute value; infinite where something is not a number."""
    if not bool(torch.isfinite(difference).all()):
        return float("inf")
    return float(difference.detach().abs().max())
