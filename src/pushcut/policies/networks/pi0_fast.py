"""pi0-FAST (Pertsch et al. 2025): PaliGemma writes the action as words, names as released."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pushcut.policies.networks.attention import KeyValue, mask_of_heads, rotation
from pushcut.policies.networks.gradient_checkpointing import Recompute
from pushcut.policies.networks.paligemma import (
    PaliGemma,
    PaliGemmaNetwork,
    VLMSizes,
)
from pushcut.policies.networks.prefix_cache import PrefixCache

LOGITS_AT_ONCE = 64
"""Tokens whose logits are in memory at a time: 66 MB of float32 for 257152 words."""


class _PaliGemmaAlone(nn.Module):
    def __init__(self, sizes: VLMSizes) -> None:
        super().__init__()
        self.paligemma = PaliGemma(sizes)


class Pi0FastNetwork(PaliGemmaNetwork):
    """PaliGemma reads images and prompt and writes tokens, each seeing those before it."""

    def __init__(self, sizes: VLMSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.paligemma_with_expert = _PaliGemmaAlone(sizes)
        self._slices = Recompute()
        self._slices.active = True  # their logits would be most of the memory

    def follow(
        self,
        prefix: PrefixCache,
        tokens: Int[Tensor, "b t"],
        before: list[KeyValue] | None = None,
        *,
        kept: bool = False,
    ) -> tuple[Float[Tensor, "b t d"], list[KeyValue]]:
        """Outputs at tokens that follow the prefix, and their keys and values where these are kept.

        A token sees the prefix, those ``before`` it that were read in an earlier call, and itself;
        what is kept holds those before it too.
        """
        model, (b, t) = self.vlm.model.language_model, tokens.shape
        done = 0 if before is None else before[0][0].shape[2]
        place = torch.arange(done, done + t, device=tokens.device)
        place = prefix.visible.sum(1, keepdim=True) + place
        by = rotation(place, self.sizes.vlm.head_dim)
        dtype = prefix.caches[0][0].dtype
        own = torch.ones(t, done + t, dtype=torch.bool, device=tokens.device).tril(done)
        seen = prefix.visible[:, None, :].expand(b, t, -1)
        mask = torch.cat((seen, own.expand(b, -1, -1)), dim=2).unsqueeze(1)
        shared = self.sizes.vlm.heads // self.sizes.vlm.kv_heads
        mask = mask_of_heads(mask, shared, dtype)
        x = (model.embed_tokens(tokens) * math.sqrt(self.sizes.vlm.width)).to(dtype)
        caches = []
        for layer, block in enumerate(model.layers):
            context = prefix.caches[layer]
            if before is not None:
                context = _joined(context, before[layer])
            x, cache = self.recompute(block, x, by, mask, context)
            if kept:
                caches.append(cache if before is None else _joined(before[layer], cache))
        return model.norm(x, None)[0], caches

    def logits(self, features: Float[Tensor, "*b d"]) -> Float[Tensor, "*b words"]:
        """Logits of the next token, in float32."""
        return self.vlm.lm_head(features).float()

    def likelihood(
        self,
        features: Float[Tensor, "b t d"],
        tokens: Int[Tensor, "b t"],
        *,
        temperature: float = 1.0,
    ) -> tuple[Float[Tensor, "b t"], Float[Tensor, "b t"], Int[Tensor, "b t"]]:
        """Log-probability of each token after its features, the entropy, and the likeliest token.

        Logits are made some at a time, and anew in the backward pass.
        """

        def some(
            features: Float[Tensor, "n d"], tokens: Int[Tensor, " n"]
        ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Int[Tensor, " n"]]:
            log_probs = (self.logits(features) / temperature).log_softmax(-1)
            chosen = log_probs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
            return chosen, -(log_probs.exp() * log_probs).sum(-1), log_probs.argmax(-1)

        parts = zip(
            features.flatten(0, 1).split(LOGITS_AT_ONCE),
            tokens.flatten().split(LOGITS_AT_ONCE),
            strict=True,
        )
        columns = zip(*(self._slices(some, *part) for part in parts), strict=True)
        logprob, entropy, likeliest = (torch.cat(column).view_as(tokens) for column in columns)
        return logprob, entropy, likeliest


def _joined(first: KeyValue, second: KeyValue) -> KeyValue:
    return torch.cat((first[0], second[0]), 2), torch.cat((first[1], second[1]), 2)
