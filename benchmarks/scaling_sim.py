"""The discrete-event model behind scaling_model.py: an iteration on ranks with simulators.

It plays pushcut's own schedule (GroupSchedule) by the player's own rule: a forward pass once half
of the busy slots wait for a decision, on at most ``inference_batch`` of them, padded to it. Workers
answer their slots' requests in turn. Everything that takes time is a cost of scaling_costs.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

from pushcut.ranks.group_budget import LocalGroupBudget
from pushcut.rollout.scheduler import EpisodeTask, GroupSchedule
from pushcut.runs.timings import LOOP, Bottleneck, bottleneck
from pushcut.types import InitState
from scaling_costs import Case

Steps = Generator[simpy.Event, Any, Any]


@dataclass
class Outcome:
    """An iteration: seconds, and how busy everything was."""

    seconds: dict[str, float]
    """As pushcut.runs.timings has them, the means over ranks and workers."""
    gpu_busy: float
    """Share of the iteration in which a GPU had work."""
    gpu_useful: float
    """The same for rows that were wanted: no padding, no launching, no waiting for others."""
    simulators_busy: float
    groups: int
    decisions: int
    bottleneck: Bottleneck

    @property
    def total(self) -> float:
        """Seconds of the iteration."""
        return sum(self.seconds.get(name, 0.0) for name in LOOP)


class Board:
    """The schedule that all ranks share."""

    def __init__(self, env: simpy.Environment, case: Case, iteration: int) -> None:
        work = case.workload
        self._env, self._iteration, self._work = env, iteration, work
        self._budget = LocalGroupBudget(work.groups, work.max_groups)
        self._schedule = GroupSchedule(
            lambda group: InitState("any", group),
            group_size=work.group_size,
            accepts=work.accepts,
            budget=self._budget,
        )
        self._members = work.group_size if case.cluster.whole_groups else 1
        self._episodes: dict[int, list[tuple[bool, int]]] = {}
        self._open: dict[int, int] = {}
        self.changed = env.event()
        """Happens when a group was judged: another may start, or all is done."""
        self.decisions = 0
        """Of accepted groups: what the update is made of."""

    @property
    def done(self) -> bool:
        return self._schedule.done

    @property
    def groups(self) -> int:
        return self._budget.tally.started

    def claim(self) -> list[EpisodeTask]:
        """The next episodes, if any may start."""
        claimed = []
        while len(claimed) < self._members and (task := self._schedule.next()) is not None:
            claimed.append(task)
        return claimed

    def length(self, task: EpisodeTask) -> int:
        return self._of(task.group)[task.member][1]

    def finished(self, task: EpisodeTask) -> None:
        episodes = self._of(task.group)
        success, decisions = episodes[task.member]
        self._schedule.finished(task, success=success, decisions=decisions)
        self._open[task.group] -= 1
        if self._open[task.group] == 0:
            if self._work.accepts(sum(won for won, _ in episodes)):
                self.decisions += sum(length for _, length in episodes)
            happened, self.changed = self.changed, self._env.event()
            happened.succeed()

    def _of(self, group: int) -> list[tuple[bool, int]]:
        if group not in self._episodes:
            self._episodes[group] = self._work.episodes(self._iteration, group)
            self._open[group] = self._work.group_size
        return self._episodes[group]


class Link:
    """A network interface: messages pass one after the other."""

    def __init__(self, env: simpy.Environment, gb_s: float) -> None:
        self._env, self._gb_s, self._free = env, gb_s, 0.0

    def passed(self, megabytes: float, at: float) -> float:
        """When a message that arrives at some time has passed."""
        self._free = max(self._free, at) + megabytes / 1e3 / self._gb_s
        return self._free


@dataclass
class Episode:
    """An episode in a slot."""

    task: EpisodeTask
    left: int
    """Decisions until its end."""


@dataclass
class Rank:
    """A GPU with its main process and its simulators."""

    env: simpy.Environment
    case: Case
    board: Board
    hosts: list[Link]
    waiting: deque[EpisodeTask] = field(default_factory=deque)
    playing: dict[int, Episode] = field(default_factory=dict)
    ready: list[int] = field(default_factory=list)
    infer: float = 0.0
    prepare: float = 0.0
    forward: float = 0.0
    useful: float = 0.0
    simulate: float = 0.0
    render: float = 0.0

    def __post_init__(self) -> None:
        cluster, env = self.case.cluster, self.env
        self.replies = simpy.Store(env)
        self.queues = [simpy.Store(env) for _ in range(cluster.workers)]
        self.link = Link(env, cluster.link_gb_s)
        # The main process needs a core too; without contention none is counted.
        few = not cluster.remote and 0 < cluster.cores < cluster.workers + 1
        self.cores = simpy.Resource(env, cluster.cores) if few else None
        for index, queue in enumerate(self.queues):
            env.process(self.worker(queue, self.hosts[index // cluster.host_workers]))

    def worker(self, queue: simpy.Store, host: Link) -> Steps:
        """Answers one request after the other."""
        cluster = self.case.cluster
        while True:
            slot, simulate, render = yield queue.get()
            yield from self.work(simulate + render)
            self.simulate += simulate
            self.render += render
            if cluster.remote:
                sent = host.passed(cluster.observation_mb, self.env.now)
                arrived = self.link.passed(cluster.observation_mb, sent + cluster.latency)
                self.env.process(self.arrive(slot, arrived - self.env.now))
            else:
                self.replies.put(slot)

    def arrive(self, slot: int, delay: float) -> Steps:
        yield self.env.timeout(delay)
        self.replies.put(slot)

    def work(self, seconds: float) -> Steps:
        """Takes a core for so long, where they are short."""
        if self.cores is None:
            yield self.env.timeout(seconds)
            return
        with self.cores.request() as core:
            yield core
            yield self.env.timeout(seconds)

    def play(self) -> Steps:
        """The player's loop."""
        while True:
            yield from self.start_idle_slots()
            if not self.playing:
                if self.board.done:
                    return
                yield self.board.changed
                continue
            while len(self.ready) >= self.threshold():
                yield from self.decide()
            yield from self.handle()
            while self.replies.items:  # also what came in the meantime
                yield from self.handle()

    def start_idle_slots(self) -> Steps:
        costs, cluster = self.case.costs, self.case.cluster
        for slot in range(cluster.slots):
            if slot in self.playing:
                continue
            if not self.waiting:
                self.waiting.extend(self.board.claim())
                if cluster.gpus > 1:  # else the schedule is our own
                    yield self.env.timeout(cluster.claim)
            if not self.waiting:
                return
            task = self.waiting.popleft()
            self.playing[slot] = Episode(task, self.board.length(task))
            first = task.member == 0
            seconds = (costs.reset, costs.render) if first else (costs.start, 0.0)
            self.submit(slot, *seconds)

    def submit(self, slot: int, simulate: float, render: float) -> None:
        self.queues[slot % self.case.cluster.workers].put((slot, simulate, render))

    def threshold(self) -> int:
        """Half of the busy slots (Player._batch_threshold)."""
        return max(1, min(self.case.cluster.inference_batch, (len(self.playing) + 1) // 2))

    def decide(self) -> Steps:
        costs, cluster = self.case.costs, self.case.cluster
        slots = self.ready[: cluster.inference_batch]
        del self.ready[: len(slots)]
        # Padded rows are copies whose images are prepared again (Player._decide).
        seconds = cluster.inference_batch * costs.prepare + costs.infer(cluster.inference_batch)
        start = self.env.now
        yield from self.work(seconds)
        self.infer += self.env.now - start
        self.forward += costs.infer(cluster.inference_batch)
        self.useful += len(slots) * costs.infer_row
        for slot in slots:
            episode = self.playing[slot]
            episode.left -= 1
            self.submit(slot, costs.simulate, costs.render if episode.left else 0.0)

    def handle(self) -> Steps:
        """Takes in a reply; what the player does per decision is done here."""
        costs = self.case.costs
        slot = yield self.replies.get()
        seconds = costs.overhead + (costs.message if self.case.cluster.remote else 0.0)
        yield from self.work(seconds)
        self.prepare += seconds
        episode = self.playing[slot]
        if episode.left:
            self.ready.append(slot)
            return
        del self.playing[slot]
        self.board.finished(episode.task)


def simulate(case: Case, iteration: int = 0) -> Outcome:
    """Plays one iteration."""
    env, cluster = simpy.Environment(), case.cluster
    board = Board(env, case, iteration)
    hosts_of_rank = -(-cluster.workers // cluster.host_workers)
    ranks = [
        Rank(env, case, board, [Link(env, cluster.link_gb_s) for _ in range(hosts_of_rank)])
        for _ in range(cluster.gpus)
    ]
    env.run(simpy.AllOf(env, [env.process(rank.play()) for rank in ranks]))
    rollout, gpus = env.now, cluster.gpus
    update, learning, computing = case.costs.update(
        board.decisions, gpus, case.workload.optimizer_steps
    )
    mean = {
        name: sum(getattr(rank, name) for rank in ranks) / gpus
        for name in ("infer", "prepare", "forward", "useful", "simulate", "render")
    }
    seconds = {
        "rollout": rollout, "update": update, "save": case.costs.save(gpus),
        "infer": mean["infer"], "wait": rollout - mean["infer"] - mean["prepare"],
        "simulate": mean["simulate"] / cluster.workers, "render": mean["render"] / cluster.workers,
    }  # fmt: skip
    total = sum(seconds.get(name, 0.0) for name in LOOP)
    return Outcome(
        seconds=seconds,
        gpu_busy=(mean["forward"] + learning) / total,
        gpu_useful=(mean["useful"] + computing) / total,
        simulators_busy=(seconds["simulate"] + seconds["render"]) / total,
        groups=board.groups,
        decisions=board.decisions,
        bottleneck=bottleneck(
            seconds, workers=cluster.workers, slots=cluster.slots, cores=cluster.cores
        ),
    )
