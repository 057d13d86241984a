"""The control loop: it goes on without waiting, and falls back to the safe action, loudly."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from pushcut.client import ActionLoop, ConnectionLostError, ServerRefusedError

SAFE = np.array([9.0])


class Scripted:
    """Answers with chunks of 4 that count what it was asked; may be made to wait or to raise."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answered = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def infer(self, observation):
        self.asked.append(observation["n"])
        self.go.wait(5)
        self.answered.release()
        if self.error is not None:
            raise self.error
        return {"actions": 10.0 * len(self.asked) + np.arange(4.0)[:, None]}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def looped(policy: Scripted, clock: Callable[[], float], **settings: Any) -> Iterator[ActionLoop]:
    loop = ActionLoop(policy, rate_hz=10.0, safe_action=SAFE, clock=clock, **settings)
    try:
        yield loop
    finally:
        policy.go.set()
        loop.close()


def test_chunks_are_asked_for_every_few_steps_and_played_by_time():
    policy, clock = Scripted(), Clock()
    with looped(policy, clock, execute=3) as loop:
        played = []
        for n in range(3):
            clock.now = n / 10
            played.append(float(loop.act({"n": n})[0]))
        assert played == [10, 11, 12]
        assert policy.asked == [0]


def test_chunks_are_played_to_their_end_where_nothing_else_is_said():
    policy, clock = Scripted(), Clock()
    with looped(policy, clock) as loop:
        for n, action in enumerate([10, 11, 12, 13]):
            clock.now = n / 10
            assert loop.act({"n": n}) == action
        with loop._news:
            assert loop._news.wait_for(lambda: loop._newest_s == 0.3, timeout=5)
        assert policy.asked == [0, 3]  # with the last step of the chunk, as its answer took no time
        clock.now = 0.4
        assert loop.act({"n": 4}) == 21  # the step of it that is due: one has passed
        assert loop.safe_steps == 0


def test_a_policy_that_hangs_makes_the_robot_safe_once_its_answer_is_old(caplog):
    policy, clock = Scripted(), Clock()
    with looped(policy, clock, execute=1, stale_s=0.25) as loop, caplog.at_level(logging.WARNING):
        assert loop.act({"n": 0}) == 10
        policy.go.clear()
        clock.now = 0.2
        assert loop.act({"n": 1}) == 12
        clock.now = 0.3
        assert loop.act({"n": 2}) == 9
        assert loop.safe_steps == 1
    assert "SAFE ACTION: the newest answer is to what was seen 0.30 s ago" in caplog.text


@pytest.mark.parametrize("error", [ServerRefusedError("no image of camera 'top'")])
def test_a_refused_observation_is_told_at_once(caplog, error):
    policy, clock = Scripted(), Clock()
    policy.error = error
    with looped(policy, clock) as loop, caplog.at_level(logging.WARNING):
        assert loop.act({"n": 0}) == 9
    assert "SAFE ACTION: no image of camera 'top'" in caplog.text


def test_a_server_that_comes_back_is_used_again():
    policy, clock = Scripted(), Clock()
    with looped(policy, clock, first_s=0.05) as loop:
        policy.error = ConnectionLostError("gone")
        assert loop.act({"n": 0}) == 9
        policy.error = None
        assert policy.answered.acquire(timeout=5)
        loop.reset()
        loop._first_s = 5.0
        assert loop.act({"n": 1}) % 10 == 0  # the first step of a fresh chunk


def test_a_chunk_of_the_last_episode_is_not_played_in_the_next():
    policy, clock = Scripted(), Clock()
    with looped(policy, clock, first_s=0.01) as loop:
        policy.go.clear()
        assert loop.act({"n": 0}) == 9  # asked, not answered
        loop.reset()
        loop._first_s = 5.0
        policy.go.set()
        assert loop.act({"n": 1}) == 20  # of the second question


def test_an_age_that_is_reached_between_two_questions_is_refused():
    with pytest.raises(ValueError, match=r"stale_s must be above execute / rate_hz \(0.5 s\)"):
        ActionLoop(Scripted(), rate_hz=10.0, safe_action=SAFE, execute=5, stale_s=0.5)
