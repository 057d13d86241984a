"""A transformer block whose tokens also see keys and values from outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from pushcut.policies.networks.attention import KeyValue, Rotation, attention, rotate
from pushcut.policies.networks.gradient_checkpointing import Recompute


@dataclass(frozen=True)
class BlockSizes:
    """Shape of a stack of such blocks."""

    width: int
    depth: int
    mlp: int
    heads: int
    kv_heads: int
    head_dim: int


class SelfAttention(nn.Module):
    """The projections of attention, without bias."""

    def __init__(self, sizes: BlockSizes) -> None:
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


class ContextBlock(nn.Module):
    """Pre-norm block; tokens see a context's keys and values, then their own.

    Where weights are sharded, each public method gathers them for one call and lets them go: what
    the others call is private.
    """

    def __init__(
        self, attend: SelfAttention, mlp: nn.Module, norm_in: nn.Module, norm_out: nn.Module
    ) -> None:
        super().__init__()
        self.self_attn, self.mlp = attend, mlp
        self.input_layernorm, self.post_attention_layernorm = norm_in, norm_out

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
        normed, gate = self._normed(self.input_layernorm, x, condition)
        own = self._key_value(normed, by)
        key, value = own if context is None else self._seen(context, own)
        query = rotate(attend.split(attend.q_proj(normed)), by)
        x = _add(x, attend.o_proj(attention(query, key, value, mask)), gate)
        normed, gate = self._normed(self.post_attention_layernorm, x, condition)
        return _add(x, self.mlp(normed), gate), own

    def _seen(self, context: KeyValue, own: KeyValue) -> KeyValue:
        """Keys and values that the tokens attend to, the context's first."""
        return torch.cat((context[0], own[0]), 2), torch.cat((context[1], own[1]), 2)

    def cache(self, x: Float[Tensor, "b t d"], by: Rotation) -> KeyValue:
        """Keys and values alone, where updated tokens are not needed."""
        return self._key_value(self._normed(self.input_layernorm, x, None)[0], by)

    def _normed(
        self, norm: nn.Module, x: Float[Tensor, "b t d"], condition: Float[Tensor, "b m d"] | None
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b #t d"] | None]:
        """Normed tokens, and what their update is multiplied by, where a condition says it."""
        return norm(x), None

    def _key_value(self, normed: Float[Tensor, "b t d"], by: Rotation) -> KeyValue:
        """Keys and values of tokens that are normed."""
        attend = self.self_attn
        key = rotate(attend.split(attend.k_proj(normed)), by)
        return key, attend.split(attend.v_proj(normed))


def _add(
    x: Float[Tensor, "b t d"], update: Float[Tensor, "b t d"], gate: Float[Tensor, "b #t d"] | None
) -> Float[Tensor, "b t d"]:
    return x + update if gate is None else x + update * gate


def read_prefix(
    blocks: Iterable[ContextBlock],
    x: Float[Tensor, "b t d"],
    by: Rotation,
    mask: Shaped[Tensor, "#b 1 _ k"] | None,
    *,
    recompute: Recompute,
    output: bool,
) -> tuple[list[KeyValue], Float[Tensor, "b t d"] | None]:
    """Keys and values of tokens at each block, and the last one's output where it is asked for."""
    *first, last = blocks
    caches = []
    for block in first:
        x, cache = recompute(block, x, by, mask)
        caches.append(cache)
    if not output:
        return [*caches, last.cache(x, by)], None
    x, cache = recompute(last, x, by, mask)
    return [*caches, cache], x
