"""Checkpoints: written aside and renamed, so that a crash never leaves a half one."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from pushcut.errors import DivergedError, UserError
from pushcut.learner import Learner
from pushcut.policies.pretrained import (
    TRAINING_PARTS_FILE,
    load_training_parts,
    save_training_parts,
)


@dataclass(frozen=True)
class Progress:
    """What a checkpoint remembers besides weights and optimiser.

    There is no generator to store: every random stream is keyed by (seed, iteration, …)
    and made anew where it is used.
    """

    iteration: int
    """The next iteration."""
    best: float = -1.0
    """Best success rate of an evaluation so far."""
    best_iteration: int = -1
    """When that was."""
    idle: int = 0
    """Iterations in a row without a group to train on."""


def save(folder: Path, learner: Learner, progress: Progress, *, keep: int) -> Path:
    """Writes checkpoint ``progress.iteration`` and removes old ones but the best.

    UserError where the disk is full or the weights are no numbers; what was there before stays.
    """
    if not all(bool(parameter.isfinite().all()) for parameter in learner.policy.parameters()):
        raise DivergedError(
            f"training has diverged: weights of iteration {progress.iteration} are not finite "
            f"numbers; start anew from an earlier checkpoint in {folder} (--policy.path) with a "
            "lower --learner.lr"
        )
    path = folder / f"{progress.iteration:06d}"
    tidy(folder)
    aside, old = folder / f".{path.name}.new", folder / f".{path.name}.old"
    try:
        aside.mkdir(parents=True)
        learner.policy.save_pretrained(aside / "policy")
        save_training_parts(learner.policy, aside / TRAINING_PARTS_FILE)
        torch.save(learner.optimizer.state_dict(), aside / "optimizer.pt")
        (aside / "progress.json").write_text(json.dumps(vars(progress)) + "\n")
        _sync(aside)
    # torch and safetensors wrap a full disk in errors of their own.
    except Exception as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise UserError(
            f"could not write checkpoint {path}: {error}; earlier checkpoints are untouched: "
            "free some space and continue with --resume"
        ) from error
    if path.exists():
        path.rename(old)
    aside.rename(path)
    _sync_names(folder)
    shutil.rmtree(old, ignore_errors=True)
    _prune(folder, keep=keep, best=progress.best_iteration)
    return path


def tidy(folder: Path) -> None:
    """Removes what a process left that was killed while it wrote.

    Killed between the two renames that replace a checkpoint, it left the earlier one hidden:
    that is put back.
    """
    for old in folder.glob(".*.old"):
        place = folder / old.name.removeprefix(".").removesuffix(".old")
        if not place.exists():
            old.rename(place)
    for ending in ("new", "old", "pruned"):
        for leftover in folder.glob(f".*.{ending}"):
            shutil.rmtree(leftover)


def latest(folder: Path) -> Path:
    """The newest checkpoint of a run."""
    found = _all(folder)
    if not found:
        raise UserError(f"nothing to resume: no checkpoint in {folder}")
    return found[-1]


def load_newest(folder: Path, learner: Learner) -> tuple[Progress | None, dict[Path, str]]:
    """Restores the newest checkpoint that can be read; also what is wrong with newer ones.

    Without any checkpoint nothing is restored (None). UserError where all are damaged.
    """
    tidy(folder)
    damaged: dict[Path, str] = {}
    for path in reversed(_all(folder)):
        try:
            return load(path, learner), damaged
        except UserError as error:
            damaged[path] = str(error)
    if damaged:
        newest = next(iter(damaged.values()))
        raise UserError(f"none of {len(damaged)} checkpoints can be read; the newest: {newest}")
    return None, {}


def load(path: Path, learner: Learner) -> Progress:
    """Restores weights and optimiser; UserError where a file is damaged."""
    learner.policy.load_weights(path / "policy")
    load_training_parts(learner.policy, path / TRAINING_PARTS_FILE)
    try:
        for file in path.rglob("*.json"):
            json.loads(file.read_text())
        state = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
        learner.optimizer.load_state_dict(state)
        return Progress(**json.loads((path / "progress.json").read_text()))
    # torch.load raises many kinds of errors on damaged files.
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"checkpoint {path} is damaged: {reason}") from error


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if (path / "progress.json").exists())


def _prune(folder: Path, *, keep: int, best: int) -> None:
    for path in _all(folder)[:-keep]:
        if int(path.name) != best:
            # Hidden first: a process killed in the midst leaves no half checkpoint.
            shutil.rmtree(path.rename(folder / f".{path.name}.pruned"))


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            _sync_names(path)
    _sync_names(folder)


def _sync_names(folder: Path) -> None:
    """Makes the names in a folder last, as ``fsync`` does for the content of a file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
