"""Llama-2 (Touvron et al. 2023) under Hugging Face's names, with attention in both directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pushcut.policies.networks.attention import Rotation, attention, rotate
from pushcut.policies.networks.gradient_checkpointing import Recompute


@dataclass(frozen=True)
class LlamaSizes:
    """Shape of a Llama; the defaults are the 7 B parameters of OpenVLA."""

    hidden: int = 4096
    intermediate: int = 11008
    layers: int = 32
    heads: int = 32
    kv_heads: int = 32
    rms_norm_eps: float = 1e-6
    """The default of Hugging Face's configuration, which OpenVLA leaves alone."""
    rope_theta: float = 10_000.0
    vocab_padded: int = 32064
    """Rows of the word table."""

    @property
    def head_dim(self) -> int:
        """Size of a head."""
        return self.hidden // self.heads


class RMSNorm(nn.Module):
    """Root-mean-square norm, in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Token by token."""
        return self.weight * F.rms_norm(x.float(), x.shape[-1:], None, self.eps).to(x.dtype)


class _Attention(nn.Module):
    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.head_dim = sizes.head_dim
        keys = sizes.kv_heads * sizes.head_dim
        self.q_proj = nn.Linear(sizes.hidden, sizes.hidden, bias=False)
        self.k_proj = nn.Linear(sizes.hidden, keys, bias=False)
        self.v_proj = nn.Linear(sizes.hidden, keys, bias=False)
        self.o_proj = nn.Linear(sizes.hidden, sizes.hidden, bias=False)

    def forward(
        self, x: Float[Tensor, "b t d"], by: Rotation, mask: Bool[Tensor, "b 1 1 t"] | None
    ) -> Float[Tensor, "b t d"]:
        b, t, _ = x.shape
        query, key, value = (
            part(x).view(b, t, -1, self.head_dim).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.o_proj(attention(rotate(query, by), rotate(key, by), value, mask))


class GatedMLP(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Token by token."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaBlock(nn.Module):
    """Pre-norm block."""

    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.self_attn = _Attention(sizes)
        self.mlp = GatedMLP(sizes.hidden, sizes.intermediate)
        self.input_layernorm = RMSNorm(sizes.hidden, sizes.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(sizes.hidden, sizes.rms_norm_eps)

    def forward(
        self, x: Float[Tensor, "b t d"], by: Rotation, mask: Bool[Tensor, "b 1 1 t"] | None
    ) -> Float[Tensor, "b t d"]:
        """All tokens see all that ``mask`` shows."""
        x = x + self.self_attn(self.input_layernorm(x), by, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaModel(nn.Module):
    """The stack of blocks on given embeddings."""

    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.recompute = Recompute()
        self.embed_tokens = nn.Embedding(sizes.vocab_padded, sizes.hidden)
        self.layers = nn.ModuleList(LlamaBlock(sizes) for _ in range(sizes.layers))
        self.norm = RMSNorm(sizes.hidden, sizes.rms_norm_eps)

    def forward(
        self, x: Float[Tensor, "b t d"], by: Rotation, mask: Bool[Tensor, "b 1 1 t"] | None
    ) -> Float[Tensor, "b t d"]:
        """Outputs before the last norm."""
        for block in self.layers:
            x = self.recompute(block, x, by, mask)
        return x
