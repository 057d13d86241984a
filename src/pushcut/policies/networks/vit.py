"""Vision transformers under timm's parameter names: DINOv2 with registers, and SigLIP."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Float
from torch import Tensor, nn

from pushcut.policies.networks.attention import attention
from pushcut.policies.networks.gradient_checkpointing import Recompute

EPS = 1e-6
"""Epsilon of all norms."""


@dataclass(frozen=True)
class ViTSizes:
    """Shape of a tower."""

    width: int
    depth: int
    heads: int
    mlp: int
    prefix_tokens: int = 0
    """Tokens before the patches: a class token and registers (DINOv2), or none (SigLIP)."""

    @property
    def is_dino(self) -> bool:
        """Whether this is DINOv2, with prefix tokens; SigLIP has a pooling head."""
        return self.prefix_tokens > 0


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        b, t, _ = x.shape
        query, key, value = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(attention(query, key, value))


class _MLP(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return self.fc2(F.gelu(self.fc1(x)))


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale_factor = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return x * self.scale_factor


class ViTBlock(nn.Module):
    """Pre-norm block with exact GELU; DINOv2 scales what it adds."""

    def __init__(self, sizes: ViTSizes) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.width, eps=EPS)
        self.attn = _Attention(sizes.width, sizes.heads)
        self.norm2 = nn.LayerNorm(sizes.width, eps=EPS)
        self.mlp = _MLP(sizes.width, sizes.mlp)
        self.ls1: nn.Module = _Scale(sizes.width) if sizes.is_dino else nn.Identity()
        self.ls2: nn.Module = _Scale(sizes.width) if sizes.is_dino else nn.Identity()

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """All tokens see all."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _PatchEmbed(nn.Module):
    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, stride=patch_size)


class _UnusedPool(nn.Module):
    """SigLIP's pooling head: released, never used."""

    def __init__(self, sizes: ViTSizes) -> None:
        super().__init__()
        width = sizes.width
        self.latent = nn.Parameter(torch.zeros(1, 1, width))
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.mlp = _MLP(width, sizes.mlp)


class VisionTower(nn.Module):
    """Normalised images -> a feature for each patch, from the second-to-last block.

    The last block, the final norm and the pooling head are released and never used.
    """

    def __init__(self, sizes: ViTSizes, *, patches: int, patch_size: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.recompute = Recompute()
        if sizes.is_dino:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
            self.reg_token = nn.Parameter(torch.zeros(1, sizes.prefix_tokens - 1, sizes.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, patches, sizes.width))
        self.patch_embed = _PatchEmbed(sizes.width, patch_size)
        self.blocks = nn.ModuleList(ViTBlock(sizes) for _ in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.width, eps=EPS)
        if not sizes.is_dino:
            self.attn_pool = _UnusedPool(sizes)
        for unused in self.unused():
            unused.requires_grad_(False)

    @property
    def used_blocks(self) -> list[nn.Module]:
        """All blocks but the last."""
        return list(self.blocks)[:-1]

    def unused(self) -> list[nn.Module]:
        """Parts that no output depends on."""
        pool = [] if self.sizes.is_dino else [self.attn_pool]
        return [self.blocks[-1], self.norm, *pool]

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b t d"]:
        """Features of the patches, row by row."""
        x = self.patch_embed.proj(images).flatten(2).transpose(1, 2) + self.pos_embed
        if self.sizes.is_dino:
            first = torch.cat((self.cls_token, self.reg_token), dim=1)
            x = torch.cat((first.expand(len(x), -1, -1), x), dim=1)
        for block in self.used_blocks:
            x = self.recompute(block, x)
        return x[:, self.sizes.prefix_tokens :]
