"""A training program under the campaign's eyes: start it, see where it is, start it again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from faulting.launchers import Launcher
from faulting.phases import FILE, PHASES
from faulting.program import Settings
from processes import Process, command_of, descendants, start_program, wait_until
from pushcut.runs.jsonl import read_lines

MOMENT_S = {
    "start": 3.0, "rollout": 0.3, "update": 0.2, "checkpoint": 0.03, "evaluation": 0.1, "any": 1.0,
}  # fmt: skip
"""Longest time after the beginning of a phase that a fault waits, about the phase's length."""
WORKER = "pushcut.envs.pool.worker"


@dataclass
class Training:
    """One run folder and the program that works in it."""

    settings: Settings
    folder: Path
    """Where faults are asked for, and the log."""
    launcher: Launcher
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    disturbed: Counter[int] = field(default_factory=Counter)
    """Faults of simulator processes in each iteration."""

    @property
    def run(self) -> Path:
        return Path(self.settings.run)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def ended(self) -> int | None:
        """Exit code, once there is one."""
        assert self.process is not None
        return self.process.poll()

    @property
    def phase(self) -> str:
        """What the program is doing."""
        return self._told()[0]

    @property
    def teller(self) -> int:
        """Process that says so: the program, or its first rank; 0 before there is one."""
        return int(self._told()[1])

    def _told(self) -> tuple[str, str]:
        try:
            phase, process = (self.folder / FILE).read_text().split()
        except (OSError, ValueError):  # not yet, or it is being written
            return "start", "0"
        return phase, process

    def start(self) -> None:
        """Starts the program, again where it ended."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / FILE).write_text("start 0")
        self.settings.write(self.folder / "settings.json")
        program = ["-m", "faulting.program", str(self.folder / "settings.json")]
        command = [sys.executable, *self.launcher.arguments, *program]
        self.process = start_program(command, self.folder / "log")
        self.starts += 1

    def running(self) -> bool:
        """Waits until the loop goes (on); whether it did, or was over."""
        wait_until(lambda: self.phase in PHASES or self.ended is not None, timeout_s=120)
        return self.ended in (None, 0)

    def workers(self) -> list[Process]:
        """Simulator processes."""
        return self._processes(WORKER)

    def ranks(self) -> list[Process]:
        """Ranks, where a launcher started several."""
        return self._processes(self.launcher.rank)

    def _processes(self, mark: str) -> list[Process]:
        roots = [self.pid, *self.launcher.roots()]
        found = [process for root in roots for process in descendants(root)]
        return [process for process in found if mark in command_of(process.pid)]

    def went_on(self, before: set[int], timeout_s: float) -> bool:
        """Waits until the loop goes on in a first rank that is none of those before."""
        wait_until(
            lambda: self.ended is not None or (self.teller not in before and self.phase in PHASES),
            timeout_s,
        )
        return self.teller not in before and self.phase in PHASES

    def wait(self, timeout_s: float) -> int | None:
        """The exit code; None where the program does not end."""
        wait_until(lambda: self.ended is not None, timeout_s)
        return self.ended

    def end(self) -> None:
        """Kills the program and all that it started, where it still runs."""
        if self.process is None:
            return
        started = [*self.ranks(), *self.workers()] if self.ended is None else []
        self.process.kill()
        self.process.wait()
        for process in started:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def wait_for_calm(self) -> None:
        """At most two in an iteration: three failed starts in a row are given up, by design."""
        metrics = self.run / "metrics.jsonl"
        now = len(read_lines(metrics))
        if self.disturbed[now] == 2:
            wait_until(lambda: len(read_lines(metrics)) > now or self.ended is not None, 60)
        self.disturbed[len(read_lines(metrics))] += 1

    def recoveries(self) -> int:
        """Recoveries noted so far."""
        return len(read_lines(self.run / "recoveries.jsonl"))

    def checkpoints(self) -> list[Path]:
        """Complete ones, the newest last."""
        return sorted((self.run / "checkpoints").glob("[0-9]*"))

    def unfinished_checkpoint(self) -> bool:
        """Whether there is something of one that is being written or removed."""
        endings = ("new", "old", "pruned")
        return any(any((self.run / "checkpoints").glob(f".*.{ending}")) for ending in endings)

    def random_moment(self, rng: np.random.Generator, phases: tuple[str, ...]) -> str:
        """Waits for a moment drawn at random in a phase drawn at random; returns the phase."""
        wanted = str(rng.choice([*phases, "any"]))
        if wanted != "any":
            wait_until(lambda: self.phase == wanted or self.ended is not None, 20.0, 0.001)
        time.sleep(rng.uniform(0, MOMENT_S[wanted]))
        return self.phase

    def end_of_log(self) -> str:
        return " | ".join((self.folder / "log").read_text(errors="replace").splitlines()[-6:])

    def told(self) -> int:
        """Recoveries that the metrics tell of."""
        lines = read_lines(self.run / "metrics.jsonl")
        return sum(len(line.get("recoveries", ())) for line in lines)


def settings_from(path: Path) -> Settings:
    return Settings(**json.loads(path.read_text()))
