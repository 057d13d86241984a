"""The error that a user can act on: one line that says what would have worked."""

from __future__ import annotations

TOLD = "another process tells the user"
"""Note on an error that several processes raise and one of them prints."""


class UserError(Exception):
    """Something the user can fix; the command line prints its one line and exits with 1."""


class RankLostError(UserError):
    """Another process of the run is gone or hangs: nothing can be done together any more."""


class ProcessLostError(RankLostError):
    """The process of a rank, or its machine, is gone; errors on other ranks follow from it."""


class DivergedError(UserError):
    """The weights at hand are worthless: they must not become a checkpoint."""


class Interrupted(Exception):  # noqa: N818 - an event, not an error
    """Ctrl-C or SIGTERM reached a safe point; carries the exit code (130 or 143)."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"interrupted (exit code {exit_code})")
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int]]:
        return Interrupted, (self.exit_code,)  # it travels between ranks
