"""Simulators on other machines, for a rank's player: the slots of a pool dealt out to hosts."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from pushcut.cluster.host import Answer, HostRequest
from pushcut.envs.pool.pool import Reply
from pushcut.envs.pool.shared_rows import SharedRows, rows_file, rows_size
from pushcut.errors import UserError
from pushcut.system.stopwatch import Seconds
from pushcut.types import EnvSpec, InitState, Observation, Recovery

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


@dataclass
class _Slot:
    init: InitState
    playing: bool = True
    """An episode is under way."""
    waiting: bool = True
    """A request has no reply yet."""
    observed: bool = False
    """The slot's row shows what the last reply led to."""


class HostedPool:
    """Plays ``slots`` episodes at a time on simulator hosts, as ``EnvPool`` does in processes.

    Slot i is slot ``i // H`` of host ``i mod H``. Messages are batches: requests leave when the
    player begins to wait or to act, replies come as the host has them (``SimulatorHost``).
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
        self.spec, self.slots, self.restarts = spec, slots, 0
        self._hosts, self._max_failures = hosts, max_failures
        self._timeout_s, self._start_timeout_s = timeout_s, start_timeout_s
        self._on_recovery = on_recovery
        self.seconds: Seconds = {"simulate": 0.0, "render": 0.0}
        """What a simulator process has done so far, the mean over all hosts."""
        self._spent: dict[int, Seconds] = {host: {} for host in range(hosts.count)}
        self._failures: Counter[int] = Counter()
        self._slots: dict[int, _Slot] = {}
        self._outbox: dict[int, list[HostRequest]] = {host: [] for host in range(hosts.count)}
        self._deadline = dict.fromkeys(range(hosts.count), math.inf)
        self._process_restarts = dict.fromkeys(range(hosts.count), 0)
        self._starting = set(range(hosts.count))
        self._rows_file = rows_file(rows_size(spec, slots))
        self._rows = SharedRows(spec, slots, self._rows_file.fileno())
        try:
            for host in range(hosts.count):
                self._start(host)
            while self._starting:
                self._collect({}, ROUND_S)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> HostedPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the hosts; the pool cannot be used afterwards."""
        if self._rows_file.closed:
            return
        self._hosts.close()
        self._slots.clear()
        self._rows.close()
        self._rows_file.close()

    def reset(self, slot: int, init: InitState) -> None:
        """Submits the start of an episode in ``slot``; one under way there is dropped."""
        if not 0 <= slot < self.slots:
            raise IndexError(f"no slot {slot}; have 0 to {self.slots - 1}")
        self._require_no_request(slot)
        self._slots[slot] = _Slot(init)
        self._submit(slot, HostRequest("reset", slot // self._hosts.count, init))

    def step(self, slot: int, actions: np.ndarray, record_size: int = 0) -> None:
        """Submits an action chunk, float32 [h, a]; ``record_size`` > 0 asks for frames."""
        self._require_no_request(slot)
        if slot not in self._slots or not self._slots[slot].playing:
            raise RuntimeError(f"slot {slot} has no episode under way: reset it first")
        self._slots[slot].waiting, self._slots[slot].observed = True, False
        local = slot // self._hosts.count
        self._submit(slot, HostRequest("step", local, actions=actions, record_size=record_size))

    def wait(self, timeout_s: float | None = None) -> list[Reply]:
        """Blocks until there is a reply and returns all that have come, ordered by slot.

        Returns an empty list after ``timeout_s``. Raises ``UserError`` when a host cannot play an
        initial state, or cannot be replaced.
        """
        if timeout_s is None and not any(state.waiting for state in self._slots.values()):
            raise RuntimeError("nothing to wait for: no slot has a request outstanding")
        give_up = math.inf if timeout_s is None else time.monotonic() + timeout_s
        replies: dict[int, Reply] = {}
        self._flush()
        while not replies and (left := give_up - time.monotonic()) > 0:
            self._collect(replies, min(left, ROUND_S))
        return [replies[slot] for slot in sorted(replies)]

    def observation(self, slots: Sequence[int]) -> Observation:
        """Copies what the last replies of ``slots`` led to, one row per slot."""
        self._flush()  # the player begins to act: the simulators need not wait until it has
        instruction = []
        for slot in slots:
            state = self._slots.get(slot)
            if state is None or not state.observed:
                raise RuntimeError(
                    f"slot {slot} has no observation: no episode, no reply yet, or it is over"
                )
            instruction.append(self.spec.tasks[state.init.task])
        return self._rows.read(slots, instruction)

    def _require_no_request(self, slot: int) -> None:
        if slot in self._slots and self._slots[slot].waiting:
            raise RuntimeError(f"slot {slot} has a request without a reply: wait for it first")

    def _submit(self, slot: int, request: HostRequest) -> None:
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

    def _collect(self, replies: dict[int, Reply], timeout_s: float) -> None:
        """Takes in what the hosts that have work answer, after waiting for one of them."""
        now = time.monotonic()
        working = {slot % self._hosts.count for slot, s in self._slots.items() if s.waiting}
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
            state = self._slots[slot]
            state.waiting = False
            state.playing = reply.result is None or not reply.result.done
        for row, local in enumerate(answer.observed):
            assert answer.observation is not None
            slot = local * self._hosts.count + host
            self._rows.write(slot, answer.observation.select([row]))
            self._slots[slot].observed = True

    def _forget(self, slot: int) -> None:
        """Drops an episode, and a request for it that has not left yet."""
        host, local = slot % self._hosts.count, slot // self._hosts.count
        self._slots.pop(slot, None)
        self._outbox[host] = [r for r in self._outbox[host] if r.slot != local]

    def _replace(self, host: int, reason: str, replies: dict[int, Reply]) -> None:
        """Reports the episodes of a host that is gone as lost, and starts another."""
        self._failures[host] += 1
        if self._failures[host] > self._max_failures:
            raise UserError(
                f"simulator host {host} was lost {self._failures[host]} times in a row; "
                f"the last time it {reason}"
            )
        lost = [
            slot
            for slot, state in self._slots.items()
            if slot % self._hosts.count == host and state.playing
        ]
        for slot in lost:
            replies[slot] = Reply(slot, "lost", reason=f"its simulator host {reason}")
            self._forget(slot)
        self.restarts += 1
        self._process_restarts[host], self._spent[host] = 0, {}
        self._on_recovery(Recovery("host", f"host {host} {reason}", episodes=len(lost)))
        logger.warning(
            "simulator host %d %s; starting it again, %d episodes start again",
            host,
            reason,
            len(lost),
        )
        self._start(host)
