"""Which episode comes next: each of a list once, groups until enough are mixed, or streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pushcut.types import InitState


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

    def finished(self, task: EpisodeTask, *, success: bool, decisions: int) -> None:
        """Takes note of an episode's end after so many decisions."""
        ...


class ListSchedule:
    """Every initial state of a manifest exactly ``repeats`` times, each as its own group."""

    def __init__(self, inits: Sequence[InitState], *, repeats: int = 1) -> None:
        # A repeat is a member: it draws from a random stream of its own.
        self._waiting = deque(
            EpisodeTask(init, group, repeat)
            for repeat in range(repeats)
            for group, init in enumerate(inits)
        )

    @property
    def done(self) -> bool:
        """Whether all were handed out."""
        return not self._waiting

    def next(self) -> EpisodeTask | None:
        """The next of the list."""
        return self._waiting.popleft() if self._waiting else None

    def finished(self, task: EpisodeTask, *, success: bool, decisions: int) -> None:
        """A list does not care how its episodes end."""


class GroupSchedule:
    """Groups of episodes until ``groups`` of them are accepted (dynamic sampling).

    A further group starts only when one that has finished was rejected: as if all
    unfinished groups were going to be accepted. So exactly the shortest prefix of groups
    0, 1, 2, … that holds ``groups`` accepted ones is played. Nothing is sampled in vain,
    and which groups make up the batch does not depend on timing.
    """

    def __init__(
        self,
        init_of_group: Callable[[int], InitState],
        *,
        group_size: int,
        groups: int,
        max_groups: int,
        accepts: Callable[[int], bool],
    ) -> None:
        self._init_of_group = init_of_group
        self._group_size, self._groups, self._max_groups = group_size, groups, max_groups
        self._accepts = accepts
        self._waiting: deque[EpisodeTask] = deque()
        self._outcomes: dict[int, list[bool]] = {}
        self.started = 0
        """Groups handed out so far."""
        self.rejected = 0
        """Groups that finished and were not accepted."""

    @property
    def done(self) -> bool:
        """Whether enough groups were accepted or the limit is reached."""
        unfinished = bool(self._outcomes)
        return not self._waiting and not unfinished and not self._may_start()

    def next(self) -> EpisodeTask | None:
        """The next member, of a new group where one may start."""
        if not self._waiting and self._may_start():
            init = self._init_of_group(self.started)
            members = range(self._group_size)
            self._waiting.extend(EpisodeTask(init, self.started, member) for member in members)
            self._outcomes[self.started] = []
            self.started += 1
        return self._waiting.popleft() if self._waiting else None

    def finished(self, task: EpisodeTask, *, success: bool, decisions: int) -> None:
        """Judges a group when its last member ends."""
        outcomes = self._outcomes[task.group]
        outcomes.append(success)
        if len(outcomes) == self._group_size:
            del self._outcomes[task.group]
            self.rejected += not self._accepts(sum(outcomes))

    def _may_start(self) -> bool:
        return self.started < self._max_groups and self.started - self.rejected < self._groups


class StreamSchedule:
    """Streams of a fixed number of decisions (pi_RL's partial reset).

    Where an episode of a stream ends another begins, and the last is cut off when the stream
    has had its decisions. A stream is a group, its episodes are the members.
    """

    def __init__(
        self, init_of_group: Callable[[int], InitState], *, streams: int, decisions: int
    ) -> None:
        self._init_of_group, self._streams = init_of_group, streams
        self._waiting = deque(self._episode(stream, 0, decisions) for stream in range(streams))
        self._open = streams

    @property
    def done(self) -> bool:
        """Whether every stream has had its decisions."""
        return self._open == 0

    def next(self) -> EpisodeTask | None:
        """The next episode of a stream whose last one has ended."""
        return self._waiting.popleft() if self._waiting else None

    def finished(self, task: EpisodeTask, *, success: bool, decisions: int) -> None:
        """Goes on with the stream, or closes it."""
        assert task.max_decisions is not None
        left = task.max_decisions - decisions
        if left:
            self._waiting.append(self._episode(task.group, task.member + 1, left))
        else:
            self._open -= 1

    def _episode(self, stream: int, number: int, decisions: int) -> EpisodeTask:
        init = self._init_of_group(stream + number * self._streams)
        return EpisodeTask(init, stream, number, decisions)
