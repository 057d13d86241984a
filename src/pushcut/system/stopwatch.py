"""Seconds per phase of a program."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

Seconds = dict[str, float]
"""Phase -> seconds."""


class Stopwatch:
    """Adds up seconds per phase; a phase inside another interrupts it, so none counts twice.

    ``rest`` names the phase of all time that belongs to no other; without it that is not counted.
    """

    def __init__(self, rest: str = "") -> None:
        self._seconds: Seconds = {}
        self._open = [rest]
        self._since = time.perf_counter()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Counts the time of the body as ``name``."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def take(self) -> Seconds:
        """The seconds since the last call; the stopwatch goes on from zero."""
        self._charge()
        taken, self._seconds = self._seconds, {}
        return taken

    def _charge(self) -> None:
        now, name = time.perf_counter(), self._open[-1]
        if name:
            self._seconds[name] = self._seconds.get(name, 0.0) + now - self._since
        self._since = now
