"""Building networks of any size without memory and without initial values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _Uninitialised(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@contextlib.contextmanager
def meta_init() -> Iterator[None]:
    """Within this context modules are made on the meta device: shapes and types, nothing else.

    Unlike ``torch.device("meta")`` alone it draws no initial values. On the meta device they mean
    nothing, and the first one makes torch load its compiler, for 15 to 40 seconds on a small
    machine.
    """
    with torch.device("meta"), _Uninitialised():
        yield
