"""Noisy denoising steps: how a flow policy explores, and the settings of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pushcut.policies.flow.moments import (
    cps_moments,
    largest_noise_level,
    ode_step,
    sde_moments,
)
from pushcut.policies.precision import full_precision

Noise = Literal["flow-sde", "flow-noise", "flow-cps"]

DEFAULT_STEPS = 4

MDP = Literal["one-layer", "two-layer", "hybrid"]


@dataclass(frozen=True)
class Denoising:
    """How a flow policy denoises and explores."""

    num_steps: int | None = None
    """Denoising steps K. None: those of the policy, 4 where it does not say."""
    noise: Noise = "flow-sde"
    """Where exploration comes from: Flow-SDE, the learned noise of Flow-Noise, or Flow-CPS."""
    mdp: MDP | None = None
    """What counts as an action. One-layer: the whole chain, all its steps noisy, with one joint
    log-probability. Two-layer: each of its steps. Hybrid: one random step, the only noisy one.
    None: one-layer for Flow-Noise, hybrid for the others, as in pi_RL."""
    noise_level: float = 0.5
    """Noise level of Flow-SDE and Flow-CPS."""
    shared_index: bool = False
    """Hybrid: episodes share the choice of the noisy step at the same decision of an iteration (in
    pi_RL's program a whole batch does); else each decision has its own."""
    last_step_noise: bool = True
    """Whether the step that ends at t = 0 may be noisy."""
    std_bounds: tuple[float, float] = (0.08, 0.16)
    """Smallest and largest standard deviation of Flow-Noise (normalised actions)."""
    chain_reduction: Literal["mean", "sum"] = "mean"
    """How the terms of a one-layer chain make one log-probability: pi_RL's program takes the
    mean, the paper (eq. 5) the sum."""
    entropy_terms: Literal["noisy", "all"] = "noisy"
    """What the entropy of a one-layer chain is the mean of: its K noisy steps, or these and the
    constant of the first point (pi_RL's program), so that a bonus weighs K / (K + 1) of it."""

    def __post_init__(self) -> None:
        if not self.noise_level > 0:
            raise ValueError(f"noise_level must be > 0, got {self.noise_level}")
        if not 0 < self.std_bounds[0] < self.std_bounds[1]:
            raise ValueError(f"std_bounds must rise and be > 0, got {self.std_bounds}")
        if self.noise == "flow-cps" and self.noise_level >= 1:
            raise ValueError(f"noise_level of flow-cps must be < 1, got {self.noise_level}")
        self._check_steps(self.steps)

    def _check_steps(self, num_steps: int) -> None:
        if num_steps < 1:
            raise ValueError(f"num_steps must be >= 1, got {num_steps}")
        if num_steps == 1 and not self.last_step_noise:
            raise ValueError("with num_steps 1 the only step is the last: keep last_step_noise")
        largest = largest_noise_level(num_steps)
        if self.noise == "flow-sde" and self.noise_level > largest:
            raise ValueError(
                f"noise_level {self.noise_level} turns the mean of Flow-SDE over with "
                f"{num_steps} steps: at most {largest:.3f}"
            )
        if self.noise == "flow-cps" and num_steps == 1:
            raise ValueError("flow-cps needs num_steps >= 2: its last step is deterministic")

    @property
    def steps(self) -> int:
        """Denoising steps K."""
        return DEFAULT_STEPS if self.num_steps is None else self.num_steps

    @property
    def formulation(self) -> MDP:
        """``mdp``, or what pi_RL uses with this noise."""
        return self.mdp or ("one-layer" if self.noise == "flow-noise" else "hybrid")

    @property
    def delta(self) -> float:
        """Length of a step."""
        return 1 / self.steps

    @property
    def noisy_steps(self) -> int:
        """Steps 0 … n-1 may be noisy; Flow-CPS ends without noise by construction."""
        last = self.last_step_noise and self.noise != "flow-cps"
        return self.steps if last else self.steps - 1


@dataclass(frozen=True)
class Velocity:
    """What the action expert says of m points of a chain."""

    value: Float[Tensor, "b m h a"]
    features: Float[Tensor, "b m h d"]
    """The expert's output at each action token."""


Moments = tuple[Float[Tensor, "b m h a"], Float[Tensor, "#b #m #h #a"]]


@runtime_checkable
class Transition(Protocol):
    """The distribution of a noisy step."""

    def moments(
        self, x: Float[Tensor, "b m h a"], velocity: Velocity, t: Float[Tensor, "b m 1 1"]
    ) -> Moments:
        """Mean and standard deviation of the point at t - delta."""
        ...


@dataclass(frozen=True)
class SDETransition:
    """Flow-SDE (pi_RL 4.2.2)."""

    config: Denoising

    def moments(
        self, x: Float[Tensor, "b m h a"], velocity: Velocity, t: Float[Tensor, "b m 1 1"]
    ) -> Moments:
        c = self.config
        return sde_moments(
            x, velocity.value, t, c.delta, noise_level=c.noise_level, num_steps=c.steps
        )


@dataclass(frozen=True)
class CPSTransition:
    """Flow-CPS (pi_RL, appendix I)."""

    config: Denoising

    def moments(
        self, x: Float[Tensor, "b m h a"], velocity: Velocity, t: Float[Tensor, "b m 1 1"]
    ) -> Moments:
        c = self.config
        return cps_moments(x, velocity.value, t, c.delta, noise_level=c.noise_level)


class NoiseNetwork(nn.Module):
    """Flow-Noise: the ODE's step with a learned standard deviation (pi_RL eq. 4; ReinFlow).

    log variance = l_min + (l_max - l_min) (tanh(h) + 1) / 2 with l = log(bound^2), h an MLP
    of the expert's output at each action token. Trained with the policy, never saved with it.
    """

    def __init__(self, width: int, action_size: int, config: Denoising) -> None:
        super().__init__()
        self.delta = config.delta
        low, high = (2 * torch.tensor(bound).log().item() for bound in config.std_bounds)
        self.low, self.span = low, high - low
        self.mlp = nn.Sequential(
            nn.Linear(width, 128), nn.Tanh(), nn.Linear(128, 64), nn.Tanh(),
            nn.Linear(64, action_size),
        )  # fmt: skip

    def moments(
        self, x: Float[Tensor, "b m h a"], velocity: Velocity, t: Float[Tensor, "b m 1 1"]
    ) -> Moments:
        """The ODE's next point and the learned standard deviation."""
        with full_precision(x):
            squashed = (torch.tanh(self.mlp(velocity.features.float())) + 1) / 2
        std = torch.exp(0.5 * (self.low + self.span * squashed))
        return ode_step(x, velocity.value, self.delta), std
