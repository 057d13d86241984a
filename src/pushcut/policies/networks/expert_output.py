"""What action experts give for points of a denoising chain."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class ExpertOutput:
    """Outputs of the action expert at m points of each row's chain."""

    velocity: Float[Tensor, "b m h a"]
    features: Float[Tensor, "b m h d"]
    """Output of the last block at the action tokens, in float32."""
