"""Denoising chains: how a flow policy turns noise into actions, and what it remembers of it.

A chain runs from t = 1 to 0 in K steps. Which steps are noisy is what makes a flow policy
explore; the log-probability of the noisy steps is what reinforcement learning needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pushcut.policies.flow.moments import gaussian_entropy, gaussian_logprob, ode_step, time_grid
from pushcut.policies.flow.transitions import (
    CPSTransition,
    Denoising,
    NoiseNetwork,
    SDETransition,
    Transition,
    Velocity,
)
from pushcut.policies.noise import DecisionNoise
from pushcut.transfers import to_device

Expert = Callable[[Float[Tensor, "b m h a"], Float[Tensor, "b m"]], Velocity]
"""(points, their times) -> velocity; the prefix that it attends to is fixed."""


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
    for t in time_grid(config.steps)[:-1].tolist():
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
        shared = self.config.shared_index
        uniform = torch.from_numpy(noise.shared_uniform() if shared else noise.uniform())
        index = to_device((uniform * self.config.noisy_steps).long(), start.device)
        kick = _normal(noise, start).unsqueeze(1)
        x, before, after = start.unsqueeze(1), start.unsqueeze(1), start.unsqueeze(1)
        logprob, features = torch.zeros_like(x, dtype=torch.float32), None
        for step, time in enumerate(time_grid(self.config.steps)[:-1].tolist()):
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
        before, after = trace["before"].unsqueeze(1), trace["after"].unsqueeze(1)
        grid = _like(time_grid(self.config.steps), before)
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
        points, terms, features = [start], [], []
        for step, time in enumerate(time_grid(self.config.steps)[:-1].tolist()):
            x = points[-1].unsqueeze(1)
            t = x.new_full(x.shape[:2], time)
            velocity = expert(x, t)
            features.append(velocity.features)
            if step >= self.config.noisy_steps:
                following = ode_step(x, velocity.value, self.config.delta)
            else:
                mean, std = self.transition.moments(x, velocity, t[..., None, None])
                kick = _normal(noise, start).unsqueeze(1)
                following = mean + std * kick
                terms.append(gaussian_logprob(following, mean, std))
            points.append(following.squeeze(1))
        logprob = self.combine(_standard_normal(start), torch.cat(terms, dim=1))
        trace = {"chain": torch.stack(points, dim=1)}
        return Denoised(points[-1], trace, logprob, torch.cat(features, dim=1))

    def evaluate(self, expert: Expert, trace: dict[str, Tensor]) -> Likelihood:
        """One pass of the expert over all K points."""
        chain, noisy = trace["chain"], self.config.noisy_steps
        times = _like(time_grid(self.config.steps)[:-1], chain).expand(len(chain), -1)
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
        total = first.unsqueeze(1) + terms.sum(1, keepdim=True)
        mean = self.config.chain_reduction == "mean"
        return total / (1 + terms.shape[1]) if mean else total

    def entropy(self, terms: Float[Tensor, "b steps h a"]) -> Float[Tensor, "b 1 h a"]:
        if self.config.entropy_terms == "all":
            first = gaussian_entropy(torch.ones_like(terms[:, :1]))
            terms = torch.cat((first, terms), dim=1)
        return terms.mean(1, keepdim=True)


class TwoLayerChain(FullChain):
    """Two-layer MDP (pi_RL 4.2.2): each noisy step is an action with a ratio of its own.

    All steps of a decision share its advantage: between them there is no reward, and they are
    not discounted.
    """

    def combine(
        self, first: Float[Tensor, "b h a"], terms: Float[Tensor, "b steps h a"]
    ) -> Float[Tensor, "b steps h a"]:
        return terms

    def entropy(self, terms: Float[Tensor, "b steps h a"]) -> Float[Tensor, "b steps h a"]:
        return terms


def _standard_normal(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return gaussian_logprob(x, torch.zeros_like(x), torch.ones_like(x))


def _normal(noise: DecisionNoise, like: Float[Tensor, "b h a"]) -> Float[Tensor, "b h a"]:
    """Standard normal noise of the shape, dtype and device of a tensor."""
    return _like(torch.from_numpy(noise.normal(*like.shape[1:])), like)


def _like(x: Tensor, other: Tensor) -> Tensor:
    return to_device(x.to(other.dtype), other.device)


def make_chain(config: Denoising, noise_network: NoiseNetwork | None) -> Chain:
    """The chain that a config describes; Flow-Noise brings its network."""
    fixed = {"flow-sde": SDETransition, "flow-cps": CPSTransition}
    transition = noise_network or fixed[config.noise](config)
    chain = {"one-layer": OneLayerChain, "two-layer": TwoLayerChain, "hybrid": HybridChain}
    return chain[config.formulation](config, transition)
