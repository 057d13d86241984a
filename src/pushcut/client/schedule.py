"""When the next observation is sent to the policy."""

from __future__ import annotations

from collections import deque

REMEMBERED = 8
"""Answers whose slowest says how early the next question must go out."""


class Schedule:
    """As late as answers allow, so that chunks are played to their end; or every so many steps."""

    def __init__(self, rate_hz: float, execute: int | None = None) -> None:
        """Knows nothing yet of how long answers take.

        Args:
            rate_hz: Steps per second.
            execute: Steps between questions; None asks when the newest chunk is about to end.
        """
        self._rate_hz, self._execute = rate_hz, execute
        self._took_s: deque[float] = deque(maxlen=REMEMBERED)
        self._first_took_s = 0.0
        self.begin()

    def begin(self) -> None:
        """Begins another episode: its first step asks."""
        self._since: int | None = None
        self._asking = False

    def must_ask(self, left: int) -> bool:
        """Whether a step's observation is to be sent.

        Args:
            left: Steps from this one on that the newest chunk gives.
        """
        if self._since is None:
            return True
        if self._execute is not None:
            return self._since >= self._execute
        return not self._asking and left <= self.early

    @property
    def early(self) -> int:
        """Steps that must be left when a question goes out, for its answer to come in time."""
        return 1 + int(max(self._took_s, default=self._first_took_s) * self._rate_hz)

    def step(self, *, asked: bool) -> None:
        """A step begins; with a question or without."""
        if asked:
            self._since, self._asking = 0, True
        self._since = (self._since or 0) + 1

    def answered(self, took_s: float, *, first: bool) -> None:
        """An answer came, of this episode.

        Args:
            took_s: Since its question.
            first: Whether it is the episode's first, which may have warmed the server up: it
                counts only until there is another.
        """
        self._asking = False
        if first:
            self._first_took_s = took_s
        else:
            self._took_s.append(took_s)
