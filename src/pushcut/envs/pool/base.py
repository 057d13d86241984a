"""What every pool of simulators promises and keeps: slots, replies and rows of observations."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pushcut.envs.pool.recording import NOTHING, Record
from pushcut.envs.pool.shared_rows import SharedRows, rows_file, rows_size
from pushcut.envs.pool.slots import Reply, RequestKind, Slot
from pushcut.system.stopwatch import Seconds
from pushcut.types import EnvSpec, InitState, Observation, Recovery


class Simulators(ABC):
    """Plays an episode in each of ``slots``, wherever the simulators are.

    Each slot holds one episode and has at most one request outstanding. ``reset`` and ``step``
    submit and return at once; ``wait`` returns the replies. A subclass says how messages travel.
    """

    def __init__(
        self, spec: EnvSpec, *, slots: int, on_recovery: Callable[[Recovery], None]
    ) -> None:
        self.spec, self.slots = spec, slots
        self.restarts = 0
        """Processes that had to be replaced."""
        self.seconds: Seconds = {"simulate": 0.0, "render": 0.0}
        """What a simulator process has done so far, in seconds, the mean over the processes. The
        last request of one that was lost is missing."""
        self._on_recovery = on_recovery
        self._slots: dict[int, Slot] = {}
        self._rows_file = rows_file(rows_size(spec, slots))
        self._rows = SharedRows(spec, slots, self._rows_file.fileno())

    def __enter__(self):  # beartype knows no Self here
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the simulators; the pool cannot be used afterwards."""
        if self._rows_file.closed:
            return
        self._end()
        self._slots.clear()
        self._rows.close()
        self._rows_file.close()

    def reset(self, slot: int, init: InitState, chunks: Sequence[np.ndarray] = ()) -> None:
        """Submits the start of an episode in ``slot``; one under way there is dropped.

        ``chunks``: action chunks, float32 [h, a] each, that are executed at once, without looking
        in between; the episode must not end by them.
        """
        self._begin(slot, init)
        self._submit("reset", slot, init, tuple(chunks))

    def step(self, slot: int, actions: np.ndarray, record: Record = NOTHING) -> None:
        """Submits an action chunk, float32 [h, a]; ``record`` asks for more than its outcome."""
        self._require_no_request(slot)
        if slot not in self._slots or not self._slots[slot].playing:
            raise RuntimeError(f"slot {slot} has no episode under way: reset it first")
        actions = np.ascontiguousarray(actions, dtype=np.float32)
        if actions.ndim != 2 or not len(actions) or actions.shape[1] != self.spec.action_size:
            raise ValueError(
                f"actions must be [h >= 1, {self.spec.action_size}], got {list(actions.shape)}"
            )
        if not np.isfinite(actions).all():
            raise ValueError(f"actions for slot {slot} are not finite: {actions.tolist()}")
        state = self._slots[slot]
        state.chunk, state.waiting, state.observed = len(actions), True, False
        self._submit("step", slot, actions, record)

    def abandon(self, slot: int) -> None:
        """Notes that the episode in ``slot`` goes no further: its process may let it go."""
        self._require_no_request(slot)
        self._slots[slot].playing = False

    @property
    def stalled(self) -> bool:
        """Whether nothing goes on until further slots have actions, as in a batch of scenes."""
        return False

    def wait(self, timeout_s: float | None = None) -> list[Reply]:
        """Blocks until there is a reply and returns all there are, ordered by slot.

        Returns an empty list after ``timeout_s``, or where it is ``stalled``. Raises ``UserError``
        when an initial state cannot be played, or what was lost cannot be replaced.
        """
        if timeout_s is None and not any(state.waiting for state in self._slots.values()):
            raise RuntimeError("nothing to wait for: no slot has a request outstanding")
        give_up = math.inf if timeout_s is None else time.monotonic() + timeout_s
        replies: dict[int, Reply] = {}
        self._flush()
        while True:
            self._collect(replies, give_up)
            if replies or self.stalled or time.monotonic() >= give_up:
                return [replies[slot] for slot in sorted(replies)]

    def observation(self, slots: Sequence[int]) -> Observation:
        """Copies what the last replies of ``slots`` led to, one row per slot."""
        self._flush()  # the runner begins to act: the simulators need not wait until it has
        instruction = []
        for slot in slots:
            state = self._slots.get(slot)
            if state is None or not state.observed:
                raise RuntimeError(
                    f"slot {slot} has no observation: no episode, no reply yet, or it is over"
                )
            task = state.init.task
            varies = task in self.spec.wordings
            instruction.append(self._rows.told(slot) if varies else self.spec.tasks[task])
        return self._rows.read(slots, instruction)

    @abstractmethod
    def _worker_for(self, task: str, slot: int) -> int:
        """Index of the process or host that shall play an episode."""

    @abstractmethod
    def _submit(self, kind: RequestKind, slot: int, *arguments: Any) -> None:
        """Sends a request, or keeps it until ``_flush``."""

    def _flush(self) -> None:
        """Sends what was kept."""
        return

    @abstractmethod
    def _collect(self, replies: dict[int, Reply], give_up: float) -> None:
        """Takes in all that is ready, after waiting for something to happen."""

    @abstractmethod
    def _end(self) -> None:
        """Ends whatever plays."""

    def _begin(self, slot: int, init: InitState) -> None:
        if not 0 <= slot < self.slots:
            raise IndexError(f"no slot {slot}; have 0 to {self.slots - 1}")
        self._require_no_request(slot)
        if init.task not in self.spec.tasks:
            raise KeyError(f"unknown task {init.task!r}; have {sorted(self.spec.tasks)}")
        self._slots.pop(slot, None)
        self._slots[slot] = Slot(init, self._worker_for(init.task, slot))

    def _require_no_request(self, slot: int) -> None:
        if slot in self._slots and self._slots[slot].waiting:
            raise RuntimeError(f"slot {slot} has a request without a reply: wait for it first")

    def _lose(self, worker: int, reason: str, replies: dict[int, Reply], note: Recovery) -> int:
        """Reports the episodes of what is gone as lost, and a replacement; returns how many."""
        lost = [slot for slot, state in self._slots.items() if state.worker == worker]
        lost = [slot for slot in lost if self._slots[slot].playing]
        for slot in lost:
            # Also in place of a reply from before the failure: the episode cannot go on.
            replies[slot] = Reply(slot, "lost", reason=reason)
            self._forget(slot)
        self.restarts += 1
        self._on_recovery(replace(note, episodes=len(lost)))
        return len(lost)

    def _forget(self, slot: int) -> None:
        """Drops an episode."""
        self._slots.pop(slot, None)
