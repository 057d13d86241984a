"""Injects faults into training runs and compares what comes out with an undisturbed run.

    python benchmarks/faults.py [--per-kind 20 | --short] [--kinds ...] [--env point-mass]
                                [--seed 0] [--policy DIR] [--out runs/faults]

Each kind of fault gets runs of its own; ``--short`` mixes two of each kind. A program that ends
by a fault is started again by the same command, as a scheduler would. A run is compared with
the undisturbed one when it is finished: the episodes of training and evaluation, every number of
the metrics but times, every weight of every checkpoint. Moments are random (by the seed), spread
over rollouts, updates, evaluations and the writing of checkpoints. Linux only.

Prints a table; the last line is one JSON object. Exit code 1 where anything was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from faulting.checks import Damage, damage
from faulting.kinds import KINDS, FileSizeLimit, Kind, Outcome, Scene, SmallDisk, size_of
from faulting.program import Settings
from faulting.training import Training
from pushcut.presets import PRESETS
from pushcut.run import provenance
from trials import fine_tuned

PRESET = {"point-mass": "smoke", "metaworld": "quickstart"}
LAUNCHERS = ("local",)
"""How training is started; ranks and Ray come with their own kinds of faults."""


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


@dataclass
class Campaign:
    """All runs, and what was found."""

    out: Path
    settings: Settings
    rng: np.random.Generator
    disk: SmallDisk | FileSizeLimit
    undisturbed: Path
    tallies: dict[str, Tally] = field(default_factory=dict)
    damage: Damage = field(default_factory=Damage)
    seconds_to_end: list[float] = field(default_factory=list)
    leaked: int = 0
    unexpected_ends: int = 0
    untold: int = 0
    """Recoveries that no line of the metrics tells of."""
    runs: int = 0

    def play(self, kinds: list[Kind]) -> None:
        """Injects the faults one after another, in as many runs as it takes."""
        left = list(kinds)
        while left:
            name = f"run-{self.runs:03d}"
            on_disk = isinstance(self.disk, SmallDisk) and KINDS["full-disk"] in kinds
            home = self.disk.folder if on_disk and isinstance(self.disk, SmallDisk) else self.out
            training = self.training(name, home / name)
            training.start()
            try:
                self.disturb(training, left)
                self.finish(training)
            finally:
                if training.process is not None:
                    training.process.kill()
                    training.process.wait()
            self.runs += 1
            if training.run.exists():
                shutil.rmtree(training.run)

    def training(self, name: str, run: Path) -> Training:
        folder = self.out / f"{name}-faults"
        return Training(replace(self.settings, run=str(run), faults=str(folder)), folder)

    def disturb(self, training: Training, left: list[Kind]) -> None:
        """Injects faults until none is left or the run is over."""
        tries = 0
        while left and training.ended is None:
            kind = left[0]
            phase = training.random_moment(self.rng, kind.phases)
            scene = Scene(training, self.rng, self.disk, phase, self.seconds_to_end, [])
            start = time.monotonic()
            outcome = kind.inject(scene)
            self.leaked += len(scene.leaked)
            tally = self.tallies.setdefault(kind.name, Tally())
            tally.add(outcome, time.monotonic() - start, scene.phase)
            tries += 1
            if outcome != "missed" or tries > 10 * (len(left) + 5):
                left.pop(0)
            if training.ended not in (None, 0):
                self.unexpected_ends += 1
                self.damage.notes.append(f"{kind.name}: {training.end_of_log()}")
                training.start()
                training.running()

    def finish(self, training: Training) -> None:
        """Lets the run come to its end and compares."""
        assert training.process is not None
        code = training.process.wait(timeout=600)
        if code != 0:
            self.unexpected_ends += 1
            self.damage.notes.append(f"exit code {code}: {training.end_of_log()}")
            return
        found = damage(training.run, self.undisturbed)
        found.notes = [f"{training.run.name}: {note}" for note in found.notes]
        self.damage += found
        self.untold += training.recoveries() - training.told()


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


def undisturbed_run(out: Path, settings: Settings) -> tuple[Path, float]:
    """The run that all others are compared with, and its seconds."""
    run, folder = out / "undisturbed", out / "undisturbed-faults"
    training = Training(replace(settings, run=str(run), faults=str(folder)), folder)
    start = time.monotonic()
    training.start()
    assert training.process is not None
    if training.process.wait(timeout=600) != 0:
        raise SystemExit(f"the undisturbed run failed: {training.end_of_log()}")
    return run, time.monotonic() - start


def print_table(tallies: dict[str, Tally]) -> None:
    print(f"{'kind':22} {'injected':>8} {'recovered':>9} {'median s':>8} {'max s':>6}  while")
    for name, tally in tallies.items():
        row = tally.to_json()
        phases = ", ".join(f"{phase} {count}" for phase, count in tally.phases.most_common())
        numbers = f"{row['injected']:8} {row['recovered']:9} {row['median_s']!s:>8}"
        print(f"{name:22} {numbers} {row['max_s']!s:>6}  {phases}")


def record_of(campaign: Campaign, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    found, tallies = campaign.damage, campaign.tallies
    ends = campaign.seconds_to_end
    return {
        "injected": sum(tally.injected for tally in tallies.values()),
        "recovered": sum(tally.recovered for tally in tallies.values()),
        "episodes_lost": found.lost,
        "episodes_duplicated": found.duplicated,
        "checkpoints_broken": found.checkpoints,
        "metrics_different": found.metrics,
        "recoveries_untold": campaign.untold,
        "unexpected_ends": campaign.unexpected_ends,
        "processes_leaked": campaign.leaked,
        "sigterm_max_s": round(max(ends), 2) if ends else None,
        "runs": campaign.runs,
        "kinds": {name: tally.to_json() for name, tally in tallies.items()},
        "notes": found.notes[:20],
        "disk": type(campaign.disk).__name__,
        "seconds": round(seconds, 1),
        "seconds_undisturbed": round(options.undisturbed_s, 1),
        "env": options.env,
        "launcher": options.launcher,
        "iterations": options.iterations,
        "seed": options.seed,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": provenance()["commit"],
        "command": sys.argv,
    }


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-kind", type=int, default=20)
    parser.add_argument("--short", action="store_true", help="a few of each kind, mixed")
    parser.add_argument("--each", type=int, default=2, help="of each kind in the short form")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--launcher", choices=LAUNCHERS, default="local")
    parser.add_argument("--env", choices=list(PRESET), default="point-mass")
    parser.add_argument("--iterations", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout-s", type=float, default=2.0, help="when a simulator is hung")
    parser.add_argument("--no-mount", action="store_true", help="a full disk without a small one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--policy", type=Path, help="fine-tuned policy; made where none is given")
    parser.add_argument("--out", type=Path, default=Path("runs/faults"))
    return parser.parse_args()


def main() -> int:
    options = options_of()
    if sys.platform != "linux":
        raise SystemExit("this benchmark reads /proc: it needs Linux")
    start, out = time.monotonic(), options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    policy = options.policy or fine_tuned(PRESETS[PRESET[options.env]], out)
    settings = Settings(
        PRESET[options.env], str(policy.absolute()), "", "", options.iterations,
        workers=options.workers, timeout_s=options.timeout_s, seed=options.seed,
    )  # fmt: skip
    shutil.rmtree(out / "undisturbed", ignore_errors=True)
    undisturbed, options.undisturbed_s = undisturbed_run(out, settings)
    chosen = [KINDS[name] for name in options.kinds]
    rng = np.random.default_rng(options.seed)
    disk: SmallDisk | FileSizeLimit = FileSizeLimit()
    if KINDS["full-disk"] in chosen and not options.no_mount:
        disk = small_disk(out / "disk", 3 * size_of([undisturbed]))
    campaign = Campaign(out, settings, rng, disk, undisturbed)
    try:
        if options.short:
            mixed = [kind for kind in chosen for _ in range(options.each)]
            campaign.play([mixed[i] for i in rng.permutation(len(mixed))])
        else:
            for kind in chosen:
                campaign.play([kind] * options.per_kind)
                print_table({kind.name: campaign.tallies[kind.name]})
                print(f"harm so far: {campaign.damage}", flush=True)
    finally:
        if isinstance(disk, SmallDisk):
            subprocess.run(["umount", str(disk.folder)], check=False)
    print_table(campaign.tallies)
    record = record_of(campaign, options, time.monotonic() - start)
    print(json.dumps(record))
    bad = ("episodes_lost", "episodes_duplicated", "checkpoints_broken", "metrics_different",
           "recoveries_untold", "unexpected_ends", "processes_leaked")  # fmt: skip
    return int(any(record[name] for name in bad) or record["recovered"] < record["injected"])


if __name__ == "__main__":
    sys.exit(main())
