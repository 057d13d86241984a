"""What a large network computes in, and what its trained weights are kept in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Compute:
    """Precision of a network, and whether its trained weights are kept in float32."""

    precision: Precision = "float32"
    master_weights: bool = True

    @torch.inference_mode(False)
    def cast(self, network: nn.Module, stays_float32: Callable[[str], bool]) -> None:
        """Casts the parameters, one after the other; trained ones stay float32 if asked for."""
        for name, parameter in network.named_parameters():
            kept = self.precision == "float32" or stays_float32(name)
            kept = kept or (self.master_weights and parameter.requires_grad)
            parameter.data = parameter.data.to(torch.float32 if kept else torch.bfloat16)

    def context(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """What to compute in: float32 weights are cast on the way where they are masters."""
        if self.precision == "bfloat16" and self.master_weights:
            return torch.autocast(device.type, torch.bfloat16)
        return contextlib.nullcontext()
