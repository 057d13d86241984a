"""Progress bars with time left; plain lines where the output is no terminal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

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

COUNT_SECONDS = 30.0
"""Without a terminal, what is counted inside a step of a bar prints a line this often."""

SHOWN_SECONDS = 2.0
"""What is counted gets a bar once it has taken so long: most of it is over at once."""


class Bar:
    """One bar; ``advance`` moves it, ``note`` sets the text beside it."""

    def __init__(self, rich: RichProgress, label: str, total: int) -> None:
        self._rich, self._label, self._total = rich, label, total
        self.task = rich.add_task(label, total=total, note="")
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
        self._rich.update(self.task, completed=done, total=self._total, note=self._note)
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
    if _Open.rich is not None:  # a terminal has one live display
        yield from _inside(_Open.rich, label, total)
        return
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
        _Open.rich = rich
        try:
            yield Bar(rich, label, total)
        finally:
            _Open.rich = None
            _Open.counts.clear()


def _inside(rich: RichProgress, label: str, total: int) -> Iterator[Bar]:
    inner = Bar(rich, label, total)
    try:
        yield inner
    finally:
        rich.remove_task(inner.task)


class _Open:
    """The display that is open, and what is counted now."""

    rich: RichProgress | None = None
    counts: ClassVar[dict[str, _Count]] = {}
    lock = threading.Lock()


class _Count:
    """Something that is counted inside a step: bytes that are written, episodes of a rollout."""

    def __init__(self) -> None:
        self.start = self.printed = time.monotonic()
        self.bar: Bar | None = None


def count(label: str, done: int, total: int) -> None:
    """Shows how far something is that takes long; it ends when all is done.

    A bar of its own below the open one; without a terminal, a line now and then. What is over soon
    is not shown.
    """
    with _Open.lock:
        here = _Open.counts.setdefault(label, _Count())
        now, rich = time.monotonic(), _Open.rich
        if done >= total:
            del _Open.counts[label]
            if here.bar is not None and rich is not None:
                rich.remove_task(here.bar.task)
        elif console.is_terminal and rich is not None:
            if here.bar is None and now - here.start >= SHOWN_SECONDS:
                here.bar = Bar(rich, f"  {label}", total)
            if here.bar is not None:
                here.bar.set(done, total=total)
        elif not console.quiet and now - here.printed >= COUNT_SECONDS:
            here.printed = now
            left = (now - here.start) / max(done, 1) * (total - done)
            print(f"{label}: {done}/{total} ({left:.0f} s left)", flush=True)


def mute() -> None:
    """Stops printing lines and bars, for another rank talks to the user."""
    console.quiet = True


def say(text: str) -> None:
    """Prints a line, above any bar, and tells the run's log."""
    console.print(text, markup=False, soft_wrap=True)
    if text := text.strip():
        logger.info("%s", text)
