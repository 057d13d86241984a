"""Tells the campaign what the disturbed program is doing."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushcut.cluster.config import ClusterConfig
    from pushcut.config import TrainConfig

PHASES = ("rollout", "update", "checkpoint", "evaluation")
"""What can be told apart; the rest is ``start`` and ``between``."""
FILE = "phase"
"""In the folder of the faults: the phase, and the process that tells it."""


class PhaseFile:
    """Tells the campaign what is going on."""

    def __init__(self, folder: Path) -> None:
        self._handle = os.open(folder / FILE, os.O_RDWR | os.O_CREAT)
        self._now = "start"
        self.set("start")

    def set(self, phase: str) -> None:
        self._now = phase
        os.pwrite(self._handle, f"{phase} {os.getpid()}".ljust(24).encode(), 0)

    def during(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, announced while it runs."""

        @functools.wraps(function)
        def announced(*arguments: Any, **keywords: Any) -> Any:
            before = self._now
            self.set(phase)
            result = function(*arguments, **keywords)
            self.set("between" if before == "start" else before)
            return result

        return announced


def announce(folder: Path) -> None:
    """Puts a word before and after each part of the loop; of several ranks the first speaks."""
    if os.environ.get("RANK", "0") != "0":
        return
    file = PhaseFile(folder)
    from pushcut.evaluation.evaluator import Evaluator
    from pushcut.learning import checkpoint
    from pushcut.learning.learner import Learner
    from pushcut.rollout.collector import Collector

    Collector.collect = file.during("rollout", Collector.collect)
    Learner.update = file.during("update", Learner.update)
    Evaluator.evaluate = file.during("evaluation", Evaluator.evaluate)
    checkpoint.save = file.during("checkpoint", checkpoint.save)


def train_as_rank(cluster: ClusterConfig, config: TrainConfig) -> None:
    """What ``pushcut.assembly`` gives to a rank that Ray starts, announced."""
    from pushcut.assembly import train

    env: Any = config.env
    announce(env.folder)
    train(replace(config, cluster=cluster))
