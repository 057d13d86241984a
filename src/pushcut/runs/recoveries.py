"""Faults that a run recovered from: noted at once, and told in its metrics."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from pushcut.runs.jsonl import append_line, read_lines, rewrite_lines
from pushcut.types import Recovery

METRICS = (
    "worker_restarts", "episodes_requeued", "resumes", "iterations_replayed", "recoveries",
)  # fmt: skip
"""What lines of metrics.jsonl say of recoveries: all that a fault may change besides times."""

WORKER_KINDS = ("died", "hung", "raised", "corrupt")


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

    def pop_pending(self) -> list[dict[str, Any]]:
        """What was noted since the last time."""
        with self._lock:
            drained, self._pending = self._pending, []
        return drained

    def take(self) -> dict[str, Any]:
        """What the next line of the metrics says of the recoveries since the last one."""
        taken = [{k: v for k, v in line.items() if k != "time"} for line in self.pop_pending()]
        counts: dict[str, Any] = {
            "worker_restarts": sum(line["kind"] in WORKER_KINDS for line in taken),
            "episodes_requeued": sum(line.get("episodes", 0) for line in taken),
            "resumes": sum(line["kind"] == "resumed" for line in taken),
            "iterations_replayed": sum(line.get("iterations", 0) for line in taken),
        }
        return counts | ({"recoveries": taken} if taken else {})
