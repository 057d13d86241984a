"""Transformer blocks of the small policies."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float
from torch import Tensor, nn

KeyValue = tuple[Float[Tensor, "b heads t c"], Float[Tensor, "b heads t c"]]


class Block(nn.Module):
    """Pre-norm transformer block with bidirectional attention and no dropout.

    ReLU, because the tanh GELU takes a fifth of a forward pass on a CPU. With ``inner`` the
    attention has another size than the tokens, so that blocks of different widths can attend
    to one another.
    """

    def __init__(self, width: int, heads: int, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or width
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner)
        self.key_value = nn.Linear(width, 2 * inner)
        self.out = nn.Linear(inner, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Float[Tensor, "b t d"], last: int) -> Float[Tensor, "b last d"]:
        """The last tokens attend to all tokens, then the MLP; the others are not computed."""
        normed = self.attention_norm(x)
        return self._update(x[:, -last:], normed[:, -last:], self._key_value(normed), None)

    def encode(self, x: Float[Tensor, "b t d"]) -> tuple[Float[Tensor, "b t d"], KeyValue]:
        """All tokens attend to all; also returns their keys and values, for others to see."""
        normed = self.attention_norm(x)
        cache = self._key_value(normed)
        return self._update(x, normed, cache, None), cache

    def cache(self, x: Float[Tensor, "b t d"]) -> KeyValue:
        """Keys and values alone, where nobody wants the tokens that ``encode`` gives."""
        return self._key_value(self.attention_norm(x))

    def attend(
        self, x: Float[Tensor, "b q d"], context: KeyValue, mask: Bool[Tensor, "q k"] | None
    ) -> Float[Tensor, "b q d"]:
        """Tokens attend to a context's keys and values and to themselves (k = context + q)."""
        normed = self.attention_norm(x)
        own = self._key_value(normed)
        key, value = (torch.cat(pair, dim=2) for pair in zip(context, own, strict=True))
        return self._update(x, normed, (key, value), mask)

    def _key_value(self, normed: Float[Tensor, "b t d"]) -> KeyValue:
        b, t, _ = normed.shape
        both = self.key_value(normed).view(b, t, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return both[0], both[1]

    def _update(
        self,
        x: Float[Tensor, "b q d"],
        normed: Float[Tensor, "b q d"],
        key_value: KeyValue,
        mask: Bool[Tensor, "q k"] | None,
    ) -> Float[Tensor, "b q d"]:
        b, q, _ = x.shape
        query = self.query(normed).view(b, q, self.heads, -1).transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, *key_value, attn_mask=mask)
        x = x + self.out(attended.transpose(1, 2).reshape(b, q, -1))
        return x + self.mlp(self.mlp_norm(x))
