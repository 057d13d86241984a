"""Plays scheduled episodes on simulators with continuous batching.

A slot that finishes takes the next episode at once. While the policy works for some
slots, the workers step the others. Batches are padded to one fixed size, so that an
episode's numbers do not depend, to the bit, on which others it was batched with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from pushcut.envs.events import Events
from pushcut.envs.pool.base import Simulators
from pushcut.envs.pool.pool import Reply
from pushcut.envs.pool.recording import NOTHING, Course, Record
from pushcut.errors import DivergedError, UserError
from pushcut.policies.base import Mode, Policy
from pushcut.policies.noise import DecisionKey, DecisionNoise
from pushcut.ranks.lockstep import INDEPENDENT, Coordination, Turn
from pushcut.rollout.fit import misfit
from pushcut.rollout.scheduler import Ended, EpisodeTask, Schedule
from pushcut.system.stopwatch import Seconds, Stopwatch
from pushcut.types import ChunkResult, EnvSpec, Observation

BUSY_S = 0.5
"""Longest wait for a reply, so that signals are noticed."""
IDLE_S = 0.02
"""Pause before asking again whether other ranks left something to do."""


@dataclass(frozen=True)
class Decision:
    """One decision, out of the batch it was made in, and its outcome."""

    observation: Observation | None
    """What the policy saw: one row, prepared; None once nobody will learn from it."""
    trace: dict[str, Tensor]
    logprob: Tensor
    result: ChunkResult
    chunk: np.ndarray
    """The actions, float32 [h, a]."""
    value: Tensor | None = None
    drawn: Tensor | None = None
    malformed: Tensor | None = None


@dataclass
class PlayedEpisode:
    """A finished episode."""

    task: EpisodeTask
    decisions: list[Decision] = field(default_factory=list)
    final_value: Tensor | None = None
    """The critic's estimate of the final observation, where it was asked for."""
    frames: list[np.ndarray] = field(default_factory=list)
    """Images of each control step, where they were asked for."""
    events: Events | None = None
    """What happened to the objects, where it was asked for and the episode ended."""
    course: Course | None = None
    """What was seen and done step by step, where it was asked for and the episode ended."""
    note: str = ""
    """What the environment notes of its initial state."""

    @property
    def success(self) -> bool:
        """Whether the task was solved."""
        return bool(self.decisions) and self.decisions[-1].result.success

    @property
    def malformed(self) -> float | None:
        """Share of its answers that were no action; None where every answer is one."""
        told = [x.malformed for x in self.decisions if x.malformed is not None]
        return sum(map(bool, told)) / len(told) if told else None

    @property
    def truncated(self) -> bool:
        """Whether the time limit ended it."""
        return bool(self.decisions) and self.decisions[-1].result.truncated

    @property
    def cut(self) -> bool:
        """Whether its stream ran out of decisions before the episode ended."""
        over = len(self.decisions) == self.task.max_decisions
        return over and not self.decisions[-1].result.done

    @property
    def over(self) -> bool:
        """Whether nothing more will be executed."""
        return self.cut or (bool(self.decisions) and self.decisions[-1].result.done)

    @property
    def ended(self) -> Ended:
        """How it ended, for its schedule."""
        chunks = tuple(decision.chunk for decision in self.decisions)
        return Ended(self.success, chunks, self.reward)

    @property
    def length(self) -> int:
        """Control steps."""
        return sum(decision.result.steps for decision in self.decisions)

    @property
    def sim_steps(self) -> int:
        """Simulator steps."""
        return sum(decision.result.sim_steps for decision in self.decisions)

    def forget(self) -> None:
        """Lets go of what the policy saw and drew: most of the memory."""
        self.decisions = [replace(one, observation=None, trace={}) for one in self.decisions]

    @property
    def reward(self) -> float:
        """Sum of the rewards of all its steps."""
        return float(sum(float(decision.result.reward.sum()) for decision in self.decisions))

    def looks_once_more(self, *, final: bool, terminal: bool) -> bool:
        """Whether the critic wants to see where it ended: at a limit or cut, or at any end."""
        return terminal or (final and (self.truncated or self.cut))


@dataclass(frozen=True)
class _Act:
    """A decision whose outcome is not known yet."""

    observation: Observation
    trace: dict[str, Tensor]
    numbers: dict[str, Tensor]
    """What else there is of ``Decision``: tensors by their names."""
    chunk: np.ndarray

    def then(self, result: ChunkResult) -> Decision:
        return Decision(
            self.observation, self.trace, result=result, chunk=self.chunk, **self.numbers
        )


class EpisodeRunner:
    """Drives all slots of a pool until a schedule is done."""

    def __init__(
        self,
        pool: Simulators,
        *,
        seed: int,
        inference_batch: int,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """``check`` is called regularly and may raise to stop (Ctrl-C)."""
        self._pool, self._seed = pool, seed
        self._inference_batch = inference_batch
        self._record = NOTHING
        self._looks = {"final": False, "terminal": False}
        self._check = check
        self._episodes: dict[int, PlayedEpisode] = {}
        self._acts: dict[int, _Act] = {}
        self._ready: list[int] = []
        self._stopwatch = Stopwatch()
        self.lost = 0
        """Number of episodes that were started again because their simulator was lost."""

    @property
    def spec(self) -> EnvSpec:
        """Specification of the pool's environment."""
        return self._pool.spec

    def play(
        self,
        policy: Policy,
        schedule: Schedule,
        *,
        iteration: int,
        mode: Mode,
        on_episode: Callable[[PlayedEpisode], None],
        final_values: bool = False,
        terminal_values: bool = False,
        coordination: Coordination = INDEPENDENT,
        record: Record = NOTHING,
    ) -> Seconds:
        """Plays until the schedule is done; calls ``on_episode`` for each finished episode.

        Returns where the time went: ``infer`` and ``wait`` here, ``simulate`` and ``render`` in a
        worker on average.

        Episodes have the images, events and course that ``record`` asks for.
        With ``final_values`` the policy looks once more where an episode is truncated (the pool
        must observe there) or cut off, for what its critic says; with ``terminal_values`` at
        every end.
        A slot may end early (exception): then the pool is in use and should be closed.
        """
        if reason := misfit(policy, self._pool.spec):
            raise UserError(reason)
        policy.eval()
        self._record = record
        self._stopwatch.take()
        before = dict(self._pool.seconds)

        self._looks = {"final": final_values, "terminal": terminal_values}

        def finish(slot: int) -> None:
            episode = self._episodes.pop(slot)
            if episode.cut:
                self._pool.abandon(slot)
            schedule.finished(episode.task, episode.ended)
            on_episode(episode)

        try:
            while not (turn := self._next_turn(schedule, coordination)).over:
                if turn.act:
                    self._decide(policy, iteration, mode, finish)
                    schedule.heartbeat()
                    continue
                # Without episodes here: others play the rest, one of theirs may call for another.
                pause_s = BUSY_S if self._episodes else IDLE_S
                self._look_around(coordination.pause_s or pause_s, finish)
        except (Exception, KeyboardInterrupt):
            coordination.leave()
            raise
        workers = {name: spent - before[name] for name, spent in self._pool.seconds.items()}
        return {"infer": 0.0, "wait": 0.0} | self._stopwatch.take() | workers

    def _next_turn(self, schedule: Schedule, coordination: Coordination) -> Turn:
        self._start_idle_slots(schedule)
        wants = len(self._ready) >= self._batch_threshold()
        wants |= bool(self._ready) and self._pool.stalled
        return coordination.turn(wants=wants, busy=bool(self._episodes) or not schedule.done)

    def _look_around(self, timeout_s: float, finish: Callable[[int], None]) -> None:
        """Handles replies that arrive within a time, if any, and signals."""
        with self._stopwatch.timed("wait"):
            replies = self._pool.wait(timeout_s=timeout_s)
        for reply in replies:
            self._handle(reply, finish)
        self._check()

    def _start_idle_slots(self, schedule: Schedule) -> None:
        for slot in range(self._pool.slots):
            if slot in self._episodes:
                continue
            task = schedule.next()
            if task is None:
                return
            self._start(slot, task)

    def _start(self, slot: int, task: EpisodeTask) -> None:
        self._episodes[slot] = PlayedEpisode(task)
        self._acts.pop(slot, None)
        self._pool.reset(slot, task.init, () if task.fork is None else task.fork.chunks)

    def _batch_threshold(self) -> int:
        """Half of the busy slots: the workers step the other half meanwhile."""
        return max(1, min(self._inference_batch, (len(self._episodes) + 1) // 2))

    def _decide(
        self, policy: Policy, iteration: int, mode: Mode, finish: Callable[[int], None]
    ) -> None:
        slots = self._ready[: self._inference_batch]
        if not slots:  # the others cannot act without this rank
            blank = Observation.blank(self._pool.spec, self._inference_batch)
            keys = [DecisionKey(self._seed, 0, 0, 0, 0)] * self._inference_batch
            policy.sample(policy.prepare(blank), DecisionNoise(keys), mode)
            return
        del self._ready[: len(slots)]
        padding = [slots[0]] * (self._inference_batch - len(slots))
        observation = self._pool.observation(slots + padding)
        keys = [self._key(slot, iteration) for slot in slots + padding]
        with self._stopwatch.timed("infer"):
            observation = policy.prepare(observation)
            sample = policy.sample(observation, DecisionNoise(keys), mode)
            actions = sample.actions.cpu().numpy()  # waits for the device
        if not np.isfinite(actions).all():
            raise DivergedError(
                "the policy's actions are not finite numbers: its weights are damaged or training "
                "has diverged; start anew from an earlier "
                "checkpoint (--policy.path) with a lower --learner.lr"
            )
        trace = {name: tensor.cpu() for name, tensor in sample.trace.items()}
        numbers = {
            name: tensor.cpu()
            for name in ("logprob", "value", "drawn", "malformed")
            if (tensor := getattr(sample, name)) is not None
        }
        for row, slot in enumerate(slots):
            # Copies: a view would keep the whole batch, padding included.
            row_trace = {name: tensor[row].clone() for name, tensor in trace.items()}
            row_numbers = {name: tensor[row].clone() for name, tensor in numbers.items()}
            if self._episodes[slot].over:
                self._episodes[slot].final_value = row_numbers.get("value")
                finish(slot)
                continue
            seen = observation.select([row])
            self._acts[slot] = _Act(seen, row_trace, row_numbers, actions[row].copy())
            self._pool.step(slot, actions[row], self._record)

    def _key(self, slot: int, iteration: int) -> DecisionKey:
        episode = self._episodes[slot]
        task = episode.task
        number = task.decisions_before + len(episode.decisions)
        return DecisionKey(self._seed, iteration, task.group, task.member, number)

    def _handle(self, reply: Reply, finish: Callable[[int], None]) -> None:
        slot = reply.slot
        if reply.kind == "lost" and slot not in self._episodes:
            return  # cut off before: nothing was going to happen there
        episode = self._episodes[slot]
        if reply.kind == "lost":
            self.lost += 1
            # Replies of other slots of the lost worker may already wait for a decision.
            self._ready = [other for other in self._ready if other != slot]
            self._start(slot, episode.task)
            return
        if reply.kind == "reset":
            episode.note = reply.note
            self._ready.append(slot)
            return
        assert reply.result is not None
        episode.decisions.append(self._acts.pop(slot).then(reply.result))
        if reply.frames is not None:
            episode.frames.extend(reply.frames)
        episode.events, episode.course = reply.events, reply.course
        if not episode.over or episode.looks_once_more(**self._looks):
            self._ready.append(slot)
            return
        finish(slot)
