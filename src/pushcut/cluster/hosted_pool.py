"""Simulators on other machines, for a rank: the slots of a pool dealt out to hosts."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from pushcut.cluster.host import Answer, HostRequest
from pushcut.envs.pool.base import Simulators
from pushcut.envs.pool.slots import Reply, RequestKind
from pushcut.errors import UserError
from pushcut.system.stopwatch import Seconds
from pushcut.types import EnvSpec, Recovery

logger = logging.getLogger("pushcut.cluster")

ROUND_S = 1.0
"""Longest wait for answers before it is asked whether a host is silent for too long."""


@dataclass(frozen=True)
class HostLost:
    """Stands in place of an answer: the host is gone."""

    reason: str


@runtime_checkable
class Hosts(Protocol):
    """The way to simulator hosts; only ``answers`` waits."""

    count: int

    def start(self, host: int) -> None:
        """Starts a host, in place of the one before it."""
        ...

    def submit(self, host: int, requests: Sequence[HostRequest]) -> None:
        """Sends requests; a host takes them in the order in which they were sent."""
        ...

    def answers(self, hosts: Sequence[int], timeout_s: float) -> dict[int, Answer | HostLost]:
        """Asks ``hosts`` to collect replies, where they are not at it, and waits for one of them.

        Raises what a host raised.
        """
        ...

    def close(self) -> None:
        """Ends all hosts."""
        ...


class HostedPool(Simulators):
    """Plays ``slots`` episodes at a time on simulator hosts, as ``EnvPool`` does in processes.

    Slot i is slot ``i // H`` of host ``i mod H``. Messages are batches: requests leave when the
    runner begins to wait or to act, replies come as the host has them (``SimulatorHost``).
    """

    def __init__(
        self,
        hosts: Hosts,
        spec: EnvSpec,
        *,
        slots: int,
        max_failures: int,
        timeout_s: float,
        start_timeout_s: float,
        on_recovery: Callable[[Recovery], None] = lambda recovery: None,
    ) -> None:
        """Starts the hosts and waits until their simulators have started.

        Args:
            hosts: The way to them.
            spec: What the environment is.
            slots: Episodes at a time.
            max_failures: A ``UserError`` is raised when a host is lost more often than this
                without a reply in between.
            timeout_s: A host that is silent for longer is lost.
            start_timeout_s: The same while it starts.
            on_recovery: Told of every process and host that was replaced.
        """
        super().__init__(spec, slots=slots, on_recovery=on_recovery)
        self._hosts, self._max_failures = hosts, max_failures
        self._timeout_s, self._start_timeout_s = timeout_s, start_timeout_s
        self._spent: dict[int, Seconds] = {host: {} for host in range(hosts.count)}
        self._failures: Counter[int] = Counter()
        self._outbox: dict[int, list[HostRequest]] = {host: [] for host in range(hosts.count)}
        self._deadline = dict.fromkeys(range(hosts.count), math.inf)
        self._process_restarts = dict.fromkeys(range(hosts.count), 0)
        self._starting = set(range(hosts.count))
        try:
            for host in range(hosts.count):
                self._start(host)
            while self._starting:
                self._collect({}, math.inf)
        except BaseException:
            self.close()
            raise

    def _end(self) -> None:
        self._hosts.close()

    def _worker_for(self, task: str, slot: int) -> int:
        return slot % self._hosts.count

    def _submit(self, kind: RequestKind, slot: int, *arguments: Any) -> None:
        request = HostRequest(kind, slot // self._hosts.count, arguments)
        self._outbox[slot % self._hosts.count].append(request)

    def _flush(self) -> None:
        for host, requests in self._outbox.items():
            if requests:
                self._hosts.submit(host, requests)
                self._outbox[host] = []

    def _start(self, host: int) -> None:
        self._hosts.start(host)
        self._starting.add(host)
        self._deadline[host] = time.monotonic() + self._start_timeout_s

    def _collect(self, replies: dict[int, Reply], give_up: float) -> None:
        now = time.monotonic()
        timeout_s = min(max(0.0, give_up - now), ROUND_S)
        working = {state.worker for state in self._slots.values() if state.waiting}
        asked = sorted(working | self._starting)
        for host in asked:
            if self._deadline[host] == math.inf:
                self._deadline[host] = now + self._timeout_s
        answers = self._hosts.answers(asked, timeout_s)
        for host, answer in answers.items():
            if isinstance(answer, HostLost):
                self._replace(host, answer.reason, replies)
            else:
                self._accept(host, answer, replies)
        for host in asked:
            if host not in answers and self._deadline[host] <= time.monotonic():
                self._replace(host, "gave no sign of life", replies)

    def _accept(self, host: int, answer: Answer, replies: dict[int, Reply]) -> None:
        self._starting.discard(host)
        self._deadline[host] = math.inf
        self.restarts += answer.restarts - self._process_restarts[host]
        self._process_restarts[host] = answer.restarts
        for recovery in answer.recoveries:
            self._on_recovery(recovery)
        for name, spent in answer.seconds.items():
            self.seconds[name] += (spent - self._spent[host].get(name, 0.0)) / self._hosts.count
        self._spent[host] = answer.seconds
        for reply in answer.replies:
            slot = reply.slot * self._hosts.count + host
            del self._failures[host]
            replies[slot] = replace(reply, slot=slot)
            if reply.kind == "lost":
                self._forget(slot)
                continue
            self._slots[slot].answered(reply, observed=reply.slot in answer.observed)
        for row, local in enumerate(answer.observed):
            assert answer.observation is not None
            self._rows.write(local * self._hosts.count + host, answer.observation.select([row]))

    def _forget(self, slot: int) -> None:
        """Drops an episode, and a request for it that has not left yet."""
        super()._forget(slot)
        host, local = slot % self._hosts.count, slot // self._hosts.count
        self._outbox[host] = [r for r in self._outbox[host] if r.slot != local]

    def _replace(self, host: int, reason: str, replies: dict[int, Reply]) -> None:
        """Reports the episodes of a host that is gone as lost, and starts another."""
        self._failures[host] += 1
        if self._failures[host] > self._max_failures:
            raise UserError(
                f"simulator host {host} was lost {self._failures[host]} times in a row; "
                f"the last time it {reason}"
            )
        note = Recovery("host", f"host {host} {reason}")
        lost = self._lose(host, f"its simulator host {reason}", replies, note)
        self._process_restarts[host], self._spent[host] = 0, {}
        logger.warning(
            "simulator host %d %s; starting it again, %d episodes start again", host, reason, lost
        )
        self._start(host)
