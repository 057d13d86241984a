"""Who plays what in a pool: each worker process belongs to one simulator and keeps few tasks."""

from __future__ import annotations

import logging
import pickle
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from pushcut.envs.base import EnvConfig
from pushcut.envs.isolated.simulators import Launch, launch_of
from pushcut.envs.pool.slots import Slot

logger = logging.getLogger("pushcut.pool")

ROOM = 0.5
"""Cost of a process that must make the task's simulator, in episodes under way there."""
INSTEAD = 1.5
"""Cost where it must then free the simulator of another task."""
MORE = 3.5
"""Cost where it plays all tasks that it keeps, and must keep one more."""


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker process is there for."""

    name: str
    """Name of the environment, for people."""
    launch: Launch
    message: bytes
    """The first that it is sent."""
    tasks_kept: int | None
    """Tasks whose simulators it keeps; None for any number."""


class WorkerAssignment:
    """Which simulator each process of a pool runs, as many for each member of a mixed environment.

    A slot is a row of memory and an episode, so any process may play any slot, one episode in
    one process. Which of those that have the simulator does it changes nothing but time and
    memory: one that has the task already, unless another has much less to do.
    """

    def __init__(
        self,
        config: EnvConfig,
        *,
        processes: int,
        slots: int,
        final_observation: bool,
        tasks_per_process: int = 0,
        scenes: int = 0,
    ) -> None:
        """``processes`` of each member; raises UserError where a simulator is not installed.

        ``scenes``: those of the batch that a process plays; 0: it plays slots in turns.
        """
        self.specs: list[WorkerSpec] = []
        """One per process."""
        self._able: dict[str, range] = {}
        for part in config.parts:
            tasks = part.spec.tasks  # first: what a config finds out for its spec travels with it
            if not scenes:
                _warn_of_replay(part, slots=slots, processes=processes)
            message = pickle.dumps((part, slots, final_observation, scenes))
            kept = tasks_per_process or part.tasks_kept
            worker_spec = WorkerSpec(part.title, launch_of(part.simulator), message, kept)
            able = range(len(self.specs), len(self.specs) + processes)
            self._able |= dict.fromkeys(tasks, able)
            self.specs += [worker_spec] * processes
        self._kept: list[OrderedDict[str, None]] = [OrderedDict() for _ in self.specs]
        """Tasks that each process has a simulator of, the one that was given out last at the
        end."""

    def worker_for(self, task: str, slot: int, others: Iterable[Slot]) -> int:
        """The process that shall play an episode of ``task`` in ``slot``; ties go by the slot."""
        playing = [other for other in others if other.playing]
        busy = Counter(other.worker for other in playing)
        under_way = {(other.worker, other.init.task) for other in playing}
        able = self._able[task]

        def cost(worker: int) -> tuple[float, int]:
            rotated = (worker - able[0] - slot) % len(able)
            return busy[worker] + self._making(task, worker, under_way), rotated

        chosen = min(able, key=cost)
        self._kept[chosen][task] = None
        self._kept[chosen].move_to_end(task)
        return chosen

    def surplus(self, worker: int, slots: Iterable[Slot]) -> list[str]:
        """Tasks that a process shall free now, those first that were given out longest ago.

        None of them has an episode under way; they count as freed.
        """
        kept, limit = self._kept[worker], self.specs[worker].tasks_kept
        if limit is None or len(kept) <= limit:
            return []
        needed = {slot.init.task for slot in slots if slot.worker == worker and slot.playing}
        freed = [task for task in kept if task not in needed][: len(kept) - limit]
        for task in freed:
            del kept[task]
        return freed

    def forget(self, worker: int) -> None:
        """Notes that a process is replaced: the new one has no simulator yet."""
        self._kept[worker].clear()

    def _making(self, task: str, worker: int, under_way: set[tuple[int, str]]) -> float:
        """What it costs that a process may have to make the simulator of a task."""
        kept, limit = self._kept[worker], self.specs[worker].tasks_kept
        if task in kept:
            return 0.0
        if limit is None or len(kept) < limit:
            return ROOM
        return INSTEAD if any((worker, other) not in under_way for other in kept) else MORE


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
