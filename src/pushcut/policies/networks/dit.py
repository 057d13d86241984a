"""Diffusion transformers (Peebles & Xie 2023) as GR00T N1.5 has them, names as in diffusers.

Dropout is left out: reinforcement learning and deployment do without (pi_RL, appendix H).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pushcut.policies.networks.attention import attention
from pushcut.policies.networks.gradient_checkpointing import Recompute

EPS = 1e-5
"""Epsilon of the norms of all blocks."""

OUTPUT_EPS = 1e-6
"""Epsilon of the norm behind the last block."""

SINUSOIDS = 256
"""Numbers that a time is written in before its MLP."""


@dataclass(frozen=True)
class DiTSizes:
    """Shape of a stack of blocks."""

    heads: int
    head_dim: int
    depth: int

    @property
    def width(self) -> int:
        """Size of a token."""
        return self.heads * self.head_dim


class _Attention(nn.Module):
    def __init__(self, sizes: DiTSizes, context: int) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.to_q = nn.Linear(sizes.width, sizes.width)
        self.to_k = nn.Linear(context, sizes.width)
        self.to_v = nn.Linear(context, sizes.width)
        self.to_out = nn.Sequential(nn.Linear(sizes.width, sizes.width))

    def forward(
        self,
        x: Float[Tensor, "b q d"],
        context: Float[Tensor, "b k c"],
        mask: Bool[Tensor, "b 1 1 k"] | None,
    ) -> Float[Tensor, "b q d"]:
        query, key, value = (
            part(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part, tokens in ((self.to_q, x), (self.to_k, context), (self.to_v, context))
        )
        return self.to_out(attention(query, key, value, mask))


class _GELU(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, inner)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t inner"]:
        return F.gelu(self.proj(x), approximate="tanh")


class _FeedForward(nn.Module):
    """Four times as wide inside; the layer in the middle is where dropout was."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            _GELU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return self.net(x)


class _AdaptiveNorm(nn.Module):
    """Layer norm whose scale and shift come from the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)

    def forward(
        self, x: Float[Tensor, "n t d"], time: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n t d"]:
        scale, shift = self.linear(F.silu(time)).unsqueeze(1).chunk(2, dim=-1)
        return F.layer_norm(x, x.shape[-1:], eps=EPS).to(x.dtype) * (1 + scale) + shift


class SelfAttentionBlock(nn.Module):
    """Pre-norm block whose norms have weights of their own."""

    def __init__(self, sizes: DiTSizes) -> None:
        super().__init__()
        self.attn1 = _Attention(sizes, sizes.width)
        self.norm1 = nn.LayerNorm(sizes.width, eps=EPS)
        self.norm3 = nn.LayerNorm(sizes.width, eps=EPS)
        self.ff = _FeedForward(sizes.width)

    def forward(
        self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b 1 1 t"] | None
    ) -> Float[Tensor, "b t d"]:
        """All tokens see all that ``mask`` shows."""
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed, mask)
        return x + self.ff(self.norm3(x))


class SelfAttentionStack(nn.Module):
    """Blocks of self-attention, without positions."""

    def __init__(self, sizes: DiTSizes) -> None:
        super().__init__()
        self.recompute = Recompute()
        self.transformer_blocks = nn.ModuleList(
            SelfAttentionBlock(sizes) for _ in range(sizes.depth)
        )

    def forward(
        self, x: Float[Tensor, "b t d"], visible: Bool[Tensor, "b t"] | None
    ) -> Float[Tensor, "b t d"]:
        """Outputs of the last block; None: every row is seen."""
        mask = None if visible is None else visible[:, None, None, :]
        for block in self.transformer_blocks:
            x = self.recompute(block, x, mask)
        return x


class DiTBlock(nn.Module):
    """Pre-norm block that sees a context or, without one, the tokens of its own point."""

    def __init__(self, sizes: DiTSizes, context: int | None) -> None:
        super().__init__()
        self.crosses = context is not None
        self.attn1 = _Attention(sizes, sizes.width if context is None else context)
        self.norm1 = _AdaptiveNorm(sizes.width)
        self.ff = _FeedForward(sizes.width)

    def forward(
        self,
        x: Float[Tensor, "n t d"],
        time: Float[Tensor, "n d"],
        context: Float[Tensor, "b k c"],
        mask: Bool[Tensor, "b 1 1 k"] | None,
    ) -> Float[Tensor, "n t d"]:
        """Tokens of n = b m points, the m of each row one after the other."""
        normed = self.norm1(x, time)
        if self.crosses:
            # All points of a row look at its context, whose keys are made once.
            rows = normed.reshape(len(context), -1, normed.shape[-1])
            seen = self.attn1(rows, context, mask).view(x.shape)
        else:
            seen = self.attn1(normed, normed, None)
        x = x + seen
        return x + self.ff(F.layer_norm(x, x.shape[-1:], eps=EPS).to(x.dtype))


class _TimestepEmbedder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(SINUSOIDS, width)
        self.linear_2 = nn.Linear(width, width)


class _TimestepEncoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = _TimestepEmbedder(width)

    def forward(self, bucket: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Cosines first, then sines, of the bucket's number."""
        angle = angles(bucket, SINUSOIDS // 2, last=SINUSOIDS // 2 - 1)
        layers = self.timestep_embedder
        waves = torch.cat((angle.cos(), angle.sin()), dim=-1).to(layers.linear_1.weight.dtype)
        return layers.linear_2(F.silu(layers.linear_1(waves)))


def angles(bucket: Int[Tensor, "*n"], size: int, *, last: int) -> Float[Tensor, "*n {size}"]:
    """Angles bucket * 1e4^(-i / last) for i = 0 … size - 1, in float32."""
    exponent = torch.arange(size, device=bucket.device) * (-math.log(1e4) / last)
    return bucket.unsqueeze(-1).float() * exponent.exp()


class DiT(nn.Module):
    """Blocks that look at a context and at themselves by turns, steered by the time."""

    def __init__(self, sizes: DiTSizes, *, context: int, output: int) -> None:
        super().__init__()
        self.recompute = Recompute()
        self.timestep_encoder = _TimestepEncoder(sizes.width)
        self.transformer_blocks = nn.ModuleList(
            DiTBlock(sizes, context if i % 2 == 0 else None) for i in range(sizes.depth)
        )
        self.proj_out_1 = nn.Linear(sizes.width, 2 * sizes.width)
        self.proj_out_2 = nn.Linear(sizes.width, output)

    def forward(
        self,
        x: Float[Tensor, "n t d"],
        bucket: Int[Tensor, " n"],
        context: Float[Tensor, "b k c"],
        visible: Bool[Tensor, "b k"] | None,
    ) -> Float[Tensor, "n t out"]:
        """Outputs of n = b m points; ``visible``: which rows of the context are seen, or all."""
        time = self.timestep_encoder(bucket)
        mask = None if visible is None else visible[:, None, None, :]
        for block in self.transformer_blocks:
            x = self.recompute(block, x, time, context, mask)
        shift, scale = self.proj_out_1(F.silu(time)).unsqueeze(1).chunk(2, dim=-1)
        normed = F.layer_norm(x, x.shape[-1:], eps=OUTPUT_EPS).to(x.dtype)
        return self.proj_out_2(normed * (1 + scale) + shift)
