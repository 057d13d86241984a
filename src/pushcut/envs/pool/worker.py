"""The process that owns a simulator and plays the episodes of many slots with it.

Started by ``pool`` as ``python -m pushcut.envs.pool.worker CHANNEL_FD ROWS_FD``. It never
imports torch. Messages are pickled tuples:

- first in: ``(config, slots, final_observation, scenes)``; out: ``("started", -1, None)``, or
  ``("refused", -1, message)`` when the environment cannot be built;
- then in: ``("reset", slot, init, chunks)``, ``("step", slot, actions, record)``,
  ``("demonstrate", slot, init, noise, seed, hold_frames, record)`` or
  ``("release", -2, tasks)``, where there are no scenes, else ``("play", -3, under_way,
  requests)`` (see ``batch_worker``); out: ``(kind, slot, payload, seconds)``, or
  ``("error", slot, message)``, ``("corrupt", slot, message)`` and ``("refused", slot, message)``
  before it exits: an error or an impossible report may be bad luck, a refusal would be the same
  next time; ``seconds`` says how long it took to ``simulate`` and to ``render``;
- ``None`` or the end of the channel: exit.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import select
import signal
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from pushcut import plugins
from pushcut.envs.base import Env
from pushcut.envs.checks import (
    CorruptedError,
    problem_of_demonstration,
    problem_of_observation,
    problem_of_result,
    trusted,
)
from pushcut.envs.events import Events
from pushcut.envs.pool.batch_worker import BatchWorker
from pushcut.envs.pool.expert import Watched, watch_expert
from pushcut.envs.pool.recording import Course, Record, Recording
from pushcut.envs.pool.shared_rows import SharedRows
from pushcut.envs.protocol import note_of
from pushcut.errors import UserError
from pushcut.system.stopwatch import Stopwatch
from pushcut.types import ChunkResult, InitState, Observation

STARTS_KEPT = 16
"""Initial states whose snapshot and first observation are remembered for their group."""


class Worker:
    """Plays many slots in turns on one environment.

    ``_playing`` is the slot whose episode is in the simulator now; the others wait in
    ``_parked`` as snapshots, which are exact, so taking turns changes nothing.
    """

    def __init__(self, env: Env, rows: SharedRows, *, final_observation: bool) -> None:
        self.stopwatch = Stopwatch()
        self.answers = {
            "reset": self.reset,
            "step": self.step,
            "demonstrate": self.demonstrate,
            "release": self.release,
        }
        """What is called for each kind of request."""
        self._env = env
        self._rows = rows
        self._final_observation = final_observation
        self._playing: int | None = None
        self._parked: dict[int, Any] = {}
        self._unplayed: set[int] = set()
        self._recordings: dict[int, Recording] = {}
        self._starts: OrderedDict[InitState, tuple[Any, Observation, str]] = OrderedDict()

    def reset(self, slot: int, init: InitState, chunks: Sequence[np.ndarray]) -> str:
        """Starts an episode; the later members of a group start from a snapshot.

        ``chunks`` are executed at once: the episode goes on from where another was. Returns what
        the environment notes of the initial state.
        """
        self._forget(slot)
        self._park()
        if init not in self._starts:
            self._env.reset(init)
            note = note_of(self._env)
            self._starts[init] = (self._env.snapshot(), self._observe(), note)
            if len(self._starts) > STARTS_KEPT:
                self._starts.popitem(last=False)
        self._starts.move_to_end(init)
        self._parked[slot], observation, note = self._starts[init]
        if chunks:
            observation = self._go_on(slot, chunks)
        self._rows.write(slot, observation)
        self._unplayed.add(slot)
        return note

    def _go_on(self, slot: int, chunks: Sequence[np.ndarray]) -> Observation:
        """Executes chunks that another episode came this far with, and looks."""
        self._take_up(slot)
        for chunk in chunks:
            if self._env.step_chunk(chunk).done:
                raise CorruptedError(
                    "the end of an episode where, from the same initial state and with the same "
                    "actions, another went on: `pushcut check-env` tells what does not repeat"
                )
        return self._observe()

    def step(
        self, slot: int, actions: np.ndarray, record: Record
    ) -> tuple[ChunkResult, np.ndarray | None, Events | None, Course | None]:
        """Executes a chunk and observes what comes after it, unless the episode is over.

        Returns the outcome, images of its control steps, and at the end the episode's events and
        course.
        """
        self._take_up(slot)
        frames = events = course = recording = None
        if record:
            recording = self._recording(slot, record)
            result, frames = recording.step(actions), recording.frames()
        else:
            result = self._env.step_chunk(actions)
        trusted(problem_of_result(result, len(actions)))
        self._unplayed.discard(slot)
        if result.shown(final_observation=self._final_observation):
            self._rows.write(slot, self._observe())
        if result.done:
            if recording:
                events, course = recording.events(), recording.course()
            self._forget(slot)
        return result, frames, events, course

    def demonstrate(
        self, slot: int, init: InitState, noise: float, seed: int, hold_frames: int, record: Record
    ) -> Watched:
        """Plays the expert; the slot has no episode afterwards."""
        self._forget(slot)
        self._park()
        rng = np.random.default_rng(seed)
        watched = watch_expert(
            self._env, init, record, noise=noise, rng=rng, hold_frames=hold_frames
        )
        trusted(problem_of_demonstration(watched.demonstration, self._env.spec))
        return watched

    def release(self, _: int, tasks: Sequence[str]) -> None:
        """Frees what the environment keeps for tasks of which no episode is under way."""
        self._park()
        if (release := getattr(self._env, "release", None)) is None:
            raise UserError(
                "this environment cannot free what it keeps for a task (it has no `release`): "
                "leave --rollout.tasks-per-process at 0"
            )
        for task in tasks:
            release(task)
        give_memory_back()

    def _observe(self) -> Observation:
        """Looks; CorruptedError where what is seen cannot be."""
        with self.stopwatch.timed("render"):
            observation = self._env.observe()
        trusted(problem_of_observation(observation, self._env.spec))
        return observation

    def _park(self) -> None:
        """Puts the episode that is in the simulator aside."""
        if self._playing is not None:
            self._parked[self._playing] = self._env.snapshot()
            self._playing = None

    def _take_up(self, slot: int) -> None:
        """Puts a slot's episode into the simulator."""
        if self._playing != slot:
            self._park()
            self._env.restore(self._parked.pop(slot))
            self._playing = slot

    def _recording(self, slot: int, record: Record) -> Recording:
        """What is kept of the slot's episode, which is in the simulator."""
        if slot not in self._recordings:
            first = slot in self._unplayed
            self._recordings[slot] = Recording(self._env, record, first=first)
        return self._recordings[slot]

    def _forget(self, slot: int) -> None:
        self._parked.pop(slot, None)
        self._recordings.pop(slot, None)
        if self._playing == slot:
            self._playing = None


def one_line(error: Exception) -> str:
    """The type and message of an error, on one line; a UserError speaks for itself."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def serve(channel: Connection, worker: Worker | BatchWorker) -> None:
    """Answers requests until the channel ends or one of them fails."""
    while (request := channel.recv()) is not None:
        kind, slot, *arguments = request
        try:
            with worker.stopwatch.timed("simulate"):
                payload = worker.answers[kind](slot, *arguments)
        except (UserError, NotImplementedError) as error:
            channel.send(("refused", slot, one_line(error)))
            return
        except CorruptedError as error:
            channel.send(("corrupt", slot, str(error)))
            return
        except Exception as error:
            traceback.print_exc()
            channel.send(("error", slot, one_line(error)))
            return
        channel.send((kind, slot, payload, worker.stopwatch.take()))


def run(channel: Connection, rows_fd: int) -> None:
    """Builds the environment that the first message describes and serves it."""
    try:
        config, slots, final_observation, scenes = channel.recv()
        env = config.build_batch(scenes) if scenes else config.build()
        rows = SharedRows(env.spec, slots, rows_fd)
    except EOFError:
        return
    except Exception as error:
        traceback.print_exc()
        channel.send(("refused", -1, one_line(error)))
        return
    channel.send(("started", -1, None))
    try:
        kind = BatchWorker if scenes else Worker
        serve(channel, kind(env, rows, final_observation=final_observation))
    finally:
        env.close()


def give_memory_back() -> None:
    """Returns what was freed to the system: models hold circles, glibc keeps free pages."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def exit_when_orphaned(channel_fd: int) -> None:
    """Ends this process when the pool's end of the channel is gone, even inside a hung call."""
    poll = select.poll()
    poll.register(channel_fd, 0)  # no events asked for: only hang-up and error are reported
    poll.poll()
    os._exit(0)


def main() -> None:
    """Entry point of the process."""
    # Ctrl-C and SIGTERM reach the whole process group; the pool decides what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()
    plugins.make_importable()
    channel_fd, rows_fd = int(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=exit_when_orphaned, args=(channel_fd,), daemon=True).start()
    try:
        run(Connection(channel_fd), rows_fd)
    except (EOFError, ConnectionError):
        return  # the pool has gone


if __name__ == "__main__":
    main()
