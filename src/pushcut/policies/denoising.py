"""Denoising chains: how a flow policy turns noise into actions, and what it remembers of it.

A chain runs from t = 1 to 0 in K steps. Which steps are noisy, and how, is what makes a flow
policy explore; the log-probability of the noisy steps is what reinforcement learning needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pushcut.policies.flow_head import (
    cps_moments,
    gaussian_entropy,
    gaussian_logprob,
    largest_noise_level,
    ode_step,
    sde_moments,
    time_grid,
)
from pushcut.streams import DecisionNoise

Noise = Literal["flow-sde", "flow-noise", "flow-cps"]

MDP = Literal["one-layer", "two-layer", "hybrid"]


@dataclass(frozen=True)
class Velocity:
    """What the action expert says of m points of a chain."""

    value: Float[Tensor, "b m h a"]
    features: Float[Tensor, "b m h d"]
    """The expert's output at each action token."""


Expert = Callable[[Float[Tensor, "b m h a"], Float[Tensor, "b m"]], Velocity]
"""(points, their times) -> velocity; the prefix that it attends to is fixed."""

Moments = tuple[Float[Tensor, "b m h a"], Float[Tensor, "#b #m #h #a"]]


@dataclass(frozen=True)
class Denoising:
    """How a flow policy denoises and explores."""

    num_steps: int = 4
    """Denoising steps K."""
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

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be >= 1, got {self.num_steps}")
        if not self.noise_level > 0:
            raise ValueError(f"noise_level must be > 0, got {self.noise_level}")
        if not 0 < self.std_bounds[0] < self.std_bounds[1]:
            raise ValueError(f"std_bounds must rise and be > 0, got {self.std_bounds}")
        if self.num_steps == 1 and not self.last_step_noise:
            raise ValueError("with num_steps 1 the only step is the last: keep last_step_noise")
        largest = largest_noise_level(self.num_steps)
        if self.noise == "flow-sde" and self.noise_level > largest:
            raise ValueError(
                f"noise_level {self.noise_level} turns the mean of Flow-SDE over with "
                f"{self.num_steps} steps: at most {largest:.3f}"
            )
        if self.noise == "flow-cps" and self.noise_level >= 1:
            raise ValueError(f"noise_level of flow-cps must be < 1, got {self.noise_level}")
        if self.noise == "flow-cps" and self.num_steps == 1:
            raise ValueError("flow-cps needs num_steps >= 2: its last step is deterministic")

    @property
    def formulation(self) -> MDP:
        """``mdp``, or what pi_RL uses with this noise."""
        return self.mdp or ("one-layer" if self.noise == "flow-noise" else "hybrid")

    @property
    def delta(self) -> float:
        """Length of a step."""
        return 1 / self.num_steps

    @property
    def noisy_steps(self) -> int:
        """Steps 0 … n-1 may be noisy; Flow-CPS ends without noise by construction."""
        last = self.last_step_noise and self.noise != "flow-cps"
        return self.num_steps if last else self.num_steps - 1


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
        """See ``sde_moments``."""
        c = self.config
        return sde_moments(
            x, velocity.value, t, c.delta, noise_level=c.noise_level, num_steps=c.num_steps
        )


@dataclass(frozen=True)
class CPSTransition:
    """Flow-CPS (pi_RL, appendix I)."""

    config: Denoising

    def moments(
        self, x: Float[Tensor, "b m h a"], velocity: Velocity, t: Float[Tensor, "b m 1 1"]
    ) -> Moments:
        """See ``cps_moments``."""
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
        squashed = (torch.tanh(self.mlp(velocity.features).float()) + 1) / 2
        std = torch.exp(0.5 * (self.low + self.span * squashed))
        return ode_step(x, velocity.value, self.delta), std


@dataclass(frozen=True)
class Denoised:
    """The end of a chain, in normalised actions, and what is needed to evaluate it again."""

    actions: Float[Tensor, "b h a"]
    trace: dict[str, Tensor]
    logprob: Float[Tensor, "b k h a"]
    features: Float[Tensor, "b m h d"]
    """The expert's output at the points that the trace remembers as noisy."""


@dataclass(frozen=True)
class Likelihood:
    """Log-probability and entropy of a stored chain."""

    logprob: Float[Tensor, "b k h a"]
    entropy: Float[Tensor, "b k h a"]
    features: Float[Tensor, "b m h d"]
    """As for ``Denoised``, now with gradients."""


class Chain(ABC):
    """What of the denoising chain is an action of the decision process."""

    def __init__(self, config: Denoising, transition: Transition) -> None:
        self.config, self.transition = config, transition

    @abstractmethod
    def sample(
        self, expert: Expert, start: Float[Tensor, "b h a"], noise: DecisionNoise
    ) -> Denoised:
        """Denoises with exploration; every row draws from its own stream."""

    @abstractmethod
    def evaluate(self, expert: Expert, trace: dict[str, Tensor]) -> Likelihood:
        """What the current weights say of a stored chain."""


def solve_ode(
    config: Denoising, expert: Expert, start: Float[Tensor, "b h a"]
) -> Float[Tensor, "b h a"]:
    """Deterministic denoising (Euler): how a flow policy is evaluated and deployed."""
    x = start.unsqueeze(1)
    for t in time_grid(config.num_steps)[:-1].tolist():
        x = ode_step(x, expert(x, x.new_full(x.shape[:2], t)).value, config.delta)
    return x.squeeze(1)


class HybridChain(Chain):
    """Two-layer hybrid MDP (pi_RL 4.2.3): one random step is noisy, the others follow the ODE.

    The trace holds the two points around the noisy step and its index: evaluating it costs
    one pass of the expert.
    """

    def sample(
        self, expert: Expert, start: Float[Tensor, "b h a"], noise: DecisionNoise
    ) -> Denoised:
        """K passes of the expert."""
        shared = self.config.shared_index
        uniform = torch.from_numpy(noise.shared_uniform() if shared else noise.uniform())
        index = (uniform * self.config.noisy_steps).long().to(start.device)
        kick = torch.from_numpy(noise.normal(*start.shape[1:])).to(start).unsqueeze(1)
        x, before, after = start.unsqueeze(1), start.unsqueeze(1), start.unsqueeze(1)
        logprob, features = torch.zeros_like(x, dtype=torch.float32), None
        for step, time in enumerate(time_grid(self.config.num_steps)[:-1].tolist()):
            t = x.new_full(x.shape[:2], time)
            velocity = expert(x, t)
            mean, std = self.transition.moments(x, velocity, t[..., None, None])
            noisy = mean + std * kick
            here = (index == step).view(-1, 1, 1, 1)
            before, after = torch.where(here, x, before), torch.where(here, noisy, after)
            logprob = torch.where(here, gaussian_logprob(noisy, mean, std), logprob)
            seen = velocity.features
            features = seen if features is None else torch.where(here, seen, features)
            x = torch.where(here, noisy, ode_step(x, velocity.value, self.config.delta))
        trace = {"before": before.squeeze(1), "after": after.squeeze(1), "index": index}
        assert features is not None
        return Denoised(x.squeeze(1), trace, logprob, features)

    def evaluate(self, expert: Expert, trace: dict[str, Tensor]) -> Likelihood:
        """One pass of the expert."""
        before, after = trace["before"].unsqueeze(1), trace["after"].unsqueeze(1)
        grid = time_grid(self.config.num_steps).to(before)
        t = grid[trace["index"]].unsqueeze(1)
        velocity = expert(before, t)
        mean, std = self.transition.moments(before, velocity, t[..., None, None])
        entropy = gaussian_entropy(std).expand_as(mean)
        return Likelihood(gaussian_logprob(after, mean, std), entropy, velocity.features)


class FullChain(Chain):
    """All steps are noisy. The trace holds the K + 1 points of the chain.

    Evaluating it costs one pass of the expert over all of them at once.
    """

    @abstractmethod
    def combine(
        self, first: Float[Tensor, "b h a"], terms: Float[Tensor, "b steps h a"]
    ) -> Float[Tensor, "b k h a"]:
        """Log-probabilities of the chain's actions, from those of its points.

        The first point is drawn from N(0, I) under any weights; each term is a noisy step.
        """

    @abstractmethod
    def entropy(self, terms: Float[Tensor, "b steps h a"]) -> Float[Tensor, "b k h a"]:
        """Entropy of the chain's actions, from those of the noisy steps."""

    def sample(
        self, expert: Expert, start: Float[Tensor, "b h a"], noise: DecisionNoise
    ) -> Denoised:
        """K passes of the expert."""
        points, terms, features = [start], [], []
        for step, time in enumerate(time_grid(self.config.num_steps)[:-1].tolist()):
            x = points[-1].unsqueeze(1)
            t = x.new_full(x.shape[:2], time)
            velocity = expert(x, t)
            features.append(velocity.features)
            if step >= self.config.noisy_steps:
                following = ode_step(x, velocity.value, self.config.delta)
            else:
                mean, std = self.transition.moments(x, velocity, t[..., None, None])
                kick = torch.from_numpy(noise.normal(*start.shape[1:])).to(start).unsqueeze(1)
                following = mean + std * kick
                terms.append(gaussian_logprob(following, mean, std))
            points.append(following.squeeze(1))
        logprob = self.combine(_standard_normal(start), torch.cat(terms, dim=1))
        trace = {"chain": torch.stack(points, dim=1)}
        return Denoised(points[-1], trace, logprob, torch.cat(features, dim=1))

    def evaluate(self, expert: Expert, trace: dict[str, Tensor]) -> Likelihood:
        """One pass of the expert over all K points."""
        chain, noisy = trace["chain"], self.config.noisy_steps
        times = time_grid(self.config.num_steps)[:-1].to(chain).expand(len(chain), -1)
        velocity = expert(chain[:, :-1], times)
        mean, std = self.transition.moments(chain[:, :-1], velocity, times[..., None, None])
        terms = gaussian_logprob(chain[:, 1:], mean, std)[:, :noisy]
        entropy = gaussian_entropy(std).expand_as(mean)[:, :noisy]
        logprob = self.combine(_standard_normal(chain[:, 0]), terms)
        return Likelihood(logprob, self.entropy(entropy), velocity.features)


class OneLayerChain(FullChain):
    """One-layer MDP (Flow-Noise; pi_RL 4.1): the chain is one action.

    Its log-probability is the mean or the sum (pi_RL eq. 5) of the terms, that of the first
    point among them, which no ratio feels.
    """

    def combine(
        self, first: Float[Tensor, "b h a"], terms: Float[Tensor, "b steps h a"]
    ) -> Float[Tensor, "b 1 h a"]:
        """Their mean or sum."""
        total = first.unsqueeze(1) + terms.sum(1, keepdim=True)
        mean = self.config.chain_reduction == "mean"
        return total / (self.config.num_steps + 1) if mean else total

    def entropy(self, terms: Float[Tensor, "b steps h a"]) -> Float[Tensor, "b 1 h a"]:
        """Their mean."""
        return terms.mean(1, keepdim=True)


class TwoLayerChain(FullChain):
    """Two-layer MDP (pi_RL 4.2.2): each noisy step is an action with a ratio of its own.

    All steps of a decision share its advantage: between them there is no reward, and they are
    not discounted.
    """

    def combine(
        self, first: Float[Tensor, "b h a"], terms: Float[Tensor, "b steps h a"]
    ) -> Float[Tensor, "b steps h a"]:
        """Each for itself."""
        return terms

    def entropy(self, terms: Float[Tensor, "b steps h a"]) -> Float[Tensor, "b steps h a"]:
        """Each for itself."""
        return terms


def _standard_normal(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return gaussian_logprob(x, torch.zeros_like(x), torch.ones_like(x))


def make_chain(config: Denoising, noise_network: NoiseNetwork | None) -> Chain:
    """The chain that a config describes; Flow-Noise brings its network."""
    fixed = {"flow-sde": SDETransition, "flow-cps": CPSTransition}
    transition = noise_network or fixed[config.noise](config)
    chain = {"one-layer": OneLayerChain, "two-layer": TwoLayerChain, "hybrid": HybridChain}
    return chain[config.formulation](config, transition)
