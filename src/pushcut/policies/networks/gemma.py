"""Gemma (Gemma Team 2024) as pi0 uses it: blocks whose attention is steered from outside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Float
from torch import Tensor, nn

from pushcut.policies.networks.context_block import BlockSizes, ContextBlock, SelfAttention
from pushcut.policies.precision import full_precision

EPS = 1e-6
"""Epsilon of all norms."""


@dataclass(frozen=True)
class GemmaSizes(BlockSizes):
    """Shape of a Gemma."""

    heads: int = 8
    kv_heads: int = 1
    head_dim: int = 256


class RMSNorm(nn.Module):
    """Root-mean-square norm with the gain 1 + weight, in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(
        self, x: Float[Tensor, "b t d"], condition: Float[Tensor, "b m d"] | None
    ) -> tuple[Float[Tensor, "b t d"], None]:
        """The normed tokens; no gate."""
        return F.rms_norm(x.float(), x.shape[-1:], 1 + self.weight.float(), EPS).to(x.dtype), None


class AdaptiveRMSNorm(nn.Module):
    """Root-mean-square norm whose scale, shift and gate come from a condition (pi0.5's adaRMS).

    Each of m conditions is for t / m consecutive tokens.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, 3 * width)

    def forward(
        self, x: Float[Tensor, "b t d"], condition: Float[Tensor, "b m d"] | None
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b #t d"]]:
        """The normed tokens, and what their update is multiplied by."""
        if condition is None:
            raise ValueError("an adaptive norm needs a condition")
        # openpi keeps this layer in float32, and computes it so.
        with full_precision(x):
            modulation = self.dense(condition.to(self.dense.weight.dtype))
        if condition.shape[1] > 1:
            modulation = modulation.repeat_interleave(x.shape[1] // condition.shape[1], dim=1)
        scale, shift, gate = modulation.chunk(3, dim=-1)
        normed = F.rms_norm(x.float(), x.shape[-1:], None, EPS)
        return (normed * (1 + scale.float()) + shift.float()).to(x.dtype), gate.to(x.dtype)


def make_norm(width: int, *, adaptive: bool) -> RMSNorm | AdaptiveRMSNorm:
    """Makes a plain norm, or an adaptive one where there is a condition."""
    return AdaptiveRMSNorm(width) if adaptive else RMSNorm(width)


class GatedMLP(nn.Module):
    """down(gelu(gate(x)) * up(x)), GELU in its tanh form."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Token by token."""
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class GemmaBlock(ContextBlock):
    """A block of Gemma, whose norms may be adaptive."""

    def __init__(self, sizes: GemmaSizes, *, adaptive: bool) -> None:
        super().__init__(
            SelfAttention(sizes),
            GatedMLP(sizes.width, sizes.mlp),
            make_norm(sizes.width, adaptive=adaptive),
            make_norm(sizes.width, adaptive=adaptive),
        )

    def _normed(
        self, norm: nn.Module, x: Float[Tensor, "b t d"], condition: Float[Tensor, "b m d"] | None
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b #t d"] | None]:
        return norm(x, condition)
