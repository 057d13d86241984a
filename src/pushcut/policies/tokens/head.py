"""Action tokens as in OpenVLA-OFT: bins, parallel decoding, sampling at a temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Float, Int
from torch import Tensor, nn

from pushcut.batch import Evaluation, PolicySample
from pushcut.transfers import to_device


@dataclass(frozen=True)
class ActionTokenizer:
    """Uniform bins over [-1, 1] (OpenVLA, Kim et al. 2024).

    ``bins`` edges enclose ``bins - 1`` intervals; an action is decoded to the centre of its
    interval. The last bin index means exactly 1 and shares the last centre.
    """

    bins: int = 256
    """Number of action tokens per dimension."""

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"bins must be >= 2, got {self.bins}")

    def encode(self, action: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Bin index 0 … bins-1 of normalised actions; values outside [-1, 1] are clipped."""
        # numpy's edges in float64, as in the reference: some values lie just beside an edge.
        edges = to_device(torch.from_numpy(np.linspace(-1, 1, self.bins)), action.device)
        return torch.bucketize(action.double().clamp(-1, 1), edges, right=True) - 1

    def decode(self, index: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Centre of the bin, in [-1, 1]."""
        edges = torch.linspace(-1, 1, self.bins, device=index.device)
        centres = (edges[:-1] + edges[1:]) / 2
        return centres[index.clamp(0, self.bins - 2)]


def draw(
    logits: Float[Tensor, "*shape bins"], uniform: Float[Tensor, "*shape"]
) -> Int[Tensor, "*shape"]:
    """Samples softmax(logits) by inverting its CDF at ``uniform`` in [0, 1)."""
    cdf = logits.softmax(-1).cumsum(-1)
    # The CDF may end just below 1 by rounding: u beyond it means the last bin.
    index = torch.searchsorted(cdf, uniform.unsqueeze(-1), right=True).squeeze(-1)
    return index.clamp(max=logits.shape[-1] - 1)


@dataclass(frozen=True)
class ActionTokens:
    """How logits over the bins become actions.

    The temperature belongs to acting, not to the weights: sampling and evaluating both use
    softmax(logits / T) (SimpleVLA-RL, F.3), greedy takes the largest logit.
    """

    tokenizer: ActionTokenizer
    temperature: float = 1.0
    spread: float = 0.0
    """Standard deviation, in bins, of what the logits are fitted to; 0: the bin alone."""

    def losses(
        self, logits: Float[Tensor, "b h a bins"], index: Int[Tensor, "b h a"]
    ) -> Float[Tensor, "b h a"]:
        """Cross entropy of each token with its bin, and with the bins around it."""
        target = index.flatten() if not self.spread else self.targets(index).flatten(0, 2)
        losses = F.cross_entropy(logits.flatten(0, 2), target, reduction="none")
        return losses.view_as(index)

    def targets(self, index: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape bins"]:
        """Probabilities of the bins: a Gaussian around the bin's centre, with ``spread`` > 0.

        Bins are ordered: one that lies beside the demonstrated one is nearly right.
        """
        bins = self.tokenizer.bins
        centres = self.tokenizer.decode(torch.arange(bins, device=index.device)) * (bins - 1) / 2
        away = centres - centres[index].unsqueeze(-1)
        return (-(away**2) / (2 * self.spread**2)).softmax(-1)

    def sample(
        self, logits: Float[Tensor, "b h a bins"], uniform: Float[Tensor, "b h a"] | None
    ) -> PolicySample:
        """Draws bins with the given noise, or the most likely ones without noise.

        The actions of the sample are normalised; the policy un-normalises them.
        """
        scaled = logits / self.temperature
        index = logits.argmax(-1) if uniform is None else draw(scaled, uniform)
        return PolicySample(
            actions=self.tokenizer.decode(index),
            trace={"bins": index.to(torch.int16)},
            logprob=_logprob(scaled, index).unsqueeze(1),
        )

    def evaluate(
        self, logits: Float[Tensor, "b h a bins"], bins: Int[Tensor, "b h a"]
    ) -> Evaluation:
        """Log-probability of stored bins and entropy, at the sampling temperature."""
        scaled = logits / self.temperature
        log_probs = scaled.log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        chosen = log_probs.gather(-1, bins.long().unsqueeze(-1)).squeeze(-1)
        return Evaluation(logprob=chosen.unsqueeze(1), entropy=entropy.unsqueeze(1))


def _logprob(
    logits: Float[Tensor, "b h a bins"], index: Int[Tensor, "b h a"]
) -> Float[Tensor, "b h a"]:
    return logits.log_softmax(-1).gather(-1, index.unsqueeze(-1)).squeeze(-1)


class TokenHead(nn.Module):
    """Turns the feature of a query into logits over the bins of its action dimensions."""

    def __init__(self, width: int, dimensions: int, bins: int) -> None:
        super().__init__()
        self.sizes = (dimensions, bins)
        self.project = nn.Linear(width, dimensions * bins)

    def logits(self, features: Float[Tensor, "b q d"]) -> Float[Tensor, "b q dimensions bins"]:
        """Logits at temperature 1, in float32."""
        return self.project(features).unflatten(-1, self.sizes).float()
