"""Whether ranks may act when they like, or must act at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pushcut.errors import RankLostError


@dataclass(frozen=True)
class Turn:
    """What the ranks agreed to do now."""

    act: bool
    """Run the policy, be it for the others' sake."""
    over: bool
    """No rank has anything to do any more."""


@runtime_checkable
class Coordination(Protocol):
    """Asked once in every round of a player's loop."""

    @property
    def pause_s(self) -> float | None:
        """Longest that a round may wait for simulators; None where nobody waits for this rank."""
        ...

    def turn(self, *, wants: bool, busy: bool) -> Turn:
        """``wants``: decisions are due here. ``busy``: there is or may be something to play."""
        ...

    def leave(self) -> None:
        """Tells the others that this rank failed."""
        ...


class Independent:
    """Every rank for itself."""

    pause_s: float | None = None

    def turn(self, *, wants: bool, busy: bool) -> Turn:
        """As this rank wants."""
        return Turn(wants, not busy)

    def leave(self) -> None:
        """Nobody waits."""


INDEPENDENT = Independent()


class Lockstep:
    """All ranks run the policy whenever one wants to: its weights are gathered as it runs."""

    pause_s: float | None = 0.005

    def __init__(self, sum_over_ranks: Callable[[Sequence[float]], list[float]]) -> None:
        self._sum = sum_over_ranks

    def turn(self, *, wants: bool, busy: bool) -> Turn:
        """As any rank wants; RankLostError where one has failed."""
        return self._turn(wants, busy, failed=False)

    def leave(self) -> None:
        """A last turn; the others stop at it."""
        self._turn(False, False, failed=True)

    def _turn(self, wants: bool, busy: bool, *, failed: bool) -> Turn:
        wanting, busy_ranks, failures = self._sum([wants, busy, failed])
        if failures and not failed:
            raise OtherRankFailedError("another rank failed")
        return Turn(act=wanting > 0, over=busy_ranks == 0)


class OtherRankFailedError(RankLostError):
    """Another rank will say what happened."""
