"""The promise that only another process can keep: a worker plays the same episodes."""

from __future__ import annotations

import time

import numpy as np

from pushcut.envs.contract.case import EnvCase, difference_of_trails
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
