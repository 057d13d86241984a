"""A simulator host: a pool of simulator processes that serves a rank on another machine.

It runs wherever the cluster puts it and imports neither torch nor the cluster's library.
"""

from __future__ import annotations

import os
import pickle
import queue
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pushcut import plugins
from pushcut.envs.base import EnvConfig
from pushcut.envs.pool.pool import EnvPool
from pushcut.envs.pool.slots import Reply, RequestKind
from pushcut.system.stopwatch import Seconds
from pushcut.types import Observation, Recovery

LOOK_S = 0.004
"""How often a host that waits for simulators looks for new requests."""
LINGER_S = 0.1
"""Longest time that a reply is held back so that others may travel with it."""
EMPTY_S = 1.0
"""A host without replies says so this often: it is alive."""


@dataclass(frozen=True)
class HostRequest:
    """A request to one slot of a host."""

    kind: RequestKind
    slot: int
    arguments: tuple[Any, ...]
    """Arguments of the pool's method of this name, after the slot."""


@dataclass(frozen=True)
class Answer:
    """Replies of a host."""

    replies: list[Reply] = field(default_factory=list)
    observation: Observation | None = None
    """What they led to, a row for each of ``observed``."""
    observed: list[int] = field(default_factory=list)
    """Slots."""
    restarts: int = 0
    """Simulator processes that the host has replaced so far."""
    recoveries: list[Recovery] = field(default_factory=list)
    """Why, since the last answer."""
    seconds: Seconds = field(default_factory=dict)
    """What its processes have done so far, their mean."""


class SimulatorHost:
    """Plays the slots of a pool for a rank on another machine.

    ``submit`` and ``collect`` may run in two threads, each once at a time: requests reach the
    simulators while ``collect`` waits for replies.
    """

    def __init__(
        self, env: bytes, pool_options: dict[str, Any], environment: Mapping[str, str]
    ) -> None:
        """``env``: its config, pickled. ``pool_options``: keywords of ``EnvPool``."""
        os.environ.update(environment)
        plugins.make_importable()
        config: EnvConfig = pickle.loads(env)
        self._env, self._options = config, pool_options
        self._pool: EnvPool | None = None
        self._inbox: queue.SimpleQueue[Sequence[HostRequest]] = queue.SimpleQueue()
        self._outstanding: set[int] = set()
        self._lost: set[int] = set()
        self._recoveries: list[Recovery] = []

    def submit(self, requests: Sequence[HostRequest]) -> None:
        """Takes requests for slots that have none."""
        self._inbox.put(requests)

    def collect(self) -> Answer:
        """Waits for replies: until half of the requests have one, or a little after the first.

        A runner acts when half of its slots wait for it. The first call starts the simulators,
        and answers when they have started.
        """
        if self._pool is None:
            noted = self._recoveries.append
            self._pool = EnvPool(self._env, on_recovery=noted, **self._options)
            return Answer()
        replies: dict[int, Reply] = {}
        give_up = time.monotonic() + EMPTY_S
        while time.monotonic() < give_up and not (
            replies and len(replies) >= len(self._outstanding)
        ):
            self._forward_requests()
            for reply in self._pool.wait(timeout_s=LOOK_S):
                if not replies:
                    give_up = time.monotonic() + LINGER_S
                replies[reply.slot] = reply
                self._outstanding.discard(reply.slot)
                if reply.kind == "lost":
                    self._lost.add(reply.slot)
        return self._answer([replies[slot] for slot in sorted(replies)])

    def close(self) -> None:
        """Ends the simulators."""
        if self._pool is not None:
            self._pool.close()

    def _forward_requests(self) -> None:
        """Hands what has been submitted to the simulators."""
        assert self._pool is not None
        while not self._inbox.empty():
            for request in self._inbox.get():
                if request.kind == "reset":
                    self._lost.discard(request.slot)
                elif request.slot in self._lost:
                    continue  # was on its way when the episode was lost
                method = self._pool.reset if request.kind == "reset" else self._pool.step
                method(request.slot, *request.arguments)
                self._outstanding.add(request.slot)

    def _answer(self, replies: list[Reply]) -> Answer:
        assert self._pool is not None
        final = bool(self._options.get("final_observation"))
        slots = [reply.slot for reply in replies if reply.shown(final_observation=final)]
        observation = self._pool.observation(slots) if slots else None
        recoveries = list(self._recoveries)
        self._recoveries.clear()
        return Answer(
            replies, observation, slots, self._pool.restarts, recoveries, dict(self._pool.seconds)
        )
