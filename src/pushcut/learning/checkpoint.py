"""Checkpoints: written aside and renamed, so that a crash never leaves a half one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pushcut.errors import DivergedError, RankLostError, UserError
from pushcut.learning.disk import check_space, gigabytes, needed_now, reason_of
from pushcut.learning.learner import Learner
from pushcut.learning.optimiser import restore
from pushcut.learning.shards import frozen_in_shards, load_sharded, training_tensors
from pushcut.policies.base import Policy
from pushcut.policies.masters import MASTERS_FILE, load_masters, save_masters
from pushcut.policies.pretrained import (
    TRAINING_PARTS_FILE,
    load_training_parts,
    save_training_parts,
)
from pushcut.policies.tensor_files import SharedFiles
from pushcut.policies.told import write_told
from pushcut.ranks.base import Ranks, SingleProcess
from pushcut.ranks.shard_files import local_part, sharded_like
from pushcut.system.machine import free_bytes
from pushcut.system.progress import say

SHARDS = "shards"
"""Folder of a checkpoint whose weights are in parts."""


CHECKED_AT_ONCE = 1 << 22
"""Numbers that are looked at together."""

SAID_BYTES = 1_000_000_000
"""Writing of so much is announced: it takes a while."""


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


def save(
    folder: Path,
    learner: Learner,
    progress: Progress,
    *,
    keep: int,
    ranks: Ranks | None = None,
) -> None:
    """Writes checkpoint ``progress.iteration`` and removes old ones but the best.

    Where all ranks hold all weights the first of them writes; where each holds a part, each writes
    its own, in the background. UserError where the disk is full or the weights are no numbers; what
    was there before stays. Weights that are not trained are in a file that checkpoints share.
    """
    ranks = ranks or SingleProcess()
    path = folder / f"{progress.iteration:06d}"
    check_finite(learner.policy, path)
    if not (ranks.first or ranks.sharded):
        return
    writing = Writing(path, progress, keep)
    needed = 0 if ranks.sharded else needed_now(learner, folder)
    if needed >= SAID_BYTES:
        say(f"writing checkpoint {path.name}: {gigabytes(needed)}")
    with writing.one_line_errors(needed):
        if not ranks.sharded:
            writing.begin()
            check_space(needed, writing.aside)
            write_whole(learner, writing.aside, SharedFiles(folder))
            writing.finish()
            return
        ranks.wait_for_writes()
        with ranks.together():
            if ranks.first:
                writing.begin()
                write_told(learner.policy.told, writing.aside)
        ranks.write_shards(
            training_tensors(learner),
            writing.aside / SHARDS,
            writing.finish,
            frozen=frozen_in_shards(learner.policy),
        )


def check_finite(policy: Policy, path: Path) -> None:
    """DivergedError where weights that are trained are no numbers."""
    if not all(is_finite(local_part(x)) for x in policy.parameters() if x.requires_grad):
        raise DivergedError(
            f"training has diverged: weights of iteration {int(path.name)} are not finite "
            f"numbers; start anew from an earlier checkpoint in {path.parent} (--policy.path) with "
            "a lower --learner.lr"
        )


@torch.no_grad()
def is_finite(weight: Tensor) -> bool:
    """Whether all numbers are finite; looks at some at a time, for masks take memory too."""
    parts = weight.detach().reshape(-1).split(CHECKED_AT_ONCE)
    return all(bool(part.isfinite().all()) for part in parts)


def note_progress(folder: Path, progress: Progress, *, keep: int) -> None:
    """Says in a checkpoint that is there already what became known since: it may be the best.

    Nobody's weights depend on it: a warning where the disk is full.
    """
    path = folder / f"{progress.iteration:06d}"
    aside = path / ".progress.json"
    try:
        aside.write_text(_progress_json(progress))
        aside.replace(path / "progress.json")
    except OSError as error:
        say(f"warning: {path / 'progress.json'} is not up to date: {error}")
        return
    _sync_names(path)
    _prune(folder, keep=keep, best=progress.best_iteration)


@dataclass(frozen=True)
class Writing:
    """A checkpoint on its way: in a hidden folder, renamed once it is whole."""

    path: Path
    progress: Progress
    keep: int

    @property
    def aside(self) -> Path:
        """Where it is written."""
        return self.path.with_name(f".{self.path.name}.new")

    def begin(self) -> None:
        """Clears away what a killed process left."""
        tidy(self.path.parent)
        self.aside.mkdir(parents=True)

    def finish(self) -> None:
        """Puts it into its place."""
        (self.aside / "progress.json").write_text(_progress_json(self.progress))
        _sync(self.aside)
        old = self.path.with_name(f".{self.path.name}.old")
        if self.path.exists():
            self.path.rename(old)
        self.aside.rename(self.path)
        _sync_names(self.path.parent)
        shutil.rmtree(old, ignore_errors=True)
        _prune(self.path.parent, keep=self.keep, best=self.progress.best_iteration)

    @contextmanager
    def one_line_errors(self, needed: int) -> Iterator[None]:
        """Turns any failure into one UserError and removes the partial checkpoint.

        ``needed``: bytes that it takes at least.
        """
        try:
            yield
        except RankLostError:
            raise  # the ranks that start again clear up
        # torch and safetensors wrap a full disk in errors of their own.
        except Exception as error:
            shutil.rmtree(self.aside, ignore_errors=True)
            reason = reason_of(error, needed, free_bytes(self.path.parent))
            raise UserError(
                f"could not write checkpoint {self.path}: {reason}; earlier checkpoints are "
                "untouched: free some space and continue with --resume"
            ) from error


def write_whole(learner: Learner, folder: Path, shared: SharedFiles) -> None:
    """The policy's folder, what it lacks, and the optimiser.

    ``shared``: the checkpoints that may have a file of what is not trained.
    """
    policy = learner.policy
    policy.save_shared(folder / "policy", shared)
    save_training_parts(policy, folder / TRAINING_PARTS_FILE)
    save_masters(policy, folder / MASTERS_FILE)
    torch.save(learner.optimizer.state_dict(), folder / "optimizer.pt")


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
    """The newest checkpoint of a run; UserError where it has none."""
    found = all_of(folder)
    if not found:
        raise UserError(f"no checkpoint in {folder}: give a run's folder or one of its checkpoints")
    return found[-1]


def whole_ones(folder: Path) -> list[Path]:
    """Checkpoints that hold the folder of a policy, the newest last."""
    return [path for path in all_of(folder) if (path / "policy" / "config.json").exists()]


def load_newest(folder: Path, learner: Learner) -> tuple[Progress | None, dict[Path, str]]:
    """Restores the newest checkpoint that can be read; also what is wrong with newer ones.

    Without any checkpoint nothing is restored (None). UserError where all are damaged.
    """
    damaged: dict[Path, str] = {}
    for path in reversed(all_of(folder)):
        try:
            return load(path, learner), damaged
        except UserError as error:
            damaged[path] = str(error)
    if damaged:
        newest = next(iter(damaged.values()))
        raise UserError(f"none of {len(damaged)} checkpoints can be read; the newest: {newest}")
    return None, {}


def load(path: Path, learner: Learner) -> Progress:
    """Restores weights and optimiser; UserError where a file is damaged.

    Whole and sharded checkpoints, into weights that are whole or sharded over any number of ranks.
    """
    sharded = (path / SHARDS).exists()
    if not sharded:
        learner.policy.load_weights(path / "policy")
        load_training_parts(learner.policy, path / TRAINING_PARTS_FILE)
        if (path / MASTERS_FILE).exists():
            load_masters(learner.policy, path / MASTERS_FILE)
    try:
        for file in path.rglob("*.json"):
            json.loads(file.read_text())
        if sharded:
            load_sharded(path / SHARDS, learner)
        else:
            load_optimizer(path / "optimizer.pt", learner)
        return Progress(**json.loads((path / "progress.json").read_text()))
    # torch.load raises many kinds of errors on damaged files.
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"checkpoint {path} is damaged: {reason}") from error


def load_optimizer(file: Path, learner: Learner) -> None:
    """Restores what ``torch.save`` wrote."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    restore(learner.optimizer, state)
    for parameter, values in learner.optimizer.state.items():
        learner.optimizer.state[parameter] = {
            key: sharded_like(value, parameter) for key, value in values.items()
        }


def _progress_json(progress: Progress) -> str:
    return json.dumps(vars(progress)) + "\n"


def all_of(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest last."""
    return sorted(path for path in folder.glob("[0-9]*") if (path / "progress.json").exists())


def _prune(folder: Path, *, keep: int, best: int) -> None:
    for path in all_of(folder)[:-keep]:
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
