"""What a VLM leaves of images and prompt for those who look at it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from pushcut.policies.networks.attention import KeyValue


@dataclass(frozen=True)
class PrefixCache:
    """Images and prompt as what follows sees them, computed once for each decision."""

    caches: list[KeyValue]
    """Keys and values at each block."""
    visible: Bool[Tensor, "b p"]
    """Which tokens are no padding."""
    output: Float[Tensor, "b p d"] | None
    """The VLM's output, where it was asked for."""

    def mean(self) -> Float[Tensor, "b d"] | None:
        """Mean output of the tokens that are no padding, in float32."""
        if self.output is None:
            return None
        mask = self.visible.unsqueeze(-1)
        return (self.output.float() * mask).sum(1) / mask.sum(1)
