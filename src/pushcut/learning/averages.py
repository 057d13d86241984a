"""The exponential moving average of weights that are trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from pushcut.ranks.shard_files import sharded_like


class MovingAverage:
    """Averages of parameters, in float32: after each step ``decay`` of the old, the rest new."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.tensors = {name: p.detach().float().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights as they are now."""
        for name, parameter in self._parameters.items():
            average = self.tensors[name]
            average.lerp_(parameter.detach().to(average.dtype), 1 - self._decay)

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over stored averages, whole or sharded."""
        for name, average in self.tensors.items():
            average.copy_(sharded_like(tensors[name], average))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """While open, the parameters are their averages."""
        held: dict[str, Tensor] = {}
        self._exchange(held)
        try:
            yield
        finally:
            self._exchange(held)

    @torch.no_grad()
    def _exchange(self, held: dict[str, Tensor]) -> None:
        """Averages and weights change places; what would be rounded so is kept in ``held``."""
        for name, parameter in self._parameters.items():
            average = self.tensors[name]
            if name in held:
                parameter.copy_(held.pop(name))
            elif parameter.dtype == average.dtype:
                one = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(one)
            else:
                held[name] = parameter.detach().clone()
                parameter.copy_(average)
