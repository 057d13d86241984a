"""The count of groups that ranks share: a tally in the store that they met at."""

from __future__ import annotations

import math
import time
from dataclasses import astuple

from torch.distributed.distributed_c10d import Store

from pushcut.errors import RankLostError
from pushcut.ranks.group_budget import Tally
from pushcut.ranks.lost import lost_ranks

CLOSED = "closed"
"""Stands in place of a tally once a rank has given up: nothing starts any more."""

BEAT_SHARE = 0.05
"""Shortest pause between a rank's heartbeats, as a share of the longest time that others wait."""


class SharedGroupBudget:
    """A tally in a store, changed by compare-and-set.

    A rank holds at most its share of the groups that are wanted, so that a quick start does not
    take the work of others; who has finished a group may take another. Beside the tally stands a
    count of heartbeats: ranks that wait can tell a long group from a rank that hangs.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        wanted: int,
        limit: int,
        *,
        rank: int,
        ranks: int,
        timeout_s: float,
    ) -> None:
        self._store, self._key, self._rank = store, key, rank
        self._wanted, self._limit = wanted, limit
        self._share, self._held, self._writes = -(-wanted // ranks), 0, 0
        self._stored, self._beats = b"", 0
        self._timeout_s, self._changed = timeout_s, time.monotonic()
        self._beat_at = -math.inf

    def claim(self) -> int | None:
        """The next number, where one may start and this rank does not hold its share."""
        if self._held == self._share:
            return None
        tally = self._read()
        while tally is not None and tally.may_start(self._wanted, self._limit):
            if self._swap(tally.after_start()):
                self._held += 1
                return tally.started
            tally = self._parsed()
        return None

    def report(self, accepted: bool) -> None:
        self._held -= 1
        tally = self._read()
        while tally is not None and not self._swap(tally.after_end(accepted)):
            tally = self._parsed()

    def heartbeat(self) -> None:
        """Tells the ranks that wait that this one plays on; cheap, as most calls send nothing."""
        now = time.monotonic()
        if now - self._beat_at < self._timeout_s * BEAT_SHARE:
            return
        self._beat_at = self._changed = now
        self._count_beats(1)

    @property
    def done(self) -> bool:
        """Whether all that started have ended and none may start.

        RankLostError where something is under way and no rank has shown a sign of life (a claim, a
        group's end, a heartbeat) for the longest time that ranks may wait.
        """
        before, tally = self._stored, self._read()
        if tally is None:
            return True
        if tally.finished == tally.started and not tally.may_start(self._wanted, self._limit):
            return True
        beats, self._beats = self._beats, self._count_beats(0)
        if (before, beats) != (self._stored, self._beats):
            self._changed = time.monotonic()
        elif time.monotonic() - self._changed > self._timeout_s:
            raise RankLostError(
                f"no rank decided or finished anything for {self._timeout_s:g} s: one of them "
                "hangs (--ranks.timeout-s)"
            )
        return False

    def _count_beats(self, more: int) -> int:
        with lost_ranks("share out groups"):
            return self._store.add(f"{self._key}/beats", more)

    def _read(self) -> Tally | None:
        self._stored = self._compare_set("", "0 0 0")
        return self._parsed()

    def _swap(self, tally: Tally) -> bool:
        """Writes a tally unless another rank has changed it since it was read."""
        self._writes += 1
        # Two ranks may want to write the same numbers: the tail tells whose they are.
        counts = " ".join(map(str, astuple(tally)))
        mine = f"{counts} {self._rank}.{self._writes}"
        self._stored = self._compare_set(self._stored.decode(), mine)
        won = self._stored.decode() == mine
        if won:
            self._changed = time.monotonic()
        return won

    def _compare_set(self, expected: str, wanted: str) -> bytes:
        with lost_ranks("share out groups"):
            return self._store.compare_set(self._key, expected, wanted)

    def _parsed(self) -> Tally | None:
        if self._stored.decode() == CLOSED:
            return None
        started, finished, rejected, *_ = self._stored.split()
        return Tally(int(started), int(finished), int(rejected))
