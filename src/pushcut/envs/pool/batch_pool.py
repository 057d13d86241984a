"""A pool whose worker processes each play a batch of scenes that step together."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from pushcut.envs.base import EnvConfig
from pushcut.envs.pool.pool import BATCH, EnvPool
from pushcut.envs.pool.slots import Reply, RequestKind, Slot
from pushcut.envs.pool.worker_process import Request
from pushcut.envs.randomised.config import OFF
from pushcut.errors import UserError
from pushcut.types import InitState

ALONE = "a batch of scenes keeps no films, events, courses or demonstrations: play without a batch"


class BatchPool(EnvPool):
    """Plays a slot in a scene of a worker's batch; what it promises is what every pool does.

    A batch steps when all its episodes under way have actions. Requests are kept until then, or
    until an episode begins; ``stalled`` says that slots without actions hold up the others.
    """

    def __init__(self, config: EnvConfig, **options: Any) -> None:
        """The arguments are those of ``EnvPool``."""
        if config.randomisation != OFF:
            raise UserError("a batch of scenes cannot be randomised: play without a batch")
        if options.get("tasks_per_process"):
            raise UserError("--rollout.tasks-per-process: a batch of scenes frees none, leave it 0")
        self._kept: dict[int, tuple[Any, ...]] = {}
        """Requests by slot that were not sent yet."""
        super().__init__(config, **options)

    @property
    def stalled(self) -> bool:
        workers = range(len(self._workers))
        under_way = any(worker.pending for worker in self._workers)
        return not under_way and not any(self._can_go(worker) for worker in workers)

    def _scenes(self, most: int) -> int:
        return most

    def _begin(self, slot: int, init: InitState) -> None:
        super()._begin(slot, init)
        begun = self._slots[slot]
        others = (other for other in self._playing(begun.worker).values() if other is not begun)
        taken = {other.scene for other in others}
        begun.scene = next(scene for scene in range(self.slots) if scene not in taken)

    def _submit(self, kind: RequestKind, slot: int, *arguments: Any) -> None:
        if kind == "reset":
            self._kept[slot] = (kind, slot, self._slots[slot].scene, *arguments)
            return
        if kind != "step" or arguments[1]:
            raise UserError(ALONE)
        self._kept[slot] = (kind, slot, arguments[0])

    def _flush(self) -> None:
        for index, worker in enumerate(self._workers):
            if not worker.pending and self._can_go(index):
                under_way = list(self._playing(index))
                mine = [self._kept.pop(slot) for slot in under_way if slot in self._kept]
                message = pickle.dumps(("play", BATCH, under_way, mine))
                # A batch of separate scenes takes as long as all of them one after the other.
                worker.submit(Request(BATCH, message, self._timeout_s * len(under_way)))

    def _collect(self, replies: dict[int, Reply], give_up: float) -> None:
        self._flush()  # an answer may have been of those that need nothing more
        if not self.stalled:
            super()._collect(replies, give_up)

    def _can_go(self, worker: int) -> bool:
        """Whether an episode of a batch is to begin, or all under way have actions."""
        playing = self._playing(worker)
        begins = any(self._kept.get(slot, ("",))[0] == "reset" for slot in playing)
        return begins or (bool(playing) and all(slot.waiting for slot in playing.values()))

    def _playing(self, worker: int) -> dict[int, Slot]:
        return {
            number: slot
            for number, slot in self._slots.items()
            if slot.playing and slot.worker == worker
        }

    def _blamed(self, worker: int, culprit: int | None) -> Sequence[InitState | int | None]:
        if culprit != BATCH:
            return [culprit]
        return [slot.init for slot in self._playing(worker).values()]

    def _forget(self, slot: int) -> None:
        super()._forget(slot)
        self._kept.pop(slot, None)


def open_pool(config: EnvConfig, **options: Any) -> EnvPool:
    """A pool of batches where the environment is played in them; arguments as of ``EnvPool``."""
    return (BatchPool if config.batched else EnvPool)(config, **options)
