"""Precision in which a large network computes and keeps its trained weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pushcut.weights import ParameterDtype

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Compute:
    """Precision of a network, and whether its trained weights are kept in float32."""

    precision: Precision = "float32"
    master_weights: bool = True

    def parameter_dtypes(
        self, network: nn.Module, stays_float32: Callable[[str], bool]
    ) -> dict[str, ParameterDtype]:
        """Dtypes of the parameters; trained ones stay float32 if asked for.

        Those of linear layers are then read in bfloat16 only, for autocast rounds them; other
        layers use all digits.
        """
        linear = {name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
        types: dict[str, ParameterDtype] = {}
        for name, parameter in network.named_parameters():
            exact = self.precision == "float32" or stays_float32(name)
            master = not exact and self.master_weights and parameter.requires_grad
            kept = torch.float32 if exact or master else torch.bfloat16
            rounded = master and name.rpartition(".")[0] in linear
            types[name] = ParameterDtype(kept, torch.bfloat16 if rounded else kept)
        return types

    @torch.inference_mode(False)
    def cast(
        self, network: nn.Module, stays_float32: Callable[[str], bool], *, training: bool = True
    ) -> None:
        """Casts the parameters, one after the other.

        Not ``training``: into what computations read, which gives the same outputs without the
        digits that only training needs.
        """
        types = self.parameter_dtypes(network, stays_float32)
        for name, parameter in network.named_parameters():
            its = types[name]
            parameter.data = parameter.data.to(its.kept if training else its.read)

    @property
    def has_masters(self) -> bool:
        """Whether weights that are trained are float32 and cast on the way."""
        return self.precision == "bfloat16" and self.master_weights

    def context(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """Context to compute in; autocast rounds float32 masters on the way."""
        if self.has_masters:
            return torch.autocast(device.type, torch.bfloat16)
        return contextlib.nullcontext()


def full_precision(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Context without autocast, for log-probabilities and values want float32."""
    if x.device.type == "meta":  # has no autocast
        return contextlib.nullcontext()
    return torch.autocast(x.device.type, enabled=False)
