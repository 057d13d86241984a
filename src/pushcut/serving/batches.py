"""Several clients' questions, one after the other and as many at once as there are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from pushcut.errors import UserError
from pushcut.serving.acting import Actor, Question
from pushcut.system.progress import say


class BusyError(UserError):
    """Too many questions wait already."""


class GoneError(UserError):
    """Nobody waits for the answer any more: it was not worked out."""


@dataclass(frozen=True)
class Answer:
    """What became of a question."""

    actions: np.ndarray
    """float32 [chunk, action size]."""
    infer_s: float
    """Time of the batch that it was in."""
    waited_s: float
    """Time before that."""
    batch: int
    """Questions in that batch."""
    version: int
    """Which of the policies it was that have been served, from 1."""


@dataclass
class _Asked:
    question: Question
    gone: Callable[[], bool]
    """Whether nobody waits for the answer any more."""
    answer: asyncio.Future[Answer]
    since: float = field(default_factory=time.monotonic)


class Batches:
    """A bounded queue in front of a policy, which works in a thread of its own.

    While the policy works, questions gather; the next batch takes what is there and waits for
    nobody. A question that fails fails alone: its batch is tried again in halves.
    """

    def __init__(self, actor: Actor, *, waiting: int) -> None:
        """``waiting``: questions that may wait; one more is refused at once."""
        self._actor, self._version = actor, 1
        self._queue: asyncio.Queue[_Asked] = asyncio.Queue(waiting)
        self._thread = ThreadPoolExecutor(1, "pushcut-policy")
        self._begun: float | None = None

    @property
    def waiting(self) -> int:
        """Questions that wait."""
        return self._queue.qsize()

    @property
    def busy_s(self) -> float:
        """How long the policy has been at its batch; 0 where it rests."""
        return 0.0 if self._begun is None else time.monotonic() - self._begun

    @property
    def version(self) -> int:
        """Which policy answers, from 1."""
        return self._version

    def replace(self, actor: Actor) -> None:
        """Lets another policy answer from the next batch on."""
        self._actor, self._version = actor, self._version + 1

    async def ask(self, question: Question, *, gone: Callable[[], bool]) -> Answer:
        """The policy's answer; UserError where there is none."""
        asked = _Asked(question, gone, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(asked)
        except asyncio.QueueFull:
            raise BusyError(
                f"{self._queue.maxsize} questions wait already: ask again later, or serve with a "
                "larger --queue"
            ) from None
        return await asked.answer

    async def work(self) -> None:
        """Answers questions until it is cancelled."""
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty() and len(batch) < self._actor.batch:
                batch.append(self._queue.get_nowait())
            if batch := [asked for asked in batch if _is_wanted(asked)]:
                await self._answer(batch)

    async def _answer(self, batch: Sequence[_Asked]) -> None:
        actor, version, begin = self._actor, self._version, time.monotonic()
        self._begun = begin
        questions = [asked.question for asked in batch]
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._thread, answers, actor, questions)
        finally:
            self._begun = None
        infer_s = time.monotonic() - begin
        for asked, actions in zip(batch, found, strict=True):
            if asked.answer.done():
                continue
            if isinstance(actions, UserError):
                asked.answer.set_exception(actions)
                continue
            waited_s = begin - asked.since
            asked.answer.set_result(Answer(actions, infer_s, waited_s, len(batch), version))

    def close(self) -> None:
        """Lets go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _is_wanted(asked: _Asked) -> bool:
    """Whether somebody waits for the answer; who is gone is told, so that its handler ends."""
    if asked.gone() and not asked.answer.done():
        asked.answer.set_exception(GoneError("the client is gone"))
    return not asked.answer.done()


def answers(actor: Actor, questions: Sequence[Question]) -> list[np.ndarray | UserError]:
    """The actions of each question, or why there are none; it never raises."""
    try:
        return list(actor.act(questions))
    # A policy may be anybody's code, and one question of a batch may be too much for it.
    except Exception as error:
        if len(questions) > 1:
            middle = len(questions) // 2
            return [*answers(actor, questions[:middle]), *answers(actor, questions[middle:])]
        if isinstance(error, UserError):
            return [error]
        what = " ".join(f"{type(error).__name__}: {error}".split())
        say(f"warning: the policy failed on a question: {what}")
        return [UserError(f"the policy failed on this observation: {what}")]
