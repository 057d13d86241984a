"""Objectives: pure functions of log-probabilities, advantages and weights."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float, Int
from torch import Tensor

Granularity = Literal["element", "step", "chunk"]
"""What one probability ratio stands for: an element of an action (a token), a step, a chunk."""

Aggregation = Literal["trajectory", "token", "sequence_sum"]

LOG_RATIO_LIMIT = 20.0
"""Log-ratios are held within +- this before exp: e^20 = 4.9e8 is far outside every clip range, and
its products and squares are still finite in float32."""


def log_ratio(
    logprob: Float[Tensor, "*#shape"], logprob_old: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*#shape"]:
    """Logprob - logprob_old within +- ``LOG_RATIO_LIMIT``, without gradient beyond.

    Unclamped, exp is infinite from 88.7 on in float32, and the zero gradient of a clipped sample
    becomes 0 times infinity: one NaN spoils the whole optimiser step. A NaN of the policy itself
    stays one, with its gradient, so that the step is skipped (``clamp`` would hide it).
    """
    return _held(logprob - logprob_old, -LOG_RATIO_LIMIT)


def _held(x: Tensor, low: float = -math.inf) -> Tensor:
    outside = (x > LOG_RATIO_LIMIT) | (x < low)
    return torch.where(outside, x.detach().clamp(low, LOG_RATIO_LIMIT), x)


def ppo_clip_loss(
    logprob: Float[Tensor, "*#shape"],
    logprob_old: Float[Tensor, "*#shape"],
    advantage: Float[Tensor, "*#shape"],
    weight: Float[Tensor, "*#shape"],
    *,
    clip_low: float,
    clip_high: float,
) -> Float[Tensor, ""]:
    """Clipped surrogate, the sum of weighted terms (SimpleVLA-RL eq. 3).

    -sum w * min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) with r = exp(logprob -
    logprob_old) (Schulman et al. 2017, eq. 7). Separate bounds are DAPO's clip-higher. A ratio
    beyond e^+-20 counts as that and has no gradient, on either side of the clip.
    """
    ratio = torch.exp(log_ratio(logprob, logprob_old))
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    return -(weight * torch.minimum(ratio * advantage, clipped * advantage)).sum()


def clipped_tokens(
    logprob: Float[Tensor, "*#shape"],
    logprob_old: Float[Tensor, "*#shape"],
    advantage: Float[Tensor, "*#shape"],
    *,
    clip_low: float,
    clip_high: float,
) -> Bool[Tensor, "*#shape"]:
    """Where the clip holds the gradient at zero: the ratio has already moved far enough."""
    ratio = torch.exp(log_ratio(logprob, logprob_old))
    too_high = (ratio > 1 + clip_high) & (advantage > 0)
    too_low = (ratio < 1 - clip_low) & (advantage < 0)
    return too_high | too_low


def behaviour_weight(
    logprob_proximal: Float[Tensor, "*shape"],
    logprob_behaviour: Float[Tensor, "*shape"],
    *,
    cap: float,
) -> Float[Tensor, "*shape"]:
    """Importance weight of what an older policy drew: min(exp(proximal - behaviour), cap).

    With it the surrogate is clipped around the policy that the update starts from, whoever acted
    (decoupled objective; Hilton et al. 2022, "Batch size-invariance for policy optimization").
    The cap bounds the variance, as in V-trace (Espeholt et al. 2018), at the price of a bias.
    """
    return torch.exp(log_ratio(logprob_proximal, logprob_behaviour)).clamp(max=cap)


def pool(
    values: Float[Tensor, "n k h a"], valid: Bool[Tensor, "n k h a"], granularity: Granularity
) -> Float[Tensor, "n k hu au"]:
    """Sums over the valid elements of each unit: log-probabilities of steps or chunks.

    ``element`` leaves [n, k, h, a], ``step`` gives [n, k, h, 1], ``chunk`` [n, k, 1, 1].
    """
    kept = torch.where(valid, values, torch.zeros_like(values))
    axes = {"element": (), "step": (3,), "chunk": (2, 3)}[granularity]
    return kept.sum(axes, keepdim=True) if axes else kept


def value_loss(
    value: Float[Tensor, "*shape"],
    value_old: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    weight: Float[Tensor, "*shape"],
    *,
    clip: float,
    huber_delta: float,
) -> Float[Tensor, ""]:
    """Clipped Huber loss of a critic, the sum of weighted terms.

    Formula: docs/reference/equations.md, section 12.

    sum w * max(H(V - target), H(V_old + clip(V - V_old, +-clip) - target)), H(e) = e^2 / 2
    for |e| <= delta, else delta (|e| - delta / 2).
    """
    clipped = value_old + (value - value_old).clamp(-clip, clip)

    def huber(prediction: Tensor) -> Tensor:
        return F.huber_loss(prediction, target, reduction="none", delta=huber_delta)

    return (weight * torch.maximum(huber(value), huber(clipped))).sum()


def token_weights(
    valid: Bool[Tensor, " n *token"],
    episode_id: Int[Tensor, " n"],
    *,
    aggregation: Aggregation,
) -> Float[Tensor, " n *token"]:
    """Weight of each token of packed episodes in the loss; zero where it is not valid.

    ``trajectory`` (SimpleVLA-RL eq. 3): mean over the tokens of an episode, then over the N
    episodes, 1 / (|a_i| N). ``token`` (DAPO): mean over all tokens. ``sequence_sum``
    (Dr. GRPO): sum over the tokens of an episode, mean over episodes, 1 / N.
    """
    mask = valid.float()
    if aggregation == "token":
        return mask / mask.sum().clamp(min=1)
    _, episode = torch.unique(episode_id, return_inverse=True)
    episodes = int(episode.max()) + 1 if len(episode) else 1
    if aggregation == "sequence_sum":
        return mask / episodes
    tokens = mask.new_zeros(episodes).index_add(0, episode, mask.flatten(1).sum(1))
    per_row = 1 / (tokens.clamp(min=1)[episode] * episodes)
    return mask * per_row.view(-1, *([1] * (mask.ndim - 1)))


def trajectory_scale(
    units: Float[Tensor, " n"], episode_id: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """What makes a mean over decisions one over trajectories: mean length / length of each.

    ``units`` counts what is averaged at each decision (1, or its valid tokens). pi_RL's program
    takes mean(loss * mask * max_steps / length) over padded episodes, which over all of them is
    1/E sum_e 1/length_e sum_t loss. Packed, without the padding, mean(loss * scale) is the same.
    """
    _, episode = torch.unique(episode_id, return_inverse=True)
    episodes = int(episode.max()) + 1 if len(episode) else 1
    length = units.new_zeros(episodes).index_add(0, episode, units).clamp(min=1)
    return (length.sum() / episodes / length)[episode]


def kl_k3(
    logprob: Float[Tensor, "*shape"], logprob_reference: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Schulman's k3 estimate of KL(policy || reference): exp(d) - d - 1, d = ref - policy.

    Each term is >= 0 and the estimate is unbiased under samples of the policy. d is held below
    ``LOG_RATIO_LIMIT``, and is without gradient beyond; far below 0 the term is linear and stays.
    """
    difference = _held(logprob_reference - logprob)
    return torch.exp(difference) - difference - 1
