"""Which episode comes next: each of a list once, groups until enough are mixed, or streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pushcut.ranks.group_budget import GroupBudget, LocalGroupBudget
from pushcut.types import InitState

Judge = Callable[[int, Sequence[float]], bool]
"""Whether a finished group teaches anything: by how many succeeded, and the episodes' returns."""


@dataclass(frozen=True)
class EpisodeTask:
    """An episode to be played: where it starts and which random stream it draws from."""

    init: InitState
    group: int
    member: int
    max_decisions: int | None = None
    """After so many decisions the episode is cut off, wherever it is; None plays it to its end."""


@runtime_checkable
class Schedule(Protocol):
    """Hands out episodes and learns how they ended."""

    @property
    def done(self) -> bool:
        """Whether no further episode will ever be handed out."""
        ...

    def next(self) -> EpisodeTask | None:
        """The next episode, or None while there is none to start."""
        ...

    def finished(
        self, task: EpisodeTask, *, success: bool, decisions: int, reward: float = 0.0
    ) -> None:
        """Takes note of an episode's end after so many decisions, and of the sum of its rewards."""
        ...

    def heartbeat(self) -> None:
        """Tells whoever waits for these episodes that they go on."""
        ...


class ListSchedule:
    """Every initial state of a manifest exactly ``repeats`` times, each as its own group."""

    def __init__(
        self,
        inits: Sequence[InitState],
        *,
        repeats: int = 1,
        budget: GroupBudget | None = None,
    ) -> None:
        """``budget``: as many groups as episodes; shared, where ranks play one list together."""
        # A repeat is a member: it draws from a random stream of its own.
        numbers = ((repeat, group) for repeat in range(repeats) for group in range(len(inits)))
        self._tasks = [EpisodeTask(inits[group], group, repeat) for repeat, group in numbers]
        total = len(self._tasks)
        self._budget = budget or LocalGroupBudget(total, total)

    @classmethod
    def of(cls, tasks: Iterable[EpisodeTask], budget: GroupBudget | None = None) -> ListSchedule:
        """These episodes, such as some of an evaluation once more."""
        schedule = cls([])
        schedule._tasks = list(tasks)
        total = len(schedule._tasks)
        schedule._budget = budget or LocalGroupBudget(total, total)
        return schedule

    @property
    def done(self) -> bool:
        return self._budget.done

    def next(self) -> EpisodeTask | None:
        number = self._budget.claim()
        return None if number is None else self._tasks[number]

    def finished(
        self, task: EpisodeTask, *, success: bool, decisions: int, reward: float = 0.0
    ) -> None:
        self._budget.report(accepted=True)

    def heartbeat(self) -> None:
        self._budget.heartbeat()


class GroupSchedule:
    """Groups of episodes until ``groups`` of them are accepted (dynamic sampling).

    A further group starts only when one that has finished was rejected (``ranks.group_budget``), so
    nothing is sampled in vain, and which groups make up the batch does not depend on timing.
    """

    def __init__(
        self,
        init_of_group: Callable[[int], InitState],
        *,
        group_size: int,
        accepts: Judge,
        budget: GroupBudget,
    ) -> None:
        self._init_of_group, self._group_size = init_of_group, group_size
        self._accepts, self._budget = accepts, budget
        self._waiting: deque[EpisodeTask] = deque()
        self._outcomes: dict[int, list[tuple[bool, float]]] = {}

    @property
    def done(self) -> bool:
        """Whether enough groups were accepted or the limit is reached."""
        return not self._waiting and not self._outcomes and self._budget.done

    def next(self) -> EpisodeTask | None:
        """The next member, of a new group where one may start."""
        if not self._waiting and (group := self._budget.claim()) is not None:
            init = self._init_of_group(group)
            members = range(self._group_size)
            self._waiting.extend(EpisodeTask(init, group, member) for member in members)
            self._outcomes[group] = []
        return self._waiting.popleft() if self._waiting else None

    def finished(
        self, task: EpisodeTask, *, success: bool, decisions: int, reward: float = 0.0
    ) -> None:
        """Judges a group when its last member ends."""
        outcomes = self._outcomes[task.group]
        outcomes.append((success, reward))
        if len(outcomes) < self._group_size:
            return
        del self._outcomes[task.group]
        successes = sum(success for success, _ in outcomes)
        self._budget.report(self._accepts(successes, [reward for _, reward in outcomes]))

    def heartbeat(self) -> None:
        self._budget.heartbeat()


class StreamSchedule:
    """Streams of a fixed number of decisions (pi_RL's partial reset).

    Where an episode of a stream ends another begins, and the last is cut off when the stream
    has had its decisions. A stream is a group, its episodes are the members.
    """

    def __init__(
        self,
        init_of_group: Callable[[int], InitState],
        *,
        streams: int,
        decisions: int,
        budget: GroupBudget | None = None,
    ) -> None:
        """``budget``: as many groups as streams; shared, where ranks play them together."""
        self._init_of_group = init_of_group
        self._streams, self._decisions = streams, decisions
        self._budget = budget or LocalGroupBudget(streams, streams)
        self._waiting: deque[EpisodeTask] = deque()

    @property
    def done(self) -> bool:
        return not self._waiting and self._budget.done

    def next(self) -> EpisodeTask | None:
        """The first episode of another stream, or the next of one whose last episode has ended."""
        if (stream := self._budget.claim()) is not None:
            return self._episode(stream, 0, self._decisions)
        return self._waiting.popleft() if self._waiting else None

    def finished(
        self, task: EpisodeTask, *, success: bool, decisions: int, reward: float = 0.0
    ) -> None:
        """Goes on with the stream, or closes it."""
        assert task.max_decisions is not None
        left = task.max_decisions - decisions
        if left:
            self._waiting.append(self._episode(task.group, task.member + 1, left))
        else:
            self._budget.report(accepted=True)

    def heartbeat(self) -> None:
        self._budget.heartbeat()

    def _episode(self, stream: int, number: int, decisions: int) -> EpisodeTask:
        init = self._init_of_group(stream + number * self._streams)
        return EpisodeTask(init, stream, number, decisions)
