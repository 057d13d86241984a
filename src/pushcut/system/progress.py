"""Progress bars with time left; plain lines where the output is no terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

console = Console(highlight=False)

logger = logging.getLogger("pushcut")
if logging.lastResort is not None:
    # Warnings still reach the terminal when a run's log listens too.
    logger.addHandler(logging.lastResort)

PLAIN_SECONDS = 10.0
"""Without a terminal, a bar prints a line this often."""


class Bar:
    """One bar; ``advance`` moves it, ``note`` sets the text beside it."""

    def __init__(self, rich: RichProgress, label: str, total: int) -> None:
        self._rich, self._label, self._total = rich, label, total
        self._task = rich.add_task(label, total=total, note="")
        self._done = 0
        self._note = ""
        self._start = self._printed = time.monotonic()

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Moves the bar."""
        self.set(self._done + steps, note)

    def set(self, done: int, note: str | None = None, total: int | None = None) -> None:
        """Moves the bar to a position; ``total`` may grow."""
        self._done = done
        self._note = self._note if note is None else note
        self._total = self._total if total is None else total
        self._rich.update(self._task, completed=done, total=self._total, note=self._note)
        now = time.monotonic()
        if not console.is_terminal and not console.quiet and now - self._printed >= PLAIN_SECONDS:
            self._printed = now
            left = (now - self._start) / max(done, 1) * (self._total - done)
            print(
                f"{self._label}: {done}/{self._total} {self._note} ({left:.0f} s left)", flush=True
            )


@contextmanager
def bar(label: str, total: int) -> Iterator[Bar]:
    """A progress bar that disappears when it is done."""
    with RichProgress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as rich:
        yield Bar(rich, label, total)


def mute() -> None:
    """Stops printing lines and bars, for another rank talks to the user."""
    console.quiet = True


def say(text: str) -> None:
    """Prints a line, above any bar, and tells the run's log."""
    console.print(text, markup=False, soft_wrap=True)
    if text := text.strip():
        logger.info("%s", text)
