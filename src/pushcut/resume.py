"""A run's folder at the start of training: new, or the one there is and its newest checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pushcut.config import TrainConfig
from pushcut.errors import UserError
from pushcut.learning import checkpoint
from pushcut.learning.checkpoint import Progress
from pushcut.learning.learner import Learner
from pushcut.ranks.base import Ranks
from pushcut.ranks.launcher import restarted
from pushcut.runs.lock import folder_lock, is_empty
from pushcut.runs.recoveries import Recovery
from pushcut.runs.run import Run, check_stored_config
from pushcut.system.progress import say

MAY_CHANGE_ON_RESUME = (
    "iterations", "patience", "save_every", "keep", "trackers", "prometheus_port", "device",
    "threads", "out", "resume", "slots", "workers", "timeout_s", "grace_s", "ranks", "cluster",
)  # fmt: skip


LOST_S = 60.0
"""A lost rank may still run for so long: the machine that was given up may be alive."""


@contextmanager
def alone_in_run(config: TrainConfig, ranks: Ranks) -> Iterator[None]:
    """Holds the run's folder for these ranks; UserError where other processes work in it."""
    wait_s = LOST_S if restarted() else 0.0
    with ExitStack() as held:
        with ranks.together():
            if ranks.first and config.out is not None:
                held.enter_context(folder_lock(config.out, wait_s))
        yield


def open_run(config: TrainConfig, learner: Learner, ranks: Ranks) -> tuple[Run, Progress]:
    """A new run folder, or with ``resume`` the one there is and its newest readable checkpoint.

    Ranks that a launcher starts again resume by themselves. The first rank writes the folder.
    """
    out = config.out
    begun = out is not None and (out / "config.json").exists()
    begun = ranks.gather(begun)[0]  # as the first rank finds it, before it writes
    with ranks.together():
        if out is None or not begun or not (config.resume or restarted()):
            return new_run(config, ranks), Progress(iteration=0)
        check_stored_config(out, config, may_change=MAY_CHANGE_ON_RESUME)
    with ranks.together():
        if ranks.first:
            checkpoint.tidy(out / "checkpoints")
    with ranks.together():
        progress, damaged = checkpoint.load_newest(out / "checkpoints", learner)
        progress = progress or Progress(iteration=0)
        return resumed_run(config, ranks, progress, list(damaged.values())), progress


def new_run(config: TrainConfig, ranks: Ranks) -> Run:
    """A folder that holds nothing yet."""
    out = config.out
    if not ranks.first:
        return Run.watched(out)
    if config.resume and out is not None and out.exists() and not is_empty(out):
        raise UserError(f"--resume: no run at {out}; name its folder with --out")
    return Run.create(out, config, config.trackers, prometheus_port=config.prometheus_port)


def resumed_run(config: TrainConfig, ranks: Ranks, progress: Progress, damaged: list[str]) -> Run:
    """A folder whose metrics go on where the checkpoint stands; what was passed over is noted."""
    if not ranks.first or config.out is None:
        return Run.watched(config.out)
    run = Run(
        config.out, config.trackers, progress.iteration, prometheus_port=config.prometheus_port
    )
    for problem in damaged:
        say(f"passed over: {problem}")
        run.recoveries.note(Recovery("checkpoint", problem))
    reason = f"went on from iteration {progress.iteration}"
    run.recoveries.note(Recovery("resumed", reason, iterations=run.replayed))
    return run
