"""Which groups may still start: the rule, and the count of a single process.

A group may start while ``started - rejected < wanted``: as if all unfinished groups were going
to be accepted. So exactly the shortest prefix of groups 0, 1, 2, … that holds ``wanted`` accepted
ones is played, whoever plays them and in whatever order they end (docs/concepts/architecture.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Tally:
    """Number of groups that have started, ended and been rejected."""

    started: int = 0
    finished: int = 0
    rejected: int = 0

    def may_start(self, wanted: int, limit: int) -> bool:
        """Whether another group is sure to be needed."""
        return self.started < limit and self.started - self.rejected < wanted

    def after_start(self) -> Tally:
        """The tally after another group has started."""
        return replace(self, started=self.started + 1)

    def after_end(self, accepted: bool) -> Tally:
        """The tally after another group has ended."""
        rejected = self.rejected + (not accepted)
        return replace(self, finished=self.finished + 1, rejected=rejected)


@runtime_checkable
class GroupBudget(Protocol):
    """Hands out the numbers 0, 1, 2, … of groups until enough have been accepted."""

    def claim(self) -> int | None:
        """The number of a group to be played here, or None while none may start."""
        ...

    def report(self, accepted: bool) -> None:
        """Tells how a group that was claimed here ended."""
        ...

    def heartbeat(self) -> None:
        """Tells whoever waits that groups that were claimed here go on."""
        ...

    @property
    def done(self) -> bool:
        """Whether no group is under way anywhere and none will ever start."""
        ...


class LocalGroupBudget:
    """The budget of a process that plays all groups itself."""

    def __init__(self, wanted: int, limit: int) -> None:
        self._wanted, self._limit = wanted, limit
        self.tally = Tally()
        """Groups so far."""

    def claim(self) -> int | None:
        """The number of the next group, or None while none may start."""
        if not self.tally.may_start(self._wanted, self._limit):
            return None
        number = self.tally.started
        self.tally = self.tally.after_start()
        return number

    def report(self, accepted: bool) -> None:
        self.tally = self.tally.after_end(accepted)

    def heartbeat(self) -> None:
        """Nobody waits."""

    @property
    def done(self) -> bool:
        """Whether every group that started has ended and no other may start."""
        tally = self.tally
        return tally.finished == tally.started and not tally.may_start(self._wanted, self._limit)
