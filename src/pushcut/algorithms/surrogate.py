"""The clipped policy loss that the algorithms share: settings, loss and what is logged of it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pushcut.algorithms.base import Algorithm
from pushcut.algorithms.objectives import (
    Granularity,
    behaviour_weight,
    clipped_tokens,
    kl_k3,
    pool,
    ppo_clip_loss,
)
from pushcut.batch import Evaluation, Minibatch


def clipped_surrogate(
    evaluation: Evaluation,
    batch: Minibatch,
    *,
    granularity: Granularity,
    clip_low: float,
    clip_high: float,
    entropy_coefficient: float,
    behaviour_cap: float,
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Loss and metrics of the probability ratios; entropy is the mean of a unit's elements.

    What an older policy drew counts by its behaviour weight, in the loss and in the KL.
    """
    new = pool(evaluation.logprob, batch.valid, granularity)
    old = pool(batch.logprob_old, batch.valid, granularity)
    elements = pool(batch.valid.float(), batch.valid, granularity).clamp(min=1)
    entropy = pool(evaluation.entropy, batch.valid, granularity) / elements
    importance, metrics = torch.ones_like(old), dict[str, Tensor]()
    if batch.logprob_behaviour is not None:
        behaviour = pool(batch.logprob_behaviour, batch.valid, granularity)
        importance = behaviour_weight(old, behaviour, cap=behaviour_cap)
        metrics = {
            "behaviour_weight": (batch.share * importance).sum(),
            "behaviour_capped": (batch.share * (importance == behaviour_cap)).sum(),
        }
    loss = ppo_clip_loss(
        new,
        old,
        batch.advantage,
        batch.weight * importance,
        clip_low=clip_low,
        clip_high=clip_high,
    )
    if entropy_coefficient > 0:
        loss = loss - entropy_coefficient * (batch.weight * entropy).sum()
    clipped = clipped_tokens(new, old, batch.advantage, clip_low=clip_low, clip_high=clip_high)
    return loss, metrics | {
        "entropy": (batch.share * entropy).sum(),
        # Under samples of the old policy, k3 with the roles swapped estimates KL(old || new).
        "approx_kl": (batch.share * importance * kl_k3(old, new)).sum(),
        "clip_fraction": (batch.share * clipped).sum(),
    }


class ClippedAlgorithm(Algorithm):
    """An algorithm of clipped probability ratios; its fields say what is left open here."""

    granularity: Granularity
    clip_low: float
    clip_high: float
    entropy_coefficient: float
    behaviour_cap: float

    def __post_init__(self) -> None:
        if not 0 < self.clip_low < 1 or self.clip_high <= 0:
            raise ValueError(
                f"need 0 < clip_low < 1 and clip_high > 0, got {self.clip_low}, {self.clip_high}"
            )
        if not self.behaviour_cap >= 1:
            raise ValueError(f"behaviour_cap must be >= 1, got {self.behaviour_cap}")
        if self.entropy_coefficient < 0:
            raise ValueError(f"entropy_coefficient must be >= 0, got {self.entropy_coefficient}")

    def surrogate(
        self, evaluation: Evaluation, batch: Minibatch
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """``clipped_surrogate`` with these settings."""
        return clipped_surrogate(
            evaluation,
            batch,
            granularity=self.granularity,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            entropy_coefficient=self.entropy_coefficient,
            behaviour_cap=self.behaviour_cap,
        )
