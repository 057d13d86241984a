"""Where a checkpoint comes from: the runs that trained it, read from their folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pushcut.errors import UserError

OVERLAP = "trained on the evaluation's initial states"
"""Label of results that the papers' overlap of training and evaluation flatters."""


def saw_evaluation_states(checkpoint: Path) -> bool:
    """Whether any run behind a checkpoint trained on the benchmark's own initial states."""
    runs = runs_behind(checkpoint)
    return any(run["config"].get("train_init") == "benchmark" for run in runs)


def runs_behind(checkpoint: Path) -> Iterator[dict[str, Any]]:
    """The config.json of a checkpoint's run, of the run that it started from, and so on.

    A checkpoint that was copied out of its run's folder has lost its past.
    """
    seen: set[Path] = set()
    path: Path | None = checkpoint
    while path is not None and (found := _run_of(path.absolute())) is not None:
        folder, run = found
        if folder in seen:
            return
        seen.add(folder)
        yield run
        config = run["config"]
        # Fine-tuning named its start init in 0.1.0.
        start = config.get("init") or (config.get("policy") or {}).get("path")
        path = Path(start) if start else None


def run_folder_of(checkpoint: Path) -> Path | None:
    """The folder of the run that a checkpoint lies in; None where it lies in none."""
    found = _run_of(checkpoint.absolute())
    return found and found[0]


def _run_of(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The nearest run folder: RUN, RUN/policy, RUN/checkpoints/000010 or its policy."""
    for folder in (path, *path.parents[:3]):
        file = folder / "config.json"
        if not file.is_file():
            continue
        try:
            content = json.loads(file.read_text())
        except ValueError as error:
            raise UserError(f"{file} is damaged: {error}") from error
        # A policy folder has a config.json of its own, ours with a type, others without config.
        if not isinstance(content, dict) or "type" in content:
            continue
        if isinstance(content.get("config"), dict):
            return folder, content
    return None
