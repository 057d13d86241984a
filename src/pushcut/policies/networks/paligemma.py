"""PaliGemma (Beyer et al. 2024) as the VLM of pi0, pi0.5 and pi0-FAST, names as released."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pushcut.policies.networks.attention import rotation
from pushcut.policies.networks.context_block import read_prefix
from pushcut.policies.networks.gemma import GemmaBlock, GemmaSizes, make_norm
from pushcut.policies.networks.gradient_checkpointing import Recompute
from pushcut.policies.networks.prefix_cache import PrefixCache
from pushcut.policies.networks.siglip import SiglipSizes, SiglipTower
from pushcut.policies.precision import full_precision


@dataclass(frozen=True)
class VLMSizes:
    """Shape of a PaliGemma; the defaults are those of the released checkpoints."""

    vision: SiglipSizes = SiglipSizes()
    vlm: GemmaSizes = GemmaSizes(width=2048, depth=18, mlp=16384)
    vocab_size: int = 257152


class _Tower(nn.Module):
    def __init__(self, sizes: SiglipSizes) -> None:
        super().__init__()
        self.vision_model = SiglipTower(sizes)


class _Projector(nn.Module):
    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width_in, width_out)


class GemmaStack(nn.Module):
    """A Gemma under the released names, with words to read or without."""

    def __init__(self, sizes: GemmaSizes, *, adaptive: bool, vocab_size: int | None) -> None:
        super().__init__()
        if vocab_size is not None:
            self.embed_tokens = nn.Embedding(vocab_size, sizes.width)
        self.layers = nn.ModuleList(
            GemmaBlock(sizes, adaptive=adaptive) for _ in range(sizes.depth)
        )
        self.norm = make_norm(sizes.width, adaptive=adaptive)


class _Model(nn.Module):
    def __init__(self, sizes: VLMSizes) -> None:
        super().__init__()
        self.vision_tower = _Tower(sizes.vision)
        self.multi_modal_projector = _Projector(sizes.vision.width, sizes.vlm.width)
        self.language_model = GemmaStack(sizes.vlm, adaptive=False, vocab_size=sizes.vocab_size)


class PaliGemma(nn.Module):
    """SigLIP, a projector and Gemma, with words to read and words to write."""

    def __init__(self, sizes: VLMSizes) -> None:
        super().__init__()
        self.model = _Model(sizes)
        self.lm_head = nn.Linear(sizes.vlm.width, sizes.vocab_size, bias=False)


class PaliGemmaNetwork(nn.Module):
    """A network whose ``paligemma_with_expert.paligemma`` reads images and prompt."""

    sizes: Any
    """``VLMSizes``, or more."""
    paligemma_with_expert: Any

    def __init__(self) -> None:
        super().__init__()
        self.recompute = Recompute()
        self.exact_vision = False
        """Whether images are seen in float32 where the rest computes in bfloat16."""

    def tie(self) -> None:
        """Makes PaliGemma's output words its input words: both names are released, once equal."""
        self.vlm.lm_head.weight = self.vlm.model.language_model.embed_tokens.weight

    @property
    def vlm(self) -> PaliGemma:
        """PaliGemma."""
        found = self.paligemma_with_expert.paligemma
        assert isinstance(found, PaliGemma)
        return found

    @property
    def adaptable(self) -> dict[str, nn.Module]:
        """What can have low-rank adapters: blocks of PaliGemma."""
        model = self.vlm.model
        return {
            "language": model.language_model.layers,
            "vision": model.vision_tower.vision_model.encoder,
        }

    def embed(
        self,
        images: Float[Tensor, "b n 3 s s"],
        image_mask: Bool[Tensor, "b n"],
        token_ids: Int[Tensor, "b l"],
        token_mask: Bool[Tensor, "b l"],
    ) -> tuple[Float[Tensor, "b p d"], Bool[Tensor, "b p"]]:
        """Embeddings of images in [-1, 1] and prompt, and which of them are no padding."""
        model = self.vlm.model
        with full_precision(images) if self.exact_vision else contextlib.nullcontext():
            seen = model.vision_tower.vision_model(images.flatten(0, 1))
            seen = model.multi_modal_projector.linear(seen)
        seen = seen.view(len(images), -1, self.sizes.vlm.width)
        seen = seen.to(torch.bfloat16) if self.exact_vision else seen
        said = model.language_model.embed_tokens(token_ids) * math.sqrt(self.sizes.vlm.width)
        visible = image_mask.repeat_interleave(self.sizes.vision.patches, dim=1)
        return torch.cat((seen, said.to(seen.dtype)), 1), torch.cat((visible, token_mask), 1)

    def encode(
        self,
        images: Float[Tensor, "b n 3 s s"],
        image_mask: Bool[Tensor, "b n"],
        token_ids: Int[Tensor, "b l"],
        token_mask: Bool[Tensor, "b l"],
        *,
        output: bool = False,
    ) -> PrefixCache:
        """Images and prompt, once per decision; ``output`` asks for the last block's as well."""
        x, visible = self.embed(images, image_mask, token_ids, token_mask)
        language = self.vlm.model.language_model
        by = rotation(visible.long().cumsum(1) - 1, self.sizes.vlm.head_dim)
        mask = visible[:, None, None, :]
        blocks = (block for block in language.layers if isinstance(block, GemmaBlock))
        caches, x = read_prefix(blocks, x, by, mask, recompute=self.recompute, output=output)
        return PrefixCache(caches, visible, None if x is None else language.norm(x, None)[0])


KEPT_FLOAT32 = (
    "patch_embedding", "position_embedding", "input_layernorm", "post_attention_layernorm",
    "model.norm",
)  # fmt: skip
"""Parts of PaliGemma and the expert that openpi leaves in float32 when the rest is bfloat16."""


def stays_float32(name: str) -> bool:
    """Whether openpi keeps a parameter in float32 when the network computes in bfloat16."""
    inside = name.startswith("paligemma_with_expert.")
    return not inside or any(kept in name for kept in KEPT_FLOAT32)


def is_vision(name: str) -> bool:
    """Whether a parameter belongs to the tower of images or to what follows it."""
    return "vision_tower" in name or "multi_modal_projector" in name
