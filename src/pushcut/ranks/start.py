"""Joining the other ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pushcut.ranks.base import Alone, Ranks
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.launcher import launched


@contextmanager
def joined(config: RanksConfig) -> Iterator[Ranks]:
    """The ranks of this run; a process that no launcher started is alone."""
    if not launched():
        yield Alone()
        return
    from pushcut.ranks.group import ProcessGroup

    group = ProcessGroup(config)
    try:
        yield group
    finally:
        group.close()
