"""Joining the other ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pushcut.ranks.base import Ranks, SingleProcess
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.launcher import launched
from pushcut.system.progress import say


def announce(ranks: Ranks, config: RanksConfig, groups: int) -> None:
    """Says how the ranks share the work of an iteration's groups; nothing where there is one."""
    if ranks.count == 1:
        if config.weights == "sharded":
            say("one rank: its part of the weights is all of them (torchrun starts more)")
        return
    say(
        f"{ranks.count} ranks, {config.weights} weights: each takes a group of episodes as it gets "
        "free, and learns from an equal part of every optimiser step, up to one decision"
    )
    if ranks.count > groups:
        say(
            f"{groups} groups an iteration for {ranks.count} ranks: {ranks.count - groups} of them "
            "play nothing; raise --algorithm.groups (GRPO) or --algorithm.episodes (PPO)"
        )


@contextmanager
def joined(config: RanksConfig, *, gpus: bool = True) -> Iterator[Ranks]:
    """Joins the ranks of this run; a process that no launcher started is the only one.

    ``gpus``: whether their weights may be on GPUs, where there are any.
    """
    if not launched():
        yield SingleProcess()
        return
    from pushcut.ranks.group import ProcessGroup, lost_by_torch

    group = ProcessGroup(config, gpus=gpus)
    try:
        with lost_by_torch("gather weights"):
            yield group
    finally:
        group.close()
