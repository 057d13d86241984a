"""Ctrl-C and SIGTERM that wait for a safe point, so that a run can be saved."""

from __future__ import annotations

import signal
from types import FrameType

from pushcut.errors import Interrupted


class SafeExit:
    """While open, notes SIGINT and SIGTERM; ``check`` raises ``Interrupted`` at a safe point.

    A second signal interrupts at once, as usual.
    """

    def __init__(self) -> None:
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

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = number
        print("\nstopping at the next safe point; once more to stop at once", flush=True)
