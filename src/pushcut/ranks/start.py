"""Whether this process is a rank of several, and joining the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pushcut.ranks.base import Alone, Ranks
from pushcut.ranks.config import RanksConfig

LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun and Ray tell the ranks that they start."""


def launched() -> bool:
    """Whether a launcher started this process as a rank."""
    return all(name in os.environ for name in LAUNCHER_VARIABLES)


def restarted() -> bool:
    """Whether the launcher started the ranks again, after it had lost one."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


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
