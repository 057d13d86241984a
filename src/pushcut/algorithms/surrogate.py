"""The clipped policy loss that the algorithms share, with what is logged about it."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from pushcut.algorithms.objectives import (
    Granularity,
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
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Loss and metrics of the probability ratios; entropy is the mean of a unit's elements."""
    new = pool(evaluation.logprob, batch.valid, granularity)
    old = pool(batch.logprob_old, batch.valid, granularity)
    elements = pool(batch.valid.float(), batch.valid, granularity).clamp(min=1)
    entropy = pool(evaluation.entropy, batch.valid, granularity) / elements
    loss = ppo_clip_loss(
        new, old, batch.advantage, batch.weight, clip_low=clip_low, clip_high=clip_high
    )
    if entropy_coefficient > 0:
        loss = loss - entropy_coefficient * (batch.weight * entropy).sum()
    clipped = clipped_tokens(new, old, batch.advantage, clip_low=clip_low, clip_high=clip_high)
    return loss, {
        "entropy": (batch.share * entropy).sum(),
        # Under samples of the old policy, k3 with the roles swapped estimates KL(old || new).
        "approx_kl": (batch.share * kl_k3(old, new)).sum(),
        "clip_fraction": (batch.share * clipped).sum(),
    }
