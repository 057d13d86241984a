"""The time of a denoising step as a vector."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def time_embedding(t: Float[Tensor, "*b"], width: int) -> Float[Tensor, "*b width"]:
    """Sines and cosines of periods from 0.004 to 4, as in openpi; float32."""
    # In float64: the largest angle is 1571, of which float32 would leave four decimals.
    fraction = torch.linspace(0, 1, width // 2, device=t.device, dtype=torch.float64)
    angle = t.double().unsqueeze(-1) * (2 * math.pi / (4e-3 * (4.0 / 4e-3) ** fraction))
    return torch.cat((angle.sin(), angle.cos()), dim=-1).float()
