"""Overlap across iterations: the next rollout is played while the last one is learned from."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace

import torch

from pushcut.batch import Rollout
from pushcut.policies.base import Policy
from pushcut.ranks.base import Ranks, SingleProcess
from pushcut.ranks.lockstep import Independent, Turn
from pushcut.rollout.collector import Collector
from pushcut.rollout.episode_runner import PlayedEpisode
from pushcut.rollout.scheduler import Schedule
from pushcut.system.stopwatch import Seconds


class PrefetchingCollector:
    """A collector whose rollouts are one iteration old.

    While iteration i is learned from, a copy of the weights that it started from plays iteration
    i + 1. So a rollout is one iteration old whatever took longer, and results do not depend on
    timing. Iterations that ``ahead`` refuses are played when they are due, by the newest weights.
    """

    def __init__(
        self,
        collector: Collector,
        actor: Policy,
        *,
        ahead: Callable[[int], bool],
        ranks: Ranks | None = None,
    ) -> None:
        """``actor``: an ``acting_copy`` of the policy."""
        self._collector, self._actor, self._ahead = collector, actor, ahead
        self._ranks = ranks or SingleProcess()
        # One for the whole run: simulators that it starts anew may end with the thread.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rollout")
        # One for the whole run: memory that was used on a stream is not used again on another.
        self._stream = stream_beside(actor.device)
        self._coordination = _UntilClosed()
        self._under_way: Future[tuple[list[PlayedEpisode], float]] | None = None
        self.seconds: Seconds = {}
        """Where the time of the last rollout went, on this rank; ``played`` is all of it, where it
        was played ahead."""

    def __enter__(self) -> PrefetchingCollector:
        return self

    def __exit__(self, *exception: object) -> None:
        self._coordination.closed.set()
        self._thread.shutdown(wait=True)

    def collect(self, policy: Policy, iteration: int) -> Rollout:
        """The rollout of an iteration, and the start of the next one's."""
        rollout = self._taken() or self._collected(policy, iteration)
        if self._ahead(iteration + 1):
            self._begin(policy, iteration + 1)
        return rollout

    def _collected(self, policy: Policy, iteration: int) -> Rollout:
        rollout = self._collector.collect(policy, iteration)
        self.seconds = self._collector.seconds
        return rollout

    def _taken(self) -> Rollout | None:
        """What was played ahead, once it is finished."""
        if self._under_way is None:
            return None
        with self._ranks.together():
            episodes, seconds = self._under_way.result()
        self._under_way = None
        self.seconds = self._collector.seconds | {"played": seconds}
        return replace(self._collector.gathered(episodes), staleness=1)

    def _begin(self, policy: Policy, iteration: int) -> None:
        with self._ranks.acting(policy):
            copy_weights(policy, self._actor)
        schedule = self._collector.schedule(self._actor, iteration)
        self._under_way = self._thread.submit(self._play, schedule, iteration)

    def _play(self, schedule: Schedule, iteration: int) -> tuple[list[PlayedEpisode], float]:
        start = time.perf_counter()
        with on_stream(self._stream):
            episodes = self._collector.play(self._actor, schedule, iteration, self._coordination)
        return episodes, time.perf_counter() - start


class _UntilClosed(Independent):
    """Every rank for itself, until the run ends."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def turn(self, *, wants: bool, busy: bool) -> Turn:
        if self.closed.is_set():
            raise RuntimeError("nobody waits for this rollout any more")
        return super().turn(wants=wants, busy=busy)


def acting_copy(policy: Policy) -> Policy:
    """A copy that acts while the policy is trained; it shares the weights that are not trained.

    To be made before weights are sharded: it is whole on each rank.
    """
    shared = {id(weight): weight for weight in policy.parameters() if not weight.requires_grad}
    return copy.deepcopy(policy, shared).eval().requires_grad_(False)


@torch.no_grad()
def copy_weights(source: Policy, target: Policy) -> None:
    """Overwrites the weights of a copy, but for those that it shares."""
    ours = dict(source.named_parameters()) | dict(source.named_buffers())
    theirs = dict(target.named_parameters()) | dict(target.named_buffers())
    for name, tensor in theirs.items():
        if tensor is not ours[name]:
            tensor.copy_(ours[name])
    if target.device.type == "cuda":
        torch.cuda.synchronize(target.device)  # whoever reads them next has a stream of its own


def stream_beside(device: torch.device) -> torch.cuda.Stream | None:
    """A GPU's queue beside that of the update's kernels; None where there is no such GPU."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None


def on_stream(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    """What runs inside does not queue up behind the kernels of the update."""
    return contextlib.nullcontext() if stream is None else torch.cuda.stream(stream)
