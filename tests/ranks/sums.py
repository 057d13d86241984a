"""Counting the messages by which ranks sum gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.distributed.fsdp._fully_shard import _fsdp_param_group


@contextmanager
def counted_sums() -> Iterator[list[int]]:
    """Notes each message by which the gradients of a unit are summed."""
    sums: list[int] = []
    inside: Any = _fsdp_param_group
    reduce = inside.foreach_reduce

    def noted(parameters: Any, *arguments: Any, **options: Any) -> Any:
        sums.append(len(parameters))
        return reduce(parameters, *arguments, **options)

    inside.foreach_reduce = noted
    try:
        yield sums
    finally:
        inside.foreach_reduce = reduce
