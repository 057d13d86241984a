"""Many environments in worker processes: submit requests, wait for replies.

The pool never changes a result: every slot plays its own deterministic episode, however
many workers there are, and a worker that dies, hangs or raises is replaced while its
episodes are reported as lost, to be started again from their initial states.
"""

from __future__ import annotations

import logging
import math
import pickle
import selectors
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pushcut.envs.base import EnvConfig
from pushcut.envs.checks import problem_of_demonstration, problem_of_result, problem_of_state
from pushcut.envs.pool.assignment import WorkerAssignment
from pushcut.envs.pool.base import Simulators
from pushcut.envs.pool.recording import NOTHING, Record
from pushcut.envs.pool.slots import Part, Reply, ReplyKind, RequestKind
from pushcut.envs.pool.worker_process import Request, UnreadableReplyError, WorkerProcess
from pushcut.errors import UserError
from pushcut.types import InitState, Recovery, RecoveryKind

logger = logging.getLogger("pushcut.pool")

STARTING = -1
"""Stands for the slot in a worker's first request and reply."""
RELEASING = -2
"""Stands for it where simulators are freed."""
BATCH = -3
"""Stands for it where slots step together."""


class EnvPool(Simulators):
    """Plays ``slots`` episodes at a time in ``workers`` processes (of each member of a mix)."""

    def __init__(
        self,
        config: EnvConfig,
        *,
        slots: int,
        workers: int,
        timeout_s: float = 60.0,
        max_failures: int = 3,
        final_observation: bool = False,
        start_timeout_s: float = 120.0,
        tasks_per_process: int = 0,
        on_recovery: Callable[[Recovery], None] = lambda recovery: None,
    ) -> None:
        """Starts the workers and waits until each has built its environment.

        Args:
            config: Picklable, from a module that the workers can import.
            slots: Episodes at a time.
            workers: Processes of each simulator; more than ``slots`` are not started.
            timeout_s: Longest time for one request once a worker works on it.
            max_failures: UserError when an initial state fails this often in a row.
            final_observation: Observe after an episode's end too (for bootstrapping a value).
            start_timeout_s: Longest time for starting a worker.
            tasks_per_process: Tasks whose simulators each keeps; 0: as the environment has it.
            on_recovery: Told of each worker that is replaced.
        """
        if slots < 1 or workers < 1 or max_failures < 1:
            raise ValueError(
                "slots, workers and max_failures must be >= 1, "
                f"got {slots}, {workers}, {max_failures}"
            )
        if timeout_s <= 0 or start_timeout_s <= 0:
            raise ValueError(f"time-outs must be > 0 s, got {timeout_s}, {start_timeout_s}")
        processes = min(workers, slots)
        self._assignment = WorkerAssignment(
            config,
            processes=processes,
            slots=slots,
            final_observation=final_observation,
            tasks_per_process=tasks_per_process,
            scenes=self._scenes(-(-slots // processes)),
        )
        super().__init__(config.spec, slots=slots, on_recovery=on_recovery)
        self._timeout_s, self._start_timeout_s = timeout_s, start_timeout_s
        self._max_failures = max_failures
        self._final_observation = final_observation
        self._start_s = 0.0
        """Longest time that a worker took to start, once all have."""
        self._failures: Counter[InitState | int | None] = Counter()
        self._selector = selectors.DefaultSelector()
        self._workers: list[WorkerProcess] = []
        begin = time.monotonic()
        try:
            for index in range(len(self._assignment.specs)):
                self._workers.append(self._start_worker(index))
            while any(worker.pending for worker in self._workers):
                self._collect({}, math.inf)
            self._start_s = time.monotonic() - begin
        except BaseException:
            self.close()
            raise

    def demonstrate(
        self,
        slot: int,
        init: InitState,
        *,
        noise: float,
        seed: int,
        hold_frames: int = 0,
        record: Record = NOTHING,
    ) -> None:
        """Submits a whole episode of the expert (see ``watch_expert``)."""
        if noise < 0:
            raise ValueError(f"noise must be >= 0, got {noise}")
        self._begin(slot, init)
        self._submit("demonstrate", slot, init, noise, seed, hold_frames, record)

    def worker_pids(self) -> list[int]:
        """Process ids, one per worker."""
        return [worker.pid for worker in self._workers]

    def _end(self) -> None:
        self._selector.close()
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def _scenes(self, most: int) -> int:
        """Scenes of a worker's batch, which plays at most so many slots; 0: there is none."""
        del most
        return 0

    def _worker_for(self, task: str, slot: int) -> int:
        return self._assignment.worker_for(task, slot, self._slots.values())

    def _submit(self, kind: RequestKind, slot: int, *arguments: Any) -> None:
        worker = self._slots[slot].worker
        if tasks := self._assignment.surplus(worker, self._slots.values()):
            self._send(worker, RELEASING, "release", tasks)
        self._send(worker, slot, kind, *arguments)

    def _send(self, worker: int, slot: int, kind: RequestKind, *arguments: Any) -> None:
        request = Request(slot, pickle.dumps((kind, slot, *arguments)), self._timeout_s)
        self._workers[worker].submit(request)

    def _start_worker(self, index: int) -> WorkerProcess:
        limit, worker_spec = self._start_timeout_s, self._assignment.specs[index]
        if self._start_s:  # a replacement: it is known how long a start takes
            limit = min(limit, max(self._timeout_s, 10 * self._start_s))
        start = Request(STARTING, worker_spec.message, limit)
        worker = WorkerProcess(worker_spec.launch, start, self._rows_file.fileno())
        self._selector.register(worker, selectors.EVENT_READ, index)
        return worker

    def _collect(self, replies: dict[int, Reply], give_up: float) -> None:
        deadline = min(give_up, *(worker.deadline for worker in self._workers), math.inf)
        pause = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
        while ready := self._selector.select(pause):
            for key, _ in ready:
                self._receive(key.data, replies)
            pause = 0.0
        for index, worker in enumerate(self._workers):
            if worker.deadline <= time.monotonic():
                limit = worker.pending[0].timeout_s
                self._replace(index, "hung", f"gave no answer for {limit:g} s", replies)

    def _receive(self, index: int, replies: dict[int, Reply]) -> None:
        worker = self._workers[index]
        try:
            kind, slot, payload, seconds = worker.receive()
        except (EOFError, OSError):
            self._replace(index, "died", worker.ended(), replies)
            return
        except UnreadableReplyError as error:
            self._replace(index, "corrupt", str(error), replies)
            return
        if kind == "refused":
            self._selector.unregister(worker)
            worker.kill()
            name = self._assignment.specs[index].name
            what = f"cannot start {name}" if slot == STARTING else self._describe(slot, name)
            raise UserError(f"{what}: {payload}")
        if kind == "error":
            self._replace(index, "raised", f"raised {payload}", replies)
            return
        if kind == "corrupt":
            self._replace(index, "corrupt", f"reported {payload}", replies)
            return
        parts: list[Part] = payload if slot == BATCH else []
        if slot >= 0:
            parts = [(kind, slot, payload)]
        if problem := next(filter(None, (self._problem(*part) for part in parts)), ""):
            self._replace(index, "corrupt", f"reported {problem}", replies)
            return
        worker.answered()
        for name, spent in seconds.items():
            self.seconds[name] += spent / len(self._workers)
        if slot < 0:
            del self._failures[slot]
        replies.update({part[1]: self._accept(*part) for part in parts})

    def _problem(self, kind: str, slot: int, payload: Any) -> str:
        """What is impossible in a reply; the worker looked too, but memory is shared."""
        if kind == "demonstrate":
            return problem_of_demonstration(payload.demonstration, self.spec)
        if kind == "step":
            result = payload[0]
            if problem := problem_of_result(result, self._slots[slot].chunk):
                return problem
            if not result.shown(final_observation=self._final_observation):
                return ""
        task = self._slots[slot].init.task
        if task in self.spec.wordings and not self.spec.may_say(task, self._rows.told(slot)):
            return "an instruction that is none of the spec's"
        numbers = (self._rows.state[slot], self._rows.privileged[slot])
        return next(filter(None, map(problem_of_state, numbers)), "")

    def _accept(self, kind: ReplyKind, slot: int, payload: Any) -> Reply:
        if kind == "demonstrate":
            reply = Reply(slot, kind, None, payload.demonstration, payload.frames, payload.events)
        elif kind == "reset":
            reply = Reply(slot, kind, note=payload)
        else:
            result, frames, events, course = payload
            reply = Reply(slot, kind, result, None, frames, events, course)
        state = self._slots[slot]
        state.answered(reply, observed=reply.shown(final_observation=self._final_observation))
        del self._failures[None]
        if not state.playing:
            del self._failures[state.init]
        return reply

    def _replace(
        self, index: int, kind: RecoveryKind, reason: str, replies: dict[int, Reply]
    ) -> None:
        """Ends a worker that failed, reports its episodes as lost, and starts another."""
        worker = self._workers[index]
        culprit = worker.pending[0].slot if worker.pending else None
        init = self._slots[culprit].init if culprit is not None and culprit >= 0 else None
        self._selector.unregister(worker)
        worker.kill()
        if tail := worker.output_tail():
            reason = f"{reason} (its last output: {tail})"
        worker.close()
        name = self._assignment.specs[index].name
        if culprit == STARTING and not self._start_s:
            raise UserError(f"cannot start {name}: its process {reason}")
        what = "an idle worker" if culprit is None else self._describe(culprit, name)
        for blamed in self._blamed(index, culprit) if init is None else [init]:
            self._count_failure(blamed, what, reason)
        task, seed = (init.task, init.seed) if init else (None, None)
        note = Recovery(kind, reason, index, task, seed)
        self._assignment.forget(index)
        lost = self._lose(index, f"its process {reason}", replies, note)
        logger.warning(
            "environment worker %d (pid %d) %s (%s); replacing it, %d episodes start again",
            index,
            worker.pid,
            reason,
            what,
            lost,
        )
        self._workers[index] = self._start_worker(index)

    def _blamed(self, worker: int, culprit: int | None) -> Sequence[InitState | int | None]:
        """What a failure counts against, where it was not in the request of one slot."""
        del worker
        return [culprit]

    def _count_failure(self, key: InitState | int | None, what: str, reason: str) -> None:
        """Counts against what the worker was doing: an initial state, starting or nothing."""
        self._failures[key] += 1
        if self._failures[key] >= self._max_failures:
            raise UserError(
                f"{what} failed {self._failures[key]} times; the last time its process {reason}"
            )

    def _describe(self, slot: int, name: str) -> str:
        if slot == STARTING:
            return f"the start of {name}"
        if slot == RELEASING:
            return f"freeing a simulator of {name}"
        if slot == BATCH:
            return f"a batch of scenes of {name}"
        init = self._slots[slot].init
        return f"task {init.task!r}, seed {init.seed}"
