"""Stages: commands of pushcut, each done once, in turn; what each took, over all attempts."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushcut.commands.recipe import write_json
from pushcut.errors import UserError
from pushcut.runs.lock import folder_lock
from pushcut.runs.run import provenance

NOTES = "stages.json"
"""File in the bench's folder: stage -> its command, commits, attempts, and whether it is done."""

STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a command that somebody stopped."""

PATIENCE_S = 120.0
"""For a command that a bench which was killed left behind: it saves and ends."""


@dataclass(frozen=True)
class Stage:
    """A command, and what is there once it is done."""

    name: str
    arguments: Sequence[str]
    out: Path
    """The folder or file that it makes."""
    resumes: bool = True
    """Whether the command goes on where it was stopped; else what is there is removed."""


@dataclass(frozen=True)
class Attempt:
    """What one start of a command took: seconds, processor seconds of all of its processes."""

    wall_s: float
    cpu_s: float
    exit_code: int


Execute = Callable[[Sequence[str], Path], Attempt]
"""Runs `pushcut ARGUMENTS`, its output appended to a file."""


class FailedStage(Exception):  # noqa: N818
    """A command that failed by itself; the bench goes on with what does not need it."""


class Stages:
    """The stages of a bench's folder."""

    def __init__(self, out: Path, execute: Execute) -> None:
        self._out, self._execute = out, execute
        file = out / NOTES
        self.notes: dict[str, dict[str, Any]] = (
            json.loads(file.read_text()) if file.exists() else {}
        )

    def done(self, stage: Stage) -> bool:
        """Whether a stage is done; UserError where another command began it."""
        note = self.notes.get(stage.name)
        if note is None:
            return False
        if note["command"] != self._command(stage):
            raise UserError(
                f"{stage.name} in {self._out} was begun with other settings "
                f"({' '.join(note['command'])}): choose another --out, or another name"
            )
        return note["done"] and stage.out.exists()

    def run(self, stage: Stage) -> None:
        """Runs a stage unless it is done.

        Raises:
            FailedStage: With the last line that the command said.
            KeyboardInterrupt: Where it was stopped.
        """
        if self.done(stage):
            return
        with folder_lock(stage.out, PATIENCE_S):
            pass
        if not stage.resumes:
            shutil.rmtree(stage.out, ignore_errors=True)
            stage.out.unlink(missing_ok=True)
        stage.out.parent.mkdir(parents=True, exist_ok=True)
        note = self.notes.setdefault(
            stage.name,
            {"command": self._command(stage), "commits": [], "attempts": [], "done": False},
        )
        commit = provenance()["commit"]
        note["commits"] += [] if commit in note["commits"] else [commit]
        note["attempts"].append(None)  # of a bench that is killed nobody knows what it took
        self._write()
        log = stage.out.with_name(stage.out.name + ".log")
        print(f"{time.strftime('%H:%M:%S')} {stage.name}: pushcut {stage.arguments[0]}", flush=True)
        attempt = self._execute(stage.arguments, log)
        note["attempts"][-1] = vars(attempt)
        note["done"] = attempt.exit_code == 0
        self._write()
        if attempt.exit_code in STOPPED:
            raise KeyboardInterrupt
        if not note["done"]:
            raise FailedStage(f"{stage.name}: {_last_line(log)} ({log})")

    def cost(self, name: str) -> tuple[float, float, bool]:
        """Seconds and processor seconds of a stage, and whether no attempt is missing."""
        attempts = self.notes[name]["attempts"]
        known = [attempt for attempt in attempts if attempt is not None]
        wall, cpu = (sum(attempt[key] for attempt in known) for key in ("wall_s", "cpu_s"))
        return wall, cpu, len(known) == len(attempts)

    def _command(self, stage: Stage) -> list[str]:
        """The command wherever the folder lies."""
        return ["pushcut", *(x.replace(str(self._out), "OUT") for x in stage.arguments)]

    def _write(self) -> None:
        write_json(self._out / NOTES, self.notes)


def execute(arguments: Sequence[str], log: Path) -> Attempt:
    """Runs `pushcut ARGUMENTS` in a process, which ends when this one does."""
    start = time.monotonic()
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pushcut", *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes from us, once
            preexec_fn=_end_with_parent,
        )
        with _forwarding(process):
            _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = usage.ru_utime + usage.ru_stime  # its simulators too: it waits for them
    return Attempt(round(time.monotonic() - start, 2), round(cpu_s, 2), process.returncode)


@contextmanager
def _forwarding(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """As long as this is open, signals that would stop us stop the command, which saves first."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def forward(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)  # not send_signal, which would reap it

    before = {number: signal.signal(number, forward) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_parent() -> None:
    """Linux: the process gets SIGTERM when its parent dies, however that is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
