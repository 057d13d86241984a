"""pi0 and pi0.5 (Black et al. 2024; Physical Intelligence 2025), parameter names as released."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pushcut.policies.networks.attention import KeyValue, mask_of_heads, rotation
from pushcut.policies.networks.expert_output import ExpertOutput
from pushcut.policies.networks.gemma import GemmaBlock, GemmaSizes, make_norm
from pushcut.policies.networks.gradient_checkpointing import Recompute
from pushcut.policies.networks.siglip import SiglipSizes, SiglipTower
from pushcut.policies.networks.times import time_embedding
from pushcut.policies.precision import full_precision


@dataclass(frozen=True)
class Pi0Sizes:
    """Shape of a pi0 or pi0.5; the defaults are those of the released checkpoints."""

    vision: SiglipSizes = SiglipSizes()
    vlm: GemmaSizes = GemmaSizes(width=2048, depth=18, mlp=16384)
    expert: GemmaSizes = GemmaSizes(width=1024, depth=18, mlp=4096)
    vocab_size: int = 257152
    chunk: int = 50
    """Steps that are predicted."""
    state_dim: int = 32
    action_dim: int = 32
    pi05: bool = False
    """pi0.5: the state is in the prompt and the time in the expert's norms."""


@dataclass(frozen=True)
class PrefixCache:
    """Images and prompt as the expert sees them, computed once for each decision."""

    caches: list[KeyValue]
    """Keys and values at each block."""
    visible: Bool[Tensor, "b p"]
    """Which tokens are no padding."""
    output: Float[Tensor, "b p d"] | None
    """The VLM's output, where it was asked for."""


class _Tower(nn.Module):
    def __init__(self, sizes: SiglipSizes) -> None:
        super().__init__()
        self.vision_model = SiglipTower(sizes)


class _Projector(nn.Module):
    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width_in, width_out)


class _Gemma(nn.Module):
    def __init__(self, sizes: GemmaSizes, *, adaptive: bool, vocab_size: int | None) -> None:
        super().__init__()
        if vocab_size is not None:
            self.embed_tokens = nn.Embedding(vocab_size, sizes.width)
        self.layers = nn.ModuleList(
            GemmaBlock(sizes, adaptive=adaptive) for _ in range(sizes.depth)
        )
        self.norm = make_norm(sizes.width, adaptive=adaptive)


class _PaliGemmaModel(nn.Module):
    def __init__(self, sizes: Pi0Sizes) -> None:
        super().__init__()
        self.vision_tower = _Tower(sizes.vision)
        self.multi_modal_projector = _Projector(sizes.vision.width, sizes.vlm.width)
        self.language_model = _Gemma(sizes.vlm, adaptive=False, vocab_size=sizes.vocab_size)


class _PaliGemma(nn.Module):
    def __init__(self, sizes: Pi0Sizes) -> None:
        super().__init__()
        self.model = _PaliGemmaModel(sizes)
        self.lm_head = unused_head(sizes.vlm.width, sizes.vocab_size)


class _ActionExpert(nn.Module):
    def __init__(self, sizes: Pi0Sizes) -> None:
        super().__init__()
        self.model = _Gemma(sizes.expert, adaptive=sizes.pi05, vocab_size=None)
        self.lm_head = unused_head(sizes.expert.width, sizes.vocab_size)


class _PaliGemmaWithExpert(nn.Module):
    def __init__(self, sizes: Pi0Sizes) -> None:
        super().__init__()
        self.paligemma = _PaliGemma(sizes)
        self.gemma_expert = _ActionExpert(sizes)


def unused_head(width: int, vocab_size: int) -> nn.Linear:
    """Output words: released, never used and never trained."""
    head = nn.Linear(width, vocab_size, bias=False)
    head.requires_grad_(False)
    return head


class Pi0Network(nn.Module):
    """PaliGemma reads images and prompt; the expert denoises actions, seeing PaliGemma's keys.

    Time: t = 1 is noise, t = 0 is data; the velocity is noise minus action.
    """

    def __init__(self, sizes: Pi0Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.expert.width
        self.paligemma_with_expert = _PaliGemmaWithExpert(sizes)
        self.action_in_proj = nn.Linear(sizes.action_dim, width)
        self.action_out_proj = nn.Linear(width, sizes.action_dim)
        if sizes.pi05:
            self.time_mlp_in = nn.Linear(width, width)
            self.time_mlp_out = nn.Linear(width, width)
        else:
            self.state_proj = nn.Linear(sizes.state_dim, width)
            self.action_time_mlp_in = nn.Linear(2 * width, width)
            self.action_time_mlp_out = nn.Linear(width, width)
        self.recompute = Recompute()
        self.exact_vision = False
        """Whether images are seen in float32 where the rest computes in bfloat16."""

    def tie(self) -> None:
        """Makes PaliGemma's output words its input words: both names are released, once equal."""
        self.vlm.lm_head.weight = self.vlm.model.language_model.embed_tokens.weight

    def take_unused_heads(self) -> dict[str, Tensor]:
        """Removes output words that nobody computes; returns them by their names."""
        taken: dict[str, Tensor] = {}
        for name in ("gemma_expert", "paligemma"):
            part = getattr(self.paligemma_with_expert, name)
            words = self.vlm.model.language_model.embed_tokens
            if hasattr(part, "lm_head") and part.lm_head.weight is not words.weight:
                taken[f"paligemma_with_expert.{name}.lm_head.weight"] = part.lm_head.weight.data
                del part.lm_head
        return taken

    @property
    def vlm(self) -> _PaliGemma:
        """PaliGemma."""
        return self.paligemma_with_expert.paligemma

    @property
    def expert(self) -> _Gemma:
        """The action expert's Gemma."""
        return self.paligemma_with_expert.gemma_expert.model

    @property
    def adaptable(self) -> dict[str, nn.Module]:
        """What can have low-rank adapters: blocks of PaliGemma and of the expert."""
        model = self.vlm.model
        return {
            "language": model.language_model.layers,
            "vision": model.vision_tower.vision_model.encoder,
            "expert": self.expert.layers,
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
        *first, last = (block for block in language.layers if isinstance(block, GemmaBlock))
        caches = []
        for block in first:
            x, cache = self.recompute(block, x, by, mask)
            caches.append(cache)
        if not output:
            return PrefixCache([*caches, last.cache(x, by)], visible, None)
        x, cache = self.recompute(last, x, by, mask)
        return PrefixCache([*caches, cache], visible, language.norm(x, None)[0])

    def denoise(
        self,
        prefix: PrefixCache,
        state: Float[Tensor, "b s"],
        x: Float[Tensor, "b m h a"],
        t: Float[Tensor, "b m"],
    ) -> ExpertOutput:
        """The expert on m points of each row's chain, which do not see each other."""
        b, m, h, _ = x.shape
        with full_precision(x):
            tokens, condition = self._suffix(state, x, t)
        s = tokens.shape[2]
        place = torch.arange(s, device=x.device).repeat(m)
        place = prefix.visible.sum(1, keepdim=True) + place
        by = rotation(place, self.sizes.expert.head_dim)
        dtype = prefix.caches[0][0].dtype
        shared = self.sizes.expert.heads // self.sizes.expert.kv_heads
        mask = mask_of_heads(self._expert_mask(prefix.visible, m, s), shared, dtype)
        out = tokens.view(b, m * s, -1).to(dtype)
        for block, cache in zip(self.expert.layers, prefix.caches, strict=True):
            out, _ = self.recompute(block, out, by, mask, cache, condition)
        out, _ = self.expert.norm(out, condition)
        features = out.view(b, m, s, -1)[:, :, s - h :].float()
        with full_precision(x):
            return ExpertOutput(self.action_out_proj(features), features)

    def _suffix(
        self, state: Float[Tensor, "b s"], x: Float[Tensor, "b m h a"], t: Float[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b m n d"], Float[Tensor, "b m d"] | None]:
        """Tokens of the expert and the condition of its norms."""
        actions = self.action_in_proj(x)
        times = time_embedding(t, actions.shape[-1]).to(actions.dtype)
        if self.sizes.pi05:
            return actions, F.silu(self.time_mlp_out(F.silu(self.time_mlp_in(times))))
        both = torch.cat((actions, times.unsqueeze(2).expand_as(actions)), dim=-1)
        actions = self.action_time_mlp_out(F.silu(self.action_time_mlp_in(both)))
        own = self.state_proj(state)[:, None, None].expand(-1, actions.shape[1], 1, -1)
        return torch.cat((own, actions), dim=2), None

    def _expert_mask(self, visible: Bool[Tensor, "b p"], m: int, s: int) -> Bool[Tensor, "b 1 q k"]:
        """Tokens see the prefix and their own point's tokens; the state sees no actions."""
        point = torch.arange(m, device=visible.device).repeat_interleave(s)
        is_action = torch.arange(s, device=visible.device).repeat(m) >= s - self.sizes.chunk
        own = (point[:, None] == point) & (is_action[:, None] | ~is_action)
        b, q = len(visible), m * s
        seen = visible[:, None, :].expand(b, q, -1)
        return torch.cat((seen, own.expand(b, q, q)), dim=2).unsqueeze(1)


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
