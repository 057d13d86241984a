"""Gemma (Gemma Team 2024) as pi0 uses it: blocks whose attention is steered from outside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from pushcut.policies.networks.attention import KeyValue, Rotation, attention, rotate
from pushcut.policies.precision import full_precision

EPS = 1e-6
"""Epsilon of all norms."""


@dataclass(frozen=True)
class GemmaSizes:
    """Shape of a Gemma."""

    width: int
    depth: int
    mlp: int
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


class SelfAttention(nn.Module):
    """The projections of attention, without bias."""

    def __init__(self, sizes: GemmaSizes) -> None:
        super().__init__()
        self.sizes = sizes
        queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
        self.q_proj = nn.Linear(sizes.width, queries, bias=False)
        self.k_proj = nn.Linear(sizes.width, keys, bias=False)
        self.v_proj = nn.Linear(sizes.width, keys, bias=False)
        self.o_proj = nn.Linear(queries, sizes.width, bias=False)

    def split(self, projected: Float[Tensor, "b t inner"]) -> Float[Tensor, "b heads t c"]:
        """Splits projections into heads."""
        b, t, _ = projected.shape
        return projected.view(b, t, -1, self.sizes.head_dim).transpose(1, 2)


class GemmaBlock(nn.Module):
    """Pre-norm block; tokens see a context's keys and values, then their own."""

    def __init__(self, sizes: GemmaSizes, *, adaptive: bool) -> None:
        super().__init__()
        self.self_attn = SelfAttention(sizes)
        self.mlp = GatedMLP(sizes.width, sizes.mlp)
        self.input_layernorm = make_norm(sizes.width, adaptive=adaptive)
        self.post_attention_layernorm = make_norm(sizes.width, adaptive=adaptive)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        by: Rotation,
        mask: Shaped[Tensor, "#b 1 _ k"] | None,
        context: KeyValue | None = None,
        condition: Float[Tensor, "b m d"] | None = None,
    ) -> tuple[Float[Tensor, "b t d"], KeyValue]:
        """Updated tokens, and their own keys and values."""
        attend = self.self_attn
        normed, gate = self.input_layernorm(x, condition)
        own = self._key_value(normed, by)
        key, value = own
        if context is not None:
            key, value = torch.cat((context[0], key), 2), torch.cat((context[1], value), 2)
        query = rotate(attend.split(attend.q_proj(normed)), by)
        x = _add(x, attend.o_proj(attention(query, key, value, mask)), gate)
        normed, gate = self.post_attention_layernorm(x, condition)
        return _add(x, self.mlp(normed), gate), own

    def cache(self, x: Float[Tensor, "b t d"], by: Rotation) -> KeyValue:
        """Keys and values alone, where updated tokens are not needed."""
        return self._key_value(self.input_layernorm(x, None)[0], by)

    def _key_value(self, normed: Float[Tensor, "b t d"], by: Rotation) -> KeyValue:
        attend = self.self_attn
        key = rotate(attend.split(attend.k_proj(normed)), by)
        return key, attend.split(attend.v_proj(normed))


def _add(
    x: Float[Tensor, "b t d"], update: Float[Tensor, "b t d"], gate: Float[Tensor, "b #t d"] | None
) -> Float[Tensor, "b t d"]:
    return x + update if gate is None else x + update * gate
