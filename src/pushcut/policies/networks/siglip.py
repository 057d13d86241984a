"""SigLIP's image tower (Zhai et al. 2023) under Hugging Face's parameter names."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Float, Int
from torch import Tensor, nn

from pushcut.policies.networks.attention import attention
from pushcut.policies.networks.gradient_checkpointing import Recompute

EPS = 1e-6
"""Epsilon of all norms."""


@dataclass(frozen=True)
class SiglipSizes:
    """Shape of the tower; the defaults are so400m at 224 pixels, patches of 14."""

    width: int = 1152
    depth: int = 27
    mlp: int = 4304
    heads: int = 16
    image_size: int = 224
    patch_size: int = 14

    @property
    def patches(self) -> int:
        """Tokens of an image."""
        return (self.image_size // self.patch_size) ** 2


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        b, t, _ = x.shape
        query, key, value = (
            part(x).view(b, t, self.heads, -1).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(attention(query, key, value))


class _MLP(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class SiglipBlock(nn.Module):
    """Pre-norm block, bidirectional."""

    def __init__(self, sizes: SiglipSizes) -> None:
        super().__init__()
        self.self_attn = _Attention(sizes.width, sizes.heads)
        self.layer_norm1 = nn.LayerNorm(sizes.width, eps=EPS)
        self.mlp = _MLP(sizes.width, sizes.mlp)
        self.layer_norm2 = nn.LayerNorm(sizes.width, eps=EPS)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """All tokens see all."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class _Embeddings(nn.Module):
    def __init__(self, sizes: SiglipSizes) -> None:
        super().__init__()
        patch = sizes.patch_size
        self.patch_embedding = nn.Conv2d(3, sizes.width, patch, stride=patch)
        self.position_embedding = nn.Embedding(sizes.patches, sizes.width)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b t d"]:
        patches = self.patch_embedding(images.to(self.patch_embedding.weight.dtype))
        # Not its weight alone: the layer may have to be gathered before it computes.
        places = self._places(patches.shape[-1], images.device)
        return patches.flatten(2).transpose(1, 2) + self.position_embedding(places)

    def _places(self, side: int, device: torch.device) -> Int[Tensor, " t"]:
        """Rows of the table for a square of patches, whose side may be another than the table's.

        Patch i of n has the row of the table's patch that holds i / n of its side, as SmolVLM does
        it for images of any size.
        """
        own = math.isqrt(self.position_embedding.num_embeddings)
        at = torch.arange(side, device=device) * own // side
        return (at[:, None] * own + at).flatten()


class _Encoder(nn.Module):
    def __init__(self, sizes: SiglipSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SiglipBlock(sizes) for _ in range(sizes.depth))


class PoolingHead(nn.Module):
    """What makes one vector of an image: released with some towers, never used, never trained."""

    def __init__(self, sizes: SiglipSizes) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.attention = nn.MultiheadAttention(sizes.width, sizes.heads)
        self.layernorm = nn.LayerNorm(sizes.width, eps=EPS)
        self.mlp = _MLP(sizes.width, sizes.mlp)
        self.requires_grad_(False)


class SiglipTower(nn.Module):
    """Images in [-1, 1] -> a token for each patch."""

    def __init__(self, sizes: SiglipSizes) -> None:
        super().__init__()
        self.embeddings = _Embeddings(sizes)
        self.encoder = _Encoder(sizes)
        self.recompute = Recompute()
        self.post_layernorm = nn.LayerNorm(sizes.width, eps=EPS)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b t d"]:
        """Tokens after the last norm."""
        x = self.embeddings(images)
        first = self.encoder.layers[0]
        assert isinstance(first, SiglipBlock)
        # That of the norms: linear layers may be read in another than their weights are kept in.
        x = x.to(first.layer_norm1.weight.dtype)
        for block in self.encoder.layers:
            x = self.recompute(block, x)
        return self.post_layernorm(x)
