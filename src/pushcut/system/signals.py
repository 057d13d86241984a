"""Ctrl-C and SIGTERM that wait for a safe point, so that a run can be saved."""

from __future__ import annotations

import signal
import time
from types import FrameType

from pushcut.errors import Interrupted


class SafeExit:
    """While open, notes SIGINT and SIGTERM; ``check`` raises ``Interrupted`` at a safe point.

    A second signal interrupts at once, as usual.
    """

    def __init__(self, grace_s: float = 0.0) -> None:
        """``grace_s``: longest time after a signal that work is still finished."""
        self._grace_s = grace_s
        self._noted = 0.0
        self._signal: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> SafeExit:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self) -> None:
        """Raises ``Interrupted`` once a signal has come."""
        if self._signal is not None:
            raise Interrupted(128 + self._signal)

    def too_long(self, left_s: float) -> int:
        """The exit code once a signal has come and finishing would take too long; 0 before."""
        if self._signal is None or time.monotonic() - self._noted + left_s <= self._grace_s:
            return 0
        return 128 + self._signal

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal, self._noted = number, time.monotonic()
        print("\nstopping at the next safe point; once more to stop at once", flush=True)
