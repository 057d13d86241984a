"""SmolVLA (Shukor et al. 2025): SmolVLM2, cut, and an action expert; names as released."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pushcut.policies.networks.attention import KeyValue, Rotation, mask_of_heads, rotation
from pushcut.policies.networks.context_block import (
    BlockSizes,
    ContextBlock,
    SelfAttention,
    read_prefix,
)
from pushcut.policies.networks.expert_output import ExpertOutput
from pushcut.policies.networks.gradient_checkpointing import Recompute
from pushcut.policies.networks.llama import GatedMLP, RMSNorm
from pushcut.policies.networks.prefix_cache import PrefixCache
from pushcut.policies.networks.siglip import SiglipSizes, SiglipTower
from pushcut.policies.networks.times import time_embedding
from pushcut.policies.precision import full_precision

EPS = 1e-5
"""Epsilon of the norms of words and actions."""


@dataclass(frozen=True)
class SmolVLASizes:
    """Shape of a SmolVLA; the defaults are those of lerobot/smolvla_base (0.45 B)."""

    vision: SiglipSizes = SiglipSizes(
        width=768, depth=12, mlp=3072, heads=12, image_size=512, patch_size=16
    )
    pixel_shuffle: int = 4
    """Side of the squares of patches that become one token."""
    vlm: BlockSizes = BlockSizes(960, 16, 2560, heads=15, kv_heads=5, head_dim=64)
    """The first 16 of SmolVLM2's 32 blocks."""
    expert: BlockSizes = BlockSizes(720, 16, 2048, heads=15, kv_heads=5, head_dim=64)
    self_attention_every: int = 2
    """The expert's blocks 0, n, 2n, … see the actions as well; the others the VLM alone. 0: none
    does."""
    vocab_size: int = 49280
    chunk: int = 50
    """Steps that are predicted."""
    state_dim: int = 32
    action_dim: int = 32
    image_size: int = 512
    """Side of the square that images are fitted into, pixels; positions are interpolated where the
    tower was made for another."""

    def __post_init__(self) -> None:
        unit = self.vision.patch_size * self.pixel_shuffle
        if self.image_size % unit:
            raise ValueError(f"image_size must be a multiple of {unit}, got {self.image_size}")
        if self.expert.depth != self.vlm.depth:
            raise ValueError(
                f"the expert has {self.expert.depth} blocks and the VLM {self.vlm.depth}: pushcut "
                "knows networks with one for each"
            )

    @property
    def image_tokens(self) -> int:
        """Tokens of an image."""
        return (self.image_size // (self.vision.patch_size * self.pixel_shuffle)) ** 2

    def sees_actions(self, block: int) -> bool:
        """Whether a block of the expert attends to the actions besides the VLM's tokens."""
        return self.self_attention_every > 0 and block % self.self_attention_every == 0


def _block(sizes: BlockSizes) -> ContextBlock:
    norms = (RMSNorm(sizes.width, EPS), RMSNorm(sizes.width, EPS))
    return ContextBlock(SelfAttention(sizes), GatedMLP(sizes.width, sizes.mlp), *norms)


class CrossBlock(ContextBlock):
    """A block whose tokens see the context alone, through projections of its keys and values."""

    def __init__(self, sizes: BlockSizes, context: BlockSizes) -> None:
        attend, norms = SelfAttention(sizes), (RMSNorm(sizes.width, EPS) for _ in range(2))
        given, keys = context.kv_heads * context.head_dim, sizes.kv_heads * sizes.head_dim
        attend.k_proj = nn.Linear(given, keys, bias=False)
        attend.v_proj = nn.Linear(given, keys, bias=False)
        super().__init__(attend, GatedMLP(sizes.width, sizes.mlp), *norms)

    def _seen(self, context: KeyValue, own: KeyValue) -> KeyValue:
        """The context's, projected; keys keep the positions that they were rotated by."""
        attend = self.self_attn
        key, value = (x.transpose(1, 2).flatten(2) for x in context)
        return attend.split(attend.k_proj(key)), attend.split(attend.v_proj(value))

    def _key_value(self, normed: Float[Tensor, "b t d"], by: Rotation) -> KeyValue:
        """None of its own: no token."""
        empty = normed.new_zeros(len(normed), self.self_attn.sizes.kv_heads, 0, by[0].shape[-1])
        return empty, empty


class _Language(nn.Module):
    def __init__(self, sizes: SmolVLASizes) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(sizes.vocab_size, sizes.vlm.width)
        self.layers = nn.ModuleList(_block(sizes.vlm) for _ in range(sizes.vlm.depth))
        self.norm = RMSNorm(sizes.vlm.width, EPS)


class _Projection(nn.Module):
    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width_in, width_out, bias=False)


class _Connector(nn.Module):
    """Squares of patches become tokens: fewer of them, and wider."""

    def __init__(self, sizes: SmolVLASizes) -> None:
        super().__init__()
        self.side = sizes.pixel_shuffle
        self.modality_projection = _Projection(sizes.vision.width * self.side**2, sizes.vlm.width)

    def forward(self, x: Float[Tensor, "b t c"]) -> Float[Tensor, "b u d"]:
        b, t, c = x.shape
        squares = math.isqrt(t) // self.side
        x = x.view(b, squares, self.side, squares, self.side, c).transpose(2, 3)
        return self.modality_projection.proj(x.reshape(b, squares**2, -1))


class _VLMModel(nn.Module):
    def __init__(self, sizes: SmolVLASizes) -> None:
        super().__init__()
        self.vision_model = SiglipTower(sizes.vision)
        self.connector = _Connector(sizes)
        self.text_model = _Language(sizes)


class _VLM(nn.Module):
    def __init__(self, sizes: SmolVLASizes) -> None:
        super().__init__()
        self.model = _VLMModel(sizes)
        # Output words: released, never used and never trained.
        self.lm_head = nn.Linear(sizes.vlm.width, sizes.vocab_size, bias=False)
        self.lm_head.requires_grad_(False)


class _ActionExpert(nn.Module):
    def __init__(self, sizes: SmolVLASizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _block(sizes.expert) if sizes.sees_actions(i) else CrossBlock(sizes.expert, sizes.vlm)
            for i in range(sizes.expert.depth)
        )
        self.norm = RMSNorm(sizes.expert.width, EPS)


class _VLMWithExpert(nn.Module):
    def __init__(self, sizes: SmolVLASizes) -> None:
        super().__init__()
        self.vlm = _VLM(sizes)
        self.lm_expert = _ActionExpert(sizes)


class SmolVLANetwork(nn.Module):
    """SmolVLM2 reads images, prompt and state; the expert denoises actions, seeing its keys.

    Time: t = 1 is noise, t = 0 is data; the velocity is noise minus action.
    """

    def __init__(self, sizes: SmolVLASizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.expert.width
        self.vlm_with_expert = _VLMWithExpert(sizes)
        self.state_proj = nn.Linear(sizes.state_dim, sizes.vlm.width)
        self.action_in_proj = nn.Linear(sizes.action_dim, width)
        self.action_out_proj = nn.Linear(width, sizes.action_dim)
        self.action_time_mlp_in = nn.Linear(2 * width, width)
        self.action_time_mlp_out = nn.Linear(width, width)
        self.recompute = Recompute()

    @property
    def vlm(self) -> _VLM:
        """The VLM."""
        return self.vlm_with_expert.vlm

    @property
    def expert(self) -> _ActionExpert:
        """The action expert."""
        return self.vlm_with_expert.lm_expert

    @property
    def adaptable(self) -> dict[str, nn.Module]:
        """What can have low-rank adapters: blocks of the VLM and of the expert."""
        model = self.vlm.model
        return {
            "language": model.text_model.layers,
            "vision": model.vision_model.encoder,
            "expert": self.expert.layers,
        }

    def take_unused_parts(self) -> dict[str, Tensor]:
        """Removes output words that nobody computes; returns them by their names."""
        vlm = self.vlm
        if not hasattr(vlm, "lm_head"):
            return {}
        taken = {"vlm_with_expert.vlm.lm_head.weight": vlm.lm_head.weight.data}
        del vlm.lm_head
        return taken

    def embed(
        self,
        images: Float[Tensor, "b n 3 s s"],
        image_mask: Bool[Tensor, "b n"],
        token_ids: Int[Tensor, "b l"],
        token_mask: Bool[Tensor, "b l"],
        state: Float[Tensor, "b d"],
    ) -> tuple[Float[Tensor, "b p w"], Bool[Tensor, "b p"]]:
        """Embeddings of images in [-1, 1], prompt and state, and which of them are no padding.

        Image and word tokens are multiplied by the root of their width, the state's is not.
        """
        model, width = self.vlm.model, self.sizes.vlm.width
        seen = model.connector(model.vision_model(images.flatten(0, 1)))
        seen = seen.view(len(images), -1, width) * math.sqrt(width)
        said = model.text_model.embed_tokens(token_ids) * math.sqrt(width)
        with full_precision(state):
            own = self.state_proj(state).unsqueeze(1)
        there = image_mask.repeat_interleave(self.sizes.image_tokens, dim=1)
        visible = torch.cat((there, token_mask, torch.ones_like(token_mask[:, :1])), 1)
        return torch.cat((seen, said.to(seen.dtype), own.to(seen.dtype)), 1), visible

    def encode(
        self,
        images: Float[Tensor, "b n 3 s s"],
        image_mask: Bool[Tensor, "b n"],
        token_ids: Int[Tensor, "b l"],
        token_mask: Bool[Tensor, "b l"],
        state: Float[Tensor, "b d"],
        *,
        output: bool = False,
    ) -> PrefixCache:
        """The VLM, once per decision; ``output`` asks for the last block's as well.

        The state, which is the last token, sees everything; nothing else sees it.
        """
        x, visible = self.embed(images, image_mask, token_ids, token_mask, state)
        model, sizes = self.vlm.model.text_model, self.sizes.vlm
        by = rotation(visible.long().cumsum(1) - 1, sizes.head_dim)
        b, p = visible.shape
        shown = visible[:, None, None, :].repeat(1, 1, p, 1)
        shown[:, :, :-1, -1] = False
        mask = mask_of_heads(shown, sizes.heads // sizes.kv_heads, x.dtype)
        blocks = (block for block in model.layers if isinstance(block, ContextBlock))
        caches, x = read_prefix(blocks, x, by, mask, recompute=self.recompute, output=output)
        return PrefixCache(caches, visible, None if x is None else model.norm(x))

    def denoise(
        self, prefix: PrefixCache, x: Float[Tensor, "b m h a"], t: Float[Tensor, "b m"]
    ) -> ExpertOutput:
        """The expert on m points of each row's chain, which do not see each other."""
        b, m, h, _ = x.shape
        sizes = self.sizes.expert
        with full_precision(x):
            tokens = self._suffix(x, t)
        dtype = prefix.caches[0][0].dtype
        place = torch.arange(h, device=x.device).repeat(m).expand(b, -1)
        # Blocks that see the VLM alone count actions from 0.
        ways = {
            True: (
                rotation(prefix.visible.sum(1, keepdim=True) + place, sizes.head_dim),
                mask_of_heads(_causal(prefix.visible, m, h), sizes.heads // sizes.kv_heads, dtype),
            ),
            False: (rotation(place, sizes.head_dim), prefix.visible[:, None, None, :]),
        }
        out = tokens.view(b, m * h, -1).to(dtype)
        for block, cache in zip(self.expert.layers, prefix.caches, strict=True):
            by, mask = ways[not isinstance(block, CrossBlock)]
            out, _ = self.recompute(block, out, by, mask, cache)
        features = self.expert.norm(out).view(b, m, h, -1).float()
        with full_precision(x):
            return ExpertOutput(self.action_out_proj(features), features)

    def _suffix(
        self, x: Float[Tensor, "b m h a"], t: Float[Tensor, "b m"]
    ) -> Float[Tensor, "b m h d"]:
        """Tokens of the expert: each action with the time."""
        actions = self.action_in_proj(x)
        times = time_embedding(t, actions.shape[-1]).to(actions.dtype)
        both = torch.cat((actions, times.unsqueeze(2).expand_as(actions)), dim=-1)
        return self.action_time_mlp_out(F.silu(self.action_time_mlp_in(both)))


def _causal(visible: Bool[Tensor, "b p"], m: int, h: int) -> Bool[Tensor, "b 1 q k"]:
    """An action sees the prefix, and those before it at its own point of the chain."""
    point = torch.arange(m, device=visible.device).repeat_interleave(h)
    place = torch.arange(h, device=visible.device).repeat(m)
    own = (point[:, None] == point) & (place[:, None] >= place)
    b, q = len(visible), m * h
    seen = visible[:, None, :].expand(b, q, -1)
    return torch.cat((seen, own.expand(b, q, q)), dim=2).unsqueeze(1)


def is_inside(name: str) -> bool:
    """Whether a parameter belongs to the VLM or the expert, rather than to state and actions."""
    return name.startswith("vlm_with_expert.")
