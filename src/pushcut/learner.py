"""The learner: optimiser steps on packed rollouts; the only owner of the optimiser."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pushcut.algorithms.base import Algorithm
from pushcut.batch import Minibatch, Rollout
from pushcut.policies.base import Policy


@dataclass(frozen=True)
class LearnerConfig:
    """How the policy is updated; several optimiser steps per iteration."""

    lr: float = 1e-4
    """Learning rate of AdamW (SimpleVLA-RL: 5e-6 for 7 B parameters)."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's decay rates."""
    weight_decay: float = 0.01
    """AdamW's weight decay."""
    warmup_iterations: int = 5
    """Iterations over which the learning rate rises linearly; 0 starts at full rate."""
    grad_clip: float = 1.0
    """Largest gradient norm."""
    epochs: int = 1
    """Passes over each rollout."""
    minibatches: int = 4
    """Optimiser steps per epoch; whole episodes, so that each keeps its weight."""
    micro_batch: int = 256
    """Decisions per forward and backward; bounds the memory, not the result."""

    def __post_init__(self) -> None:
        for name in ("lr", "grad_clip", "epochs", "minibatches", "micro_batch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if self.warmup_iterations < 0:
            raise ValueError(f"warmup_iterations must be >= 0, got {self.warmup_iterations}")


class Learner:
    """Turns rollouts into better weights."""

    def __init__(
        self, policy: Policy, algorithm: Algorithm, config: LearnerConfig, *, seed: int
    ) -> None:
        self.policy = policy
        self._algorithm, self._config, self._seed = algorithm, config, seed
        self._reference = frozen_copy(policy) if algorithm.needs_reference else None
        trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )

    def update(
        self, rollout: Rollout, advantages: Float[Tensor, " n"], iteration: int
    ) -> dict[str, float]:
        """Some optimiser steps on a rollout; metrics are means over the steps.

        A rollout that teaches nothing (no episodes, or no advantage anywhere) changes nothing
        and gives no metrics: not even the weight decay acts.
        """
        if not bool(advantages.any()):
            return {}
        rate = learning_rate(self._config, iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # The policy stays in eval() mode: sampling and evaluating must be the same function.
        self.policy.eval()
        generator = np.random.default_rng((self._seed, iteration))
        history = [
            self._step(rollout, advantages, rows)
            for _ in range(self._config.epochs)
            for rows in split_by_episode(rollout.episode_id, self._config.minibatches, generator)
        ]
        means = {name: float(np.mean([step[name] for step in history])) for name in history[0]}
        return means | {"lr": rate, "optimizer_steps": len(history)}

    def _step(
        self, rollout: Rollout, advantages: Float[Tensor, " n"], rows: Int[Tensor, " m"]
    ) -> dict[str, float]:
        """One optimiser step; gradients of micro-batches add up."""
        valid = rollout.valid[rows].unsqueeze(-1).expand_as(rollout.logprob[rows])
        weight = self._algorithm.weights(valid, rollout.episode_id[rows])
        share = valid / valid.sum()
        totals: dict[str, float] = {}
        self.optimizer.zero_grad(set_to_none=True)
        for micro in torch.arange(len(rows)).split(self._config.micro_batch):
            metrics = self._backward(rollout, advantages, rows[micro], weight[micro], share[micro])
            for name, value in metrics.items():
                totals[name] = totals.get(name, 0.0) + float(value)
        parameters = self.optimizer.param_groups[0]["params"]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self._config.grad_clip)
        self.optimizer.step()
        return totals | {"grad_norm": float(norm)}

    def _backward(
        self,
        rollout: Rollout,
        advantages: Float[Tensor, " n"],
        rows: Int[Tensor, " m"],
        weight: Float[Tensor, "m h a"],
        share: Float[Tensor, "m h a"],
    ) -> dict[str, Tensor]:
        device = self.policy.device
        observation = rollout.observation.select(rows.numpy())
        trace = {name: tensor[rows].to(device) for name, tensor in rollout.trace.items()}
        reference = None
        if self._reference is not None:
            with torch.no_grad():
                reference = self._reference.evaluate(observation, trace).logprob
        batch = Minibatch(
            logprob_old=rollout.logprob[rows].to(device),
            advantage=advantages[rows].view(-1, 1, 1).expand_as(weight).to(device),
            weight=weight.to(device),
            share=share.to(device),
            logprob_reference=reference,
        )
        loss, metrics = self._algorithm.loss(self.policy.evaluate(observation, trace), batch)
        loss.backward()
        return metrics


def learning_rate(config: LearnerConfig, iteration: int) -> float:
    """Linear warm-up over the first iterations, then constant."""
    if iteration >= config.warmup_iterations:
        return config.lr
    return config.lr * (iteration + 1) / (config.warmup_iterations + 1)


def split_by_episode(
    episode_id: Int[Tensor, " n"], parts: int, generator: np.random.Generator
) -> Iterator[Int[Tensor, " m"]]:
    """Rows of the decisions of ``parts`` random sets of whole episodes."""
    episodes = generator.permutation(int(episode_id.max()) + 1)
    for part in np.array_split(episodes, min(parts, len(episodes))):
        chosen = torch.isin(episode_id, torch.from_numpy(np.sort(part)))
        yield chosen.nonzero().squeeze(1)


def frozen_copy(policy: Policy) -> Policy:
    """A copy that is never trained."""
    reference = copy.deepcopy(policy).eval()
    for parameter in reference.parameters():
        parameter.requires_grad_(False)
    return reference
