"""The clipped policy loss that the algorithms share, with what is logged about it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

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
