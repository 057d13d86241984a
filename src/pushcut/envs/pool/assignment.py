"""Who plays what in a pool: each worker process belongs to one simulator."""

from __future__ import annotations

import logging
import pickle
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pushcut.envs.base import EnvConfig
from pushcut.envs.isolated.simulators import Launch, launch_of
from pushcut.envs.pool.slots import Slot

logger = logging.getLogger("pushcut.pool")


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker process is there for."""

    name: str
    """Name of the environment, for people."""
    launch: Launch
    message: bytes
    """The first that it is sent."""


class WorkerAssignment:
    """Which simulator each process of a pool runs, as many for each member of a mixed environment.

    A slot is a row of memory and an episode, so any process may play any slot, one episode in
    one process. Which of those that have the simulator does it changes nothing but the time:
    the one with the fewest episodes, so that no member's processes wait for another's.
    """

    def __init__(
        self, config: EnvConfig, *, processes: int, slots: int, final_observation: bool
    ) -> None:
        """``processes`` of each member; raises UserError where a simulator is not installed."""
        self.specs: list[WorkerSpec] = []
        """One per process."""
        self._able: dict[str, range] = {}
        for part in config.parts:
            tasks = part.spec.tasks  # first: what a config finds out for its spec travels with it
            _warn_of_replay(part, slots=slots, processes=processes)
            message = pickle.dumps((part, slots, final_observation))
            worker_spec = WorkerSpec(part.title, launch_of(part.simulator), message)
            able = range(len(self.specs), len(self.specs) + processes)
            self._able |= dict.fromkeys(tasks, able)
            self.specs += [worker_spec] * processes

    def worker_for(self, task: str, slot: int, others: Iterable[Slot]) -> int:
        """The process that shall play an episode of ``task`` in ``slot``; ties go by the slot."""
        busy = Counter(other.worker for other in others if other.playing)
        able = self._able[task]
        return min(able, key=lambda worker: (busy[worker], (worker - able[0] - slot) % len(able)))


def _warn_of_replay(part: EnvConfig, *, slots: int, processes: int) -> None:
    """Says where episodes that take turns will be played again and again."""
    each = -(-slots // processes)
    if part.episodes_kept is not None and each > part.episodes_kept:
        logger.warning(
            "%s keeps %d episodes in a process and has %d: those put aside are played again from "
            "their start; use %d processes (--workers), or let each keep more",
            part.title,
            part.episodes_kept,
            each,
            -(-slots // part.episodes_kept),
        )
