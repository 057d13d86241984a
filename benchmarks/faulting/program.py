"""The program that the campaign disturbs: `pushcut train`, with a word on what it is doing.

    python -m faulting.program SETTINGS.json

It trains as a preset says, in an environment with faults on request, always with ``--resume``.
The file ``phase`` in the folder of the faults says where it is.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from faulting.env import FaultyConfig

PHASES = ("rollout", "update", "checkpoint", "evaluation")
"""What can be told apart; the rest is ``start`` and ``between``."""


@dataclass(frozen=True)
class Settings:
    """What the program is told, all of it."""

    preset: str
    policy: str
    run: str
    faults: str
    """Folder where faults are asked for."""
    iterations: int
    workers: int = 2
    timeout_s: float = 2.0
    seed: int = 0

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


def config_of(settings: Settings) -> Any:
    """A small training: an evaluation every third iteration, a checkpoint after each."""
    from pushcut.config import EvaluationConfig
    from pushcut.presets import PRESETS

    train = PRESETS[settings.preset].train
    env: Any = FaultyConfig(train.env, Path(settings.faults))
    return replace(
        train,
        env=env,
        policy=replace(train.policy, path=Path(settings.policy)),
        algorithm=replace(train.algorithm, group_size=4, groups=3, max_groups=6),
        rollout=replace(
            train.rollout, slots=8, workers=settings.workers, timeout_s=settings.timeout_s
        ),
        evaluation=EvaluationConfig(episodes_per_task=4, every=3),
        # So small a step that the policy stays one that sometimes succeeds: every iteration learns.
        learner=replace(train.learner, lr=2e-5),
        iterations=settings.iterations,
        patience=10**6,
        save_every=1,
        trackers=("tensorboard",),
        device="cpu",
        threads=1,
        seed=settings.seed,
        out=Path(settings.run),
        resume=True,
    )


class PhaseFile:
    """Tells the campaign what is going on."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT)
        self._now = "start"
        self.set("start")

    def set(self, phase: str) -> None:
        self._now = phase
        os.pwrite(self._handle, phase.ljust(16).encode(), 0)

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


def announce(file: PhaseFile) -> None:
    """Puts a word before and after each part of the loop."""
    from pushcut import checkpoint
    from pushcut.evaluator import Evaluator
    from pushcut.learner import Learner
    from pushcut.rollout.collector import Collector

    Collector.collect = file.during("rollout", Collector.collect)
    Learner.update = file.during("update", Learner.update)
    Evaluator.evaluate = file.during("evaluation", Evaluator.evaluate)
    checkpoint.save = file.during("checkpoint", checkpoint.save)


def main() -> int:
    """Exit codes are those of ``pushcut``."""
    from pushcut.cli import prepare_process

    prepare_process()
    settings = Settings(**json.loads(Path(sys.argv[1]).read_text()))
    file = PhaseFile(Path(settings.faults) / "phase")
    from pushcut.errors import Interrupted, UserError
    from pushcut.trainer import train

    announce(file)
    try:
        train(config_of(settings))
    except Interrupted as stop:
        return stop.exit_code
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        print(f"{time.strftime('%H:%M:%S')} pid {os.getpid()} ends", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
