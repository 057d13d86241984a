"""A robot's control loop: it never waits for the policy, and never acts on an old answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pushcut.client.chunks import Chunks
from pushcut.client.errors import ServerRefusedError
from pushcut.client.schedule import Schedule

logger = logging.getLogger("pushcut.client")

SAY_EVERY_S = 1.0
"""While something is wrong, it is said so often."""
RETRY_S = 0.1
"""Pause after a question that failed."""

SafeAction = np.ndarray | Callable[[Mapping[str, Any]], np.ndarray]
"""What a robot does without an answer: an action, or what makes one of the observation."""


@runtime_checkable
class Answers(Protocol):
    """What is asked: a ``RemotePolicy``, or anything like it."""

    def infer(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to an observation, with ``actions`` float [chunk, action size]."""
        ...


class ActionLoop:
    """Turns observations into actions at a fixed rate, while a thread asks the policy.

    Chunks are played to their end, as policies are trained and evaluated: the observation is sent
    just so early that, as long as answers took lately, the next chunk is there by then. With
    ``execute`` it is sent every so many steps instead (receding horizon). What comes back is used
    from the step on that is due by then (``Chunks``). Where no action is due, or the newest chunk's
    observation is older than ``stale_s``, the watchdog gives the safe action and says so at once
    and every second, as a warning of the logger ``pushcut.client``.
    """

    def __init__(
        self,
        policy: Answers,
        *,
        rate_hz: float,
        safe_action: SafeAction,
        execute: int | None = None,
        decay: float | None = None,
        stale_s: float = 0.5,
        first_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the thread that asks.

        Args:
            policy: Who is asked.
            rate_hz: How often ``act`` will be called.
            safe_action: What to do without an answer; it has no default, since only the robot's
                owner knows (zeros stand still where actions are velocities, and go to the origin
                where they are positions).
            execute: Steps between questions; a question also waits for the answer before it. None
                plays chunks to their end, or until they are stale.
            decay: Averages overlapping chunks, as ``Chunks`` says; None takes the newest.
            stale_s: Age of the newest chunk's observation from which on it is not trusted.
            first_s: How long ``act`` may wait for the first chunk of an episode, while the robot
                stands still.
            clock: Seconds; tests give their own.
        """
        if execute is not None and execute < 1:
            raise ValueError(f"execute must be >= 1, got {execute}")
        if not stale_s > (least_s := (execute or 1) / rate_hz):
            raise ValueError(
                f"stale_s must be above execute / rate_hz ({least_s:g} s), got {stale_s:g}"
            )
        self._policy, self._safe = policy, safe_action
        self._stale_s, self._first_s = stale_s, first_s
        self._clock = clock
        self._chunks, self._rate_hz = Chunks(rate_hz, decay=decay), rate_hz
        self._news = threading.Condition()
        self._question: tuple[int, float, Mapping[str, Any]] | None = None
        self._schedule = Schedule(rate_hz, execute)
        self._episode, self._again = 0, False
        self._waiting, self._refused = True, False
        self._newest_s: float | None = None
        self._trouble, self._said_s = "", -np.inf
        self._closed = False
        self.safe_steps = 0
        """Steps of this loop so far in which the safe action was given."""
        self._thread = threading.Thread(target=self._ask, daemon=True, name="pushcut-client")
        self._thread.start()

    def reset(self) -> None:
        """Begins another episode: chunks of the last one are not used any more."""
        with self._news:
            self._episode += 1
            self._chunks.clear()
            self._question, self._newest_s = None, None
            self._schedule.begin()
            self._again = False
            self._waiting, self._refused = True, False
            self._trouble = ""

    def act(self, observation: Mapping[str, Any]) -> np.ndarray:
        """The action float32 [action size] for now; never waits but for an episode's first chunk.

        Args:
            observation: As ``RemotePolicy.infer`` takes it; it must not be changed afterwards.
        """
        with self._news:
            must_ask = self._schedule.must_ask(self._steps_left())
            # An observation that still waits makes way for this one.
            if asked := must_ask or self._again or self._question is not None:
                self._question = (self._episode, self._clock(), observation)
                self._again = False
                self._news.notify_all()
            self._schedule.step(asked=asked)
            if self._waiting:
                self._news.wait_for(
                    lambda: self._newest_s is not None or self._refused, timeout=self._first_s
                )
                self._waiting = False
            now = self._clock()
            action = self._chunks.at(now)
            reason = self._why_unsafe(now, action)
        if action is not None and not reason:
            return action
        return self._safely(observation, reason)

    def close(self) -> None:
        """Stops asking."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _steps_left(self) -> int:
        """Steps from this one on that the newest chunk gives before it is used up or stale."""
        if self._newest_s is None:
            return 0
        now = self._clock()
        fresh = 1 + int((self._newest_s + self._stale_s - now) * self._rate_hz)
        return min(fresh, self._chunks.left(now))

    def _why_unsafe(self, now: float, action: np.ndarray | None) -> str:
        if self._newest_s is None:
            return self._trouble or "there is no answer yet"
        age_s = now - self._newest_s
        if age_s > self._stale_s:
            return f"the newest answer is to what was seen {age_s:.2f} s ago. {self._trouble}"
        if action is None:
            return f"the newest chunk is used up. {self._trouble}"
        return ""

    def _safely(self, observation: Mapping[str, Any], reason: str) -> np.ndarray:
        self.safe_steps += 1
        now = self._clock()
        if now - self._said_s >= SAY_EVERY_S:
            self._said_s = now
            logger.warning("SAFE ACTION: %s", reason.strip())
        chosen = self._safe(observation) if callable(self._safe) else self._safe
        return np.asarray(chosen, np.float32)

    def _ask(self) -> None:
        """The thread: one question after the other, each with the newest observation."""
        while True:
            with self._news:
                self._news.wait_for(lambda: self._closed or self._question is not None)
                if self._closed or self._question is None:
                    return
                episode, observed_s, observation = self._question
                self._question = None
            try:
                actions, trouble, refused = self._policy.infer(observation)["actions"], "", False
            # A thread that ended would say nothing: whatever it raises, the robot's owner is told.
            except Exception as error:
                actions, trouble = None, str(error) or type(error).__name__
                refused = isinstance(error, ServerRefusedError)
            with self._news:
                if episode == self._episode:
                    self._refused = refused
                    self._note(observed_s, observation, actions, trouble)
            if trouble:
                time.sleep(RETRY_S)

    def _note(
        self,
        observed_s: float,
        observation: Mapping[str, Any],
        actions: np.ndarray | None,
        trouble: str,
    ) -> None:
        """Takes an answer, or why there is none; the lock is held."""
        self._schedule.answered(self._clock() - observed_s, first=self._waiting)
        # Until an episode's first chunk the robot stands still: what it saw is as good as new.
        observed_s = self._clock() if self._waiting else observed_s
        self._trouble, self._again = trouble, bool(trouble)
        if actions is not None:
            try:
                self._chunks.add(observed_s, actions)
                self._newest_s = observed_s
            except ValueError as error:
                self._trouble, self._again = str(error), True
        if self._waiting and self._again and self._question is None:
            self._question = (self._episode, observed_s, observation)
        self._news.notify_all()
