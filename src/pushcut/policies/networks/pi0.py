"""pi0 and pi0.5 (Black et al. 2024; Physical Intelligence 2025), parameter names as released."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pushcut.policies.networks.attention import mask_of_heads, rotation
from pushcut.policies.networks.expert_output import ExpertOutput
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.paligemma import (
    GemmaStack,
    PaliGemma,
    PaliGemmaNetwork,
    VLMSizes,
)
from pushcut.policies.networks.prefix_cache import PrefixCache
from pushcut.policies.networks.times import time_embedding
from pushcut.policies.precision import full_precision


@dataclass(frozen=True)
class Pi0Sizes(VLMSizes):
    """Shape of a pi0 or pi0.5; the defaults are those of the released checkpoints."""

    expert: GemmaSizes = GemmaSizes(width=1024, depth=18, mlp=4096)
    chunk: int = 50
    """Steps that are predicted."""
    state_dim: int = 32
    action_dim: int = 32
    pi05: bool = False
    """pi0.5: the state is in the prompt and the time in the expert's norms."""


class _ActionExpert(nn.Module):
    def __init__(self, sizes: Pi0Sizes) -> None:
        super().__init__()
        self.model = GemmaStack(sizes.expert, adaptive=sizes.pi05, vocab_size=None)
        self.lm_head = nn.Linear(sizes.expert.width, sizes.vocab_size, bias=False)


class _PaliGemmaWithExpert(nn.Module):
    def __init__(self, sizes: Pi0Sizes) -> None:
        super().__init__()
        self.paligemma = PaliGemma(sizes)
        self.gemma_expert = _ActionExpert(sizes)
        # Output words: released, never used and never trained.
        self.paligemma.lm_head.requires_grad_(False)
        self.gemma_expert.lm_head.requires_grad_(False)


class Pi0Network(PaliGemmaNetwork):
    """PaliGemma reads images and prompt; the expert denoises actions, seeing PaliGemma's keys.

    Time: t = 1 is noise, t = 0 is data; the velocity is noise minus action.
    """

    sizes: Pi0Sizes

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

    def take_unused_parts(self) -> dict[str, Tensor]:
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
    def expert(self) -> GemmaStack:
        """The action expert's Gemma."""
        return self.paligemma_with_expert.gemma_expert.model

    @property
    def adaptable(self) -> dict[str, nn.Module]:
        """What can have low-rank adapters: blocks of PaliGemma and of the expert."""
        return super().adaptable | {"expert": self.expert.layers}

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
