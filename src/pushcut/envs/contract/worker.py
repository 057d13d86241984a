"""Promises that only another process can keep: a worker, or its batch, plays the same episodes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from pushcut.envs.contract.case import EnvCase, difference_of_trails
from pushcut.envs.pool.batch_pool import BatchPool
from pushcut.envs.pool.pool import EnvPool
from pushcut.errors import UserError
from pushcut.promises import ContractError
from pushcut.types import ChunkResult, InitState, Observation

CHUNKS = 3
TIMEOUT_S = 300.0
"""Longest time of a request; a simulator may be made in the first one."""
EXPECTED = "a worker process to play the same episodes"
MEND = (
    "the module of the config must be importable in a fresh Python (installed, or its folder on "
    "PYTHONPATH), and the environment must not depend on what this process has set up"
)
BATCH_MEND = (
    "each scene must have all that its episode depends on for itself, an initial state be the same "
    "in every scene, and reset leave the other scenes alone; if the simulator cannot repeat to the "
    "bit, let the config's `repeats` be False"
)

Played = list[tuple[Observation, ChunkResult]]
"""What was seen before each chunk, and the chunk's result."""


def a_worker_process_plays_the_same(case: EnvCase) -> str:
    """A worker process builds the environment and plays the same episodes, in turns."""
    plays = {init: case.chunks(20 + i, count=CHUNKS) for i, init in enumerate((case.a, case.b))}
    begin = time.monotonic()
    try:
        with EnvPool(case.config, slots=2, workers=1, timeout_s=TIMEOUT_S, max_failures=1) as pool:
            started = time.monotonic() - begin
            got = _in_turns(pool, plays)
    # What it says is for users already.
    except (UserError, NotImplementedError) as error:
        raise ContractError(EXPECTED, str(error), MEND) from error
    for init, chunks in plays.items():
        if difference := _difference(got[init], _alone(case, init, chunks)):
            raise ContractError(EXPECTED, f"for {init} {difference}", MEND)
    return f"started in {started:.1f} s"


def a_batch_plays_the_same(case: EnvCase) -> str | None:
    """A batch of scenes plays the same episodes, whoever shares the batch.

    Three episodes step together; the first two are one and the same, and it begins again in
    another scene when the others are under way.
    """
    chunks = {init: case.chunks(30 + i, count=CHUNKS) for i, init in enumerate((case.a, case.b))}
    order = (case.a, case.a, case.b, case.a)
    with BatchPool(case.config, slots=3, workers=1, timeout_s=TIMEOUT_S, max_failures=1) as pool:
        got = _together(pool, order, chunks)
    found = (
        (init, _difference(played, _alone(case, init, chunks[init])))
        for init, played in zip(order, got, strict=True)
    )
    apart = next((f"for {init} {difference}" for init, difference in found if difference), "")
    if apart and case.config.repeats:
        expected = "a batch to play the same episodes whoever shares the batch"
        raise ContractError(expected, apart, BATCH_MEND)
    return f"not to the bit, which the config does not promise: {apart}" if apart else None


def _together(
    pool: BatchPool, order: Sequence[InitState], chunks: Mapping[InitState, np.ndarray]
) -> list[Played]:
    """Episodes in the slots of a pool, a chunk of each at a time; those too many come later."""
    played: list[Played] = [[] for _ in order]
    waiting = list(range(len(order)))
    playing: dict[int, int] = {}
    shown: dict[int, Observation] = {}
    while waiting or playing:
        for slot in range(pool.slots):
            if waiting and slot not in playing:
                playing[slot] = waiting.pop(0)
                pool.reset(slot, order[playing[slot]])
        for slot, result in ((reply.slot, reply.result) for reply in pool.wait()):
            number, done = playing[slot], result is not None and result.done
            if result is not None:
                played[number].append((shown.pop(slot), result))
            left = chunks[order[number]][len(played[number]) :]
            if len(left) and not done:
                shown[slot] = pool.observation([slot])
                pool.step(slot, left[0])
                continue
            if not done:
                pool.abandon(slot)
            del playing[slot]
    return played


def _in_turns(pool: EnvPool, plays: dict[InitState, np.ndarray]) -> dict[InitState, Played]:
    """Both episodes in one process, a chunk of each after the other."""
    played: dict[InitState, Played] = {init: [] for init in plays}
    for slot, init in enumerate(plays):
        pool.reset(slot, init)
        pool.wait()
    for turn in range(CHUNKS):
        for slot, (init, chunks) in enumerate(plays.items()):
            if played[init] and played[init][-1][1].done:
                continue
            seen = pool.observation([slot])
            pool.step(slot, chunks[turn])
            (reply,) = pool.wait()
            assert reply.result is not None
            played[init].append((seen, reply.result))
    return played


def _alone(case: EnvCase, init: InitState, chunks: np.ndarray) -> Played:
    """One episode in this process."""
    played: Played = []
    case.env.reset(init)
    for chunk in chunks:
        seen = case.env.observe()
        played.append((seen, case.env.step_chunk(chunk)))
        if played[-1][1].done:
            break
    return played


def _difference(got: Played, wanted: Played) -> str:
    return difference_of_trails(
        [(result, seen) for seen, result in got], [(result, seen) for seen, result in wanted]
    )
