"""Qwen3's blocks (Qwen Team 2025) under Hugging Face's names, cut after the first layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pushcut.policies.networks.attention import Rotation, attention, rotate, rotation
from pushcut.policies.networks.gradient_checkpointing import Recompute
from pushcut.policies.networks.llama import GatedMLP, RMSNorm

EPS = 1e-6
"""Epsilon of all norms."""

THETA = 1e6
"""Base of the rotary positions."""


@dataclass(frozen=True)
class Qwen3Sizes:
    """Shape of a Qwen3; the defaults are those of Qwen3-1.7B as GR00T N1.5 cuts it."""

    hidden: int = 2048
    intermediate: int = 6144
    layers: int = 12
    heads: int = 16
    kv_heads: int = 8
    head_dim: int = 128
    vocab_size: int = 151680


class _Attention(nn.Module):
    """Attention whose queries and keys are normed head by head before they are rotated."""

    def __init__(self, sizes: Qwen3Sizes) -> None:
        super().__init__()
        self.head_dim = sizes.head_dim
        queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
        self.q_proj = nn.Linear(sizes.hidden, queries, bias=False)
        self.k_proj = nn.Linear(sizes.hidden, keys, bias=False)
        self.v_proj = nn.Linear(sizes.hidden, keys, bias=False)
        self.o_proj = nn.Linear(queries, sizes.hidden, bias=False)
        self.q_norm = RMSNorm(sizes.head_dim, EPS)
        self.k_norm = RMSNorm(sizes.head_dim, EPS)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        by: Rotation,
        mask: Bool[Tensor, "b 1 t t"],
        is_token: Bool[Tensor, "b t 1"],
    ) -> Float[Tensor, "b t d"]:
        query, key, value = (
            part(x).unflatten(-1, (-1, self.head_dim))
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = self.q_norm(query).transpose(1, 2), self.k_norm(key).transpose(1, 2)
        value = value.transpose(1, 2)
        query, key = rotate(query, by).to(value.dtype), rotate(key, by).to(value.dtype)
        return self.o_proj(attention(query, key, value, mask) * is_token)


class Qwen3Block(nn.Module):
    """Pre-norm block."""

    def __init__(self, sizes: Qwen3Sizes) -> None:
        super().__init__()
        self.self_attn = _Attention(sizes)
        self.mlp = GatedMLP(sizes.hidden, sizes.intermediate)
        self.input_layernorm = RMSNorm(sizes.hidden, EPS)
        self.post_attention_layernorm = RMSNorm(sizes.hidden, EPS)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        by: Rotation,
        mask: Bool[Tensor, "b 1 t t"],
        is_token: Bool[Tensor, "b t 1"],
    ) -> Float[Tensor, "b t d"]:
        """Tokens see those that ``mask`` shows; what is no token adds nothing by attention."""
        x = x + self.self_attn(self.input_layernorm(x), by, mask, is_token)
        return x + self.mlp(self.post_attention_layernorm(x))


class Qwen3Model(nn.Module):
    """The stack of blocks on given embeddings, causal, and the final norm."""

    def __init__(self, sizes: Qwen3Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.recompute = Recompute()
        self.embed_tokens = nn.Embedding(sizes.vocab_size, sizes.hidden)
        self.layers = nn.ModuleList(Qwen3Block(sizes) for _ in range(sizes.layers))
        self.norm = RMSNorm(sizes.hidden, EPS)

    def forward(
        self, x: Float[Tensor, "b t d"], visible: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t d"]:
        """Outputs of all rows, padding too.

        Padding has FlashAttention-2's semantics: nobody sees it, attention gives it 0, and it goes
        through norms and MLPs like a token.
        """
        t = x.shape[1]
        place = torch.arange(t, device=x.device)
        by = rotation(place.expand(len(x), t), self.sizes.head_dim, THETA)
        earlier = place[:, None] >= place
        # Padding sees itself, for a softmax over nothing has no value.
        itself = torch.eye(t, dtype=torch.bool, device=x.device)
        mask = (earlier & visible[:, None, :] & visible[:, :, None]) | itself
        for block in self.layers:
            x = self.recompute(block, x, by, mask.unsqueeze(1), visible.unsqueeze(-1))
        return self.norm(x)
