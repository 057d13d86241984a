"""Faults that a run recovered from: noted at once, and told in its metrics."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pushcut.errors import UserError

RecoveryKind = Literal["died", "hung", "raised", "corrupt", "host", "rank", "resumed", "checkpoint"]
"""A simulator process that ended, gave no answer, raised, or reported nonsense and was replaced; a
simulator host or rank that was lost; a
run that went on after a stop; a damaged checkpoint that was passed over."""

METRICS = (
    "worker_restarts", "episodes_requeued", "resumes", "iterations_replayed", "recoveries",
)  # fmt: skip
"""What lines of metrics.jsonl say of recoveries: all that a fault may change besides times."""

WORKER_KINDS = ("died", "hung", "raised", "corrupt")


@dataclass(frozen=True)
class Recovery:
    """A fault, and what it cost."""

    kind: RecoveryKind
    reason: str
    worker: int | None = None
    """Number of the simulator process."""
    task: str | None = None
    """What it was working on, as is ``seed``; None when it was idle."""
    seed: int | None = None
    episodes: int | None = None
    """Episodes that were started again."""
    iterations: int | None = None
    """Finished iterations that are played again."""

    def to_json(self) -> dict[str, Any]:
        """The fields that say something."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class RecoveryLog:
    """``recoveries.jsonl`` of a run: one line per recovery, written when it happens.

    Each is also told in one line of the metrics, in order, so the number of those told there
    says which are still to be told: also after a crash, or when a resume dropped lines.
    """

    def __init__(self, path: Path | None, told: int = 0) -> None:
        """Opens a log of which ``told`` recoveries are in lines of the metrics that stay.

        Without a path it only keeps them, for another rank to write down.
        """
        self._path = path
        self._lock = threading.Lock()  # rollouts may be played by a thread of their own
        self._pending: list[dict[str, Any]] = []
        if path is not None:
            self._pending = read_lines(path)[told:]
            rewrite_lines(path, read_lines(path))

    def note(self, recovery: Recovery) -> None:
        """Writes a recovery down."""
        self.note_line({"time": round(time.time(), 3), **recovery.to_json()})

    def note_line(self, line: dict[str, Any]) -> None:
        """Writes down what another rank noted."""
        with self._lock:
            self._pending.append(line)
            if self._path is not None:
                append_line(self._path, line)

    def drain(self) -> list[dict[str, Any]]:
        """What was noted since the last time."""
        with self._lock:
            drained, self._pending = self._pending, []
        return drained

    def take(self) -> dict[str, Any]:
        """What the next line of the metrics says of the recoveries since the last one."""
        taken = [{k: v for k, v in line.items() if k != "time"} for line in self.drain()]
        counts: dict[str, Any] = {
            "worker_restarts": sum(line["kind"] in WORKER_KINDS for line in taken),
            "episodes_requeued": sum(line.get("episodes", 0) for line in taken),
            "resumes": sum(line["kind"] == "resumed" for line in taken),
            "iterations_replayed": sum(line.get("iterations", 0) for line in taken),
        }
        return counts | ({"recoveries": taken} if taken else {})


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one JSON object per line; an empty list where there is none.

    A last line without its end, as a killed process leaves it, does not count.
    """
    if not path.exists():
        return []
    *lines, _torn = path.read_text().split("\n")
    return [json.loads(line) for line in lines if line]


def append_line(path: Path, content: Mapping[str, Any]) -> None:
    """Appends an object; where there is no room for it the file stays as it was (UserError)."""
    line = (json.dumps(content) + "\n").encode()
    try:
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                written = file.write(line)
                if written != len(line):  # what a full disk had room for
                    written += file.write(line[written:])
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise UserError(
            f"could not write {path}: {error.strerror}; free some space and continue with --resume"
        ) from error


def rewrite_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Replaces the lines of a file that exists; a killed process leaves the old ones."""
    if not path.exists():
        return
    aside = path.with_suffix(".aside")
    aside.write_text("".join(json.dumps(line) + "\n" for line in lines))
    aside.replace(path)
