"""`pushcut collect`: demonstrations of the scripted experts as a LeRobot dataset."""

from __future__ import annotations

from pathlib import Path

from pushcut.commands.remembered import remember
from pushcut.config import CollectConfig, default_workers
from pushcut.demos.collect import collect
from pushcut.errors import UserError
from pushcut.instructions import with_instructions
from pushcut.system.progress import bar, say
from pushcut.system.signals import SafeExit


def run_collect(config: CollectConfig) -> Path:
    """Collects, says what was kept and left out, returns the dataset's folder."""
    config = with_instructions(config)
    if config.out is None:
        raise UserError("where should the demonstrations go? give --out data/NAME")
    wanted = config.episodes_per_task * len(config.env.spec.tasks)
    with SafeExit() as stop, bar("demonstrations", wanted) as progress:

        def on_progress(done: int, total: int) -> None:
            progress.set(done, total=total)
            stop.check()

        report = collect(
            config.env,
            out=config.out,
            episodes_per_task=config.episodes_per_task,
            noise=config.noise,
            seed=config.seed,
            workers=config.workers or default_workers(),
            storage=config.storage,
            hold_frames=config.hold_frames,
            on_progress=on_progress,
        )
    remember(report.out, config)
    for task, kept in report.episodes.items():
        left_out = report.failed.get(task, 0)
        note = f" (the expert failed {left_out} times; left out)" if left_out else ""
        say(f"{task}: {kept} demonstrations{note}")
    say(f"{report.frames} frames in {report.out}")
    return config.out
