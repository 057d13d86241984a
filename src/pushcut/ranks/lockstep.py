"""Whether each rank runs the policy when it likes, or all at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pushcut.errors import RankLostError


@dataclass(frozen=True)
class Turn:
    """What the ranks agreed to do now."""

    act: bool
    """Run the policy now, even if this rank has nothing to decide."""
    over: bool
    """Every rank has finished."""


@runtime_checkable
class Coordination(Protocol):
    """When this rank may run the policy; asked once in each round of an episode runner."""

    @property
    def pause_s(self) -> float | None:
        """Longest wait for simulators in a round (seconds); None where no rank waits."""
        ...

    def turn(self, *, wants: bool, busy: bool) -> Turn:
        """What to do in this round.

        Args:
            wants: Whether decisions are due on this rank.
            busy: Whether this rank has or may get something to play.
        """
        ...

    def leave(self) -> None:
        """Tells the others that this rank failed."""
        ...


class Independent:
    """Each rank runs the policy when it likes."""

    pause_s: float | None = None

    def turn(self, *, wants: bool, busy: bool) -> Turn:
        return Turn(wants, not busy)

    def leave(self) -> None:
        """Nobody waits."""


INDEPENDENT = Independent()


class Lockstep:
    """All ranks run the policy whenever one wants to, for its weights are gathered as it runs."""

    pause_s: float | None = 0.005

    def __init__(self, sum_over_ranks: Callable[[Sequence[float]], list[float]]) -> None:
        self._sum = sum_over_ranks

    def turn(self, *, wants: bool, busy: bool) -> Turn:
        """Runs the policy if any rank wants to; raises RankLostError where one has failed."""
        return self._turn(wants, busy, failed=False)

    def leave(self) -> None:
        """Takes a last turn, at which the others stop."""
        self._turn(False, False, failed=True)

    def _turn(self, wants: bool, busy: bool, *, failed: bool) -> Turn:
        wanting, busy_ranks, failures = self._sum([wants, busy, failed])
        if failures and not failed:
            raise OtherRankFailedError("another rank failed")
        return Turn(act=wanting > 0, over=busy_ranks == 0)


class OtherRankFailedError(RankLostError):
    """Another rank failed; it says itself what happened."""
