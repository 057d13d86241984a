"""Plays many slots in the scenes of one batch, which step together; part of a worker process.

It answers one kind of message: ``("play", -3, under_way, requests)``. ``under_way`` are the slots
whose episodes go on: any other is dropped. A request is ``("reset", slot, scene, init, chunks)`` or
``("step", slot, actions)``. The answer is a list of ``(kind, slot, payload)``, one for each slot
whose request is done by then: the batch goes on while every episode under way has an action, and
until one of them needs the next. So it never waits, and who has no answer yet has one later.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from pushcut.envs.batched import Lockstep
from pushcut.envs.checks import CorruptedError, problem_of_observation, problem_of_result, trusted
from pushcut.envs.pool.shared_rows import SharedRows
from pushcut.envs.pool.slots import Part
from pushcut.envs.protocol import BatchedEnv
from pushcut.system.stopwatch import Stopwatch
from pushcut.types import ChunkResult, InitState

NO_NOTE = ""
"""A batch notes nothing of initial states."""


class BatchWorker:
    """Plays slots in scenes; ``pool.worker.Worker`` is its counterpart for one environment."""

    def __init__(self, env: BatchedEnv, rows: SharedRows, *, final_observation: bool) -> None:
        self.stopwatch = Stopwatch()
        self.answers = {"play": self.play}
        self._env, self._rows = env, rows
        self._final_observation = final_observation
        self._lockstep = Lockstep(env)
        self._scenes: dict[int, int] = {}
        """Slot -> scene, of the episodes under way."""
        self._coming: set[int] = set()
        """Slots that execute chunks which another episode came so far with."""

    def play(self, _: int, under_way: Collection[int], requests: Sequence[tuple]) -> list[Part]:
        """Takes requests in, steps all scenes as far as they can go, and says what is done."""
        starts = {slot: rest for kind, slot, *rest in requests if kind == "reset"}
        for slot in set(self._scenes).difference(set(under_way).difference(starts)):
            self._lockstep.drop(self._scenes.pop(slot))
            self._coming.discard(slot)
        parts = self._start(starts) if starts else []
        for kind, slot, *rest in requests:
            if kind == "step":
                self._lockstep.give(self._scenes[slot], *rest)
        return parts or self._go_on()

    def _start(self, starts: Mapping[int, Any]) -> list[Part]:
        """Begins episodes; those are answered that have nothing to execute first."""
        inits: dict[int, InitState] = {}
        for slot, (scene, init, chunks) in starts.items():
            self._scenes[slot] = scene
            inits[scene] = init
            if chunks:
                self._coming.add(slot)
        self._lockstep.start(inits)
        for slot in self._coming.intersection(starts):
            self._lockstep.give(self._scenes[slot], np.concatenate(starts[slot][-1]))
        ready = [slot for slot in starts if slot not in self._coming]
        self._show(ready)
        return [("reset", slot, NO_NOTE) for slot in ready]

    def _go_on(self) -> list[Part]:
        slots = {scene: slot for slot, scene in self._scenes.items()}
        results = {slots[scene]: result for scene, result in self._lockstep.play().items()}
        parts = [self._part(slot, result) for slot, result in results.items()]
        final = self._final_observation
        self._show([s for s, result in results.items() if result.shown(final_observation=final)])
        for slot, result in results.items():
            if result.done:
                del self._scenes[slot]
        return parts

    def _part(self, slot: int, result: ChunkResult) -> Part:
        """What is answered for a slot whose actions are used up."""
        if slot not in self._coming:
            trusted(problem_of_result(result, len(result.reward)))
            return "step", slot, (result, None, None, None)
        self._coming.remove(slot)
        if result.done:
            raise CorruptedError(
                "the end of an episode where, from the same initial state and with the same "
                "actions, another went on: `pushcut check-env` tells what does not repeat"
            )
        return "reset", slot, NO_NOTE

    def _show(self, slots: Sequence[int]) -> None:
        """Looks at slots and writes their rows; CorruptedError where what is seen cannot be."""
        if not slots:
            return
        with self.stopwatch.timed("render"):
            seen = self._env.observe([self._scenes[slot] for slot in slots])
        trusted(problem_of_observation(seen, self._env.spec))
        if len(seen) != len(slots):
            raise CorruptedError(f"{len(seen)} rows of observations for {len(slots)} scenes")
        for row, slot in enumerate(slots):
            self._rows.write(slot, seen.select([row]))
