"""The one attention function, and rotary positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

KeyValue = tuple[Float[Tensor, "b kv _ c"], Float[Tensor, "b kv _ c"]]
"""Keys (rotated) and values of some tokens."""

Rotation = tuple[Float[Tensor, "b 1 t c"], Float[Tensor, "b 1 t c"]]
"""Cosines and sines of each token's position."""


def attention(
    query: Float[Tensor, "b heads q c"],
    key: Float[Tensor, "b kv k c"],
    value: Float[Tensor, "b kv k c"],
    mask: Shaped[Tensor, "#b 1 _ k"] | None = None,
) -> Float[Tensor, "b q heads_c"]:
    """Softmax attention with scale 1/sqrt(c); several heads may share a key (kv < heads).

    ``mask`` [b, 1, q or 1, k] is true where a query may look, or is what ``mask_of_heads`` makes of
    that; None: everywhere. Returns the heads side by side.
    """
    b, heads, q, c = query.shape
    kv = key.shape[1]
    shared = heads // kv
    if shared > 1:
        # Heads that share a key stand in line as further queries: no key is copied.
        query = query.reshape(b, kv, shared * q, c)
        if mask is not None and mask.shape[2] not in (1, shared * q):
            mask = mask.repeat(1, 1, shared, 1)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return out.reshape(b, heads, q, c).transpose(1, 2).reshape(b, q, heads * c)


def mask_of_heads(
    mask: Bool[Tensor, "b 1 q k"], shared: int, dtype: torch.dtype
) -> Float[Tensor, "b 1 shared_q k"]:
    """A mask as a sum wants it, for all heads that share a key: 0 to see, -inf not to.

    For masks that many layers take: each would make and keep a copy of its own.
    """
    b, _, q, k = mask.shape
    # Rows begin at multiples of 8 numbers: kernels of GPUs copy the mask where they do not.
    wide = torch.zeros(b, 1, shared * q, -(-k // 8) * 8, dtype=dtype, device=mask.device)
    return wide[..., :k].masked_fill_(~mask.repeat(1, 1, shared, 1), -torch.inf)


def rotation(position: Int[Tensor, "b t"], size: int, theta: float = 10_000.0) -> Rotation:
    """Cosines and sines for heads of ``size`` (Su et al. 2021), in float32."""
    half = torch.arange(0, size, 2, device=position.device, dtype=torch.float32)
    frequency = 1.0 / theta ** (half / size)
    angle = position[:, None, :, None].float() * frequency
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Float[Tensor, "b heads t c"], by: Rotation) -> Float[Tensor, "b heads t c"]:
    """Turns queries or keys by their positions (halves convention, as in Hugging Face's Llama)."""
    cos, sin = (part.to(x.dtype) for part in by)
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
