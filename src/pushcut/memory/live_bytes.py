"""Counting the bytes of all tensors that are alive, with or without memory behind them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Inside, ``now`` counts the bytes of new tensors that are alive, ``peak`` the most of them.

    Tensors without memory count as if they had it. ``casts`` are the bytes of all copies of the
    given parameters in another type (autocast's), which are in neither of the two.
    """

    def __init__(self, parameters: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = self.casts = 0
        self._not_cast = {_key(parameter) for parameter in parameters}
        self._parameters = frozenset(self._not_cast)
        self._alive: set[int] = set()

    def add(self, size: int) -> None:
        """Counts bytes that no tensor has: of what is known to be alive but was not run."""
        self.now += size
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.prim.device.default:  # asked for all the time
            return func(*args)
        given = {_key(tensor) for tensor in tree_leaves((args, kwargs)) if torch.is_tensor(tensor)}
        out = func(*args, **(kwargs or {}))
        is_cast = func is torch.ops.aten._to_copy.default and given <= self._parameters
        if is_cast and given & self._not_cast:
            self._not_cast -= given
            self.casts += out.nbytes
        for tensor in filter(torch.is_tensor, tree_leaves(out)):
            key, storage = _key(tensor), tensor.untyped_storage()
            if key not in given | self._alive:
                size = 0 if is_cast else storage.nbytes()
                self._alive.add(key)
                self.now += size
                weakref.finalize(storage, self._freed, key, size)
        self.peak = max(self.peak, self.now)
        return out

    def _freed(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
