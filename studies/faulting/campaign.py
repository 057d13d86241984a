"""Runs under faults, one after another, and what was found in them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from faulting.checks import Damage, damage
from faulting.kinds import KINDS, FileSizeLimit, SmallDisk, size_of
from faulting.launchers import LAUNCHERS, Launcher
from faulting.program import Settings
from faulting.scene import Kind, Outcome, Scene
from faulting.training import Training

RUN_S = 900.0
"""A run that takes longer to come to its end hangs."""


@dataclass
class Tally:
    """What became of the faults of a kind."""

    injected: int = 0
    recovered: int = 0
    missed: int = 0
    """Tries that came to nothing, not counted as injected."""
    seconds: list[float] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome, seconds: float, phase: str) -> None:
        if outcome == "missed":
            self.missed += 1
            return
        self.injected += 1
        self.recovered += outcome == "recovered"
        self.seconds.append(seconds)
        self.phases[phase] += 1

    def to_json(self) -> dict[str, Any]:
        return {
            "injected": self.injected,
            "recovered": self.recovered,
            "median_s": round(float(np.median(self.seconds)), 2) if self.seconds else None,
            "max_s": round(max(self.seconds), 2) if self.seconds else None,
            "phases": dict(self.phases),
        }


@dataclass(frozen=True)
class Stage:
    """Where the runs of one launcher are played, and what they are compared with."""

    out: Path
    launcher: Launcher
    settings: Settings
    undisturbed: Path
    disk: SmallDisk | FileSizeLimit
    seconds: float
    """Of the undisturbed run."""

    def training(self, name: str, *, on_disk: bool) -> Training:
        """A run that is to be."""
        home = self.disk.folder if on_disk and isinstance(self.disk, SmallDisk) else self.out
        return run_at(home / name, self.out / f"{name}-faults", self.settings, self.launcher)


def run_at(run: Path, faults: Path, settings: Settings, launcher: Launcher) -> Training:
    return Training(replace(settings, run=str(run), faults=str(faults)), faults, launcher)


@contextmanager
def opened(
    name: str, out: Path, settings: Settings, *, full_disk: bool, mount: bool
) -> Iterator[Stage]:
    """The stage of a launcher, once a run that nothing disturbed is played there."""
    with LAUNCHERS[name]() as launcher:
        settings = launcher.settings(settings)
        run = out / f"undisturbed-{name}"
        shutil.rmtree(run, ignore_errors=True)
        training = run_at(run, out / f"{run.name}-faults", settings, launcher)
        start = time.monotonic()
        training.start()
        try:
            if training.wait(RUN_S) != 0:
                raise SystemExit(f"the undisturbed run failed: {training.end_of_log()}")
        finally:
            training.end()
        seconds = time.monotonic() - start
        disk: SmallDisk | FileSizeLimit = FileSizeLimit()
        if full_disk and mount:
            disk = small_disk(out / "disk", 3 * size_of([run]))
        try:
            yield Stage(out, launcher, settings, run, disk, seconds)
        finally:
            if isinstance(disk, SmallDisk):
                subprocess.run(["umount", str(disk.folder)], check=False)


def small_disk(folder: Path, size: int) -> SmallDisk | FileSizeLimit:
    """A small file system where that is allowed, else a limit on the size of files."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={size}", "pushcut-faults", str(folder)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        print("mounting is not allowed: a full disk is a limit on the size of files (EFBIG)")
        return FileSizeLimit()
    return SmallDisk(folder)


@dataclass
class Campaign:
    """All runs, and what was found."""

    rng: np.random.Generator
    tallies: dict[str, Tally] = field(default_factory=dict)
    damage: Damage = field(default_factory=Damage)
    seconds_to_end: list[float] = field(default_factory=list)
    leaked: int = 0
    unexpected_ends: int = 0
    untold: int = 0
    """Recoveries that no line of the metrics tells of."""
    runs: int = 0

    def play(self, kinds: list[Kind], stage: Stage) -> None:
        """Injects the faults one after another, in as many runs as it takes."""
        left = list(kinds)
        while left:
            training = stage.training(f"run-{self.runs:03d}", on_disk=KINDS["full-disk"] in kinds)
            training.start()
            try:
                self.disturb(training, stage, left)
                self.finish(training, stage)
            finally:
                training.end()
            self.runs += 1
            if training.run.exists():
                shutil.rmtree(training.run)

    def disturb(self, training: Training, stage: Stage, left: list[Kind]) -> None:
        """Injects faults until none is left or the run is over."""
        tries = 0
        while left and training.ended is None:
            kind = left[0]
            phase = training.random_moment(self.rng, kind.phases)
            scene = Scene(training, self.rng, stage.disk, phase, self.seconds_to_end, [])
            start = time.monotonic()
            outcome = kind.inject(scene)
            seconds = time.monotonic() - start
            self.leaked += len(scene.leaked)
            self.tallies.setdefault(kind.name, Tally()).add(outcome, seconds, scene.phase)
            print(f"{kind.name}: {outcome} ({scene.phase}, {seconds:.1f} s)", flush=True)
            tries += 1
            if outcome != "missed" or tries > 10 * (len(left) + 5):
                left.pop(0)
            if training.ended not in (None, 0) or outcome == "not recovered":
                self.note_end(training, kind.name)
                training.end()  # it may hang
                training.start()
                training.running()

    def note_end(self, training: Training, cause: str) -> None:
        """What should not have happened."""
        self.unexpected_ends += 1
        self.damage.notes.append(f"{cause}: {training.end_of_log()}")

    def finish(self, training: Training, stage: Stage) -> None:
        """Lets the run come to its end and compares."""
        code = training.wait(RUN_S)
        if code != 0:
            self.note_end(training, "it hangs" if code is None else f"exit code {code}")
            return
        found = damage(training.run, stage.undisturbed)
        found.notes = [f"{training.run.name}: {note}" for note in found.notes]
        self.damage += found
        self.untold += training.recoveries() - training.told()
