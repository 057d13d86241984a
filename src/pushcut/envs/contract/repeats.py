"""Promises about playing again: initial states, snapshots, turns and chunks, to the bit."""

from __future__ import annotations

import numpy as np

from pushcut.envs.base import Env
from pushcut.envs.contract.case import (
    EnvCase,
    difference_of_observations,
    difference_of_trails,
    play,
)
from pushcut.promises import ContractError

SNAPSHOT = (
    "put all that the rest of the episode depends on into snapshot() (velocities, counters, goal, "
    "the solver's warm start), as copies, and set all of it in restore()"
)


def an_initial_state_repeats(case: EnvCase) -> None:
    """An initial state is the same in a used and in a fresh environment, to the bit."""
    mend = (
        "draw everything random in reset from init.seed alone, and put back all that an episode "
        "changes (targets, counters, warm starts)"
    )
    chunks = case.chunks(0, count=3)
    case.env.reset(case.a)
    start = case.env.observe()
    trail = play(case.env, chunks)

    def again(env: Env, where: str) -> None:
        env.reset(case.a)
        difference = difference_of_observations(env.observe(), start)
        difference = difference or difference_of_trails(play(env, chunks), trail)
        if difference:
            raise ContractError(f"the same episode of {case.a} {where}", difference, mend)

    case.env.reset(case.b)
    play(case.env, case.chunks(1))
    again(case.env, "after another one")
    with case.another() as fresh:
        again(fresh, "in a fresh environment")


def a_restored_snapshot_continues_exactly(case: EnvCase) -> None:
    """A restored snapshot continues exactly, many times and in another environment."""
    chunks = case.chunks(2, count=2)
    case.env.reset(case.a)
    case.env.step_chunk(case.chunks(3)[0])
    here = case.env.observe()
    snapshot = case.env.snapshot()
    trail = play(case.env, chunks)

    def again(env: Env, when: str) -> None:
        env.restore(snapshot)
        difference = difference_of_observations(env.observe(), here)
        difference = difference or difference_of_trails(play(env, chunks), trail)
        if difference:
            raise ContractError(f"the same future {when}", difference, SNAPSHOT)

    for count in ("once", "twice"):
        again(case.env, f"from a snapshot that was restored {count}")
    with case.another() as other:
        other.reset(case.b)
        again(other, "from a snapshot that was restored in another environment")


def episodes_can_take_turns(case: EnvCase) -> None:
    """Episodes that take turns in one environment are those played alone."""
    plays = {init: case.chunks(i) for i, init in enumerate((case.a, case.b))}
    alone = {}
    for init, chunks in plays.items():
        case.env.reset(init)
        alone[init] = play(case.env, chunks)
    parked = {}
    for init in plays:
        case.env.reset(init)
        parked[init] = case.env.snapshot()
    turns = {init: [] for init in plays}
    for turn in range(6):
        for init, chunks in plays.items():
            if turn < len(alone[init]):
                case.env.restore(parked[init])
                turns[init] += play(case.env, chunks[turn : turn + 1])
                parked[init] = case.env.snapshot()
    for init in plays:
        if difference := difference_of_trails(turns[init], alone[init]):
            expected = f"{init} to go on as if nothing else were played"
            raise ContractError(expected, difference, SNAPSHOT)


def a_chunk_is_its_steps(case: EnvCase) -> None:
    """A chunk is its steps one by one, whoever looks in between."""
    actions = case.chunks(4, count=1, length=8)[0]
    case.env.reset(case.a)
    whole = case.env.step_chunk(actions)
    after = case.env.observe()
    case.env.reset(case.a)
    singles = []
    for action in actions[: whole.steps]:
        singles.append(case.env.step_chunk(action[None]))
        case.env.observe()
        if case.env.spec.cameras:
            case.env.render(32)
    reward = np.concatenate([result.reward for result in singles])
    mend = "observe() and render() must change nothing, and a chunk is executed action by action"
    expected = f"{whole.steps} steps one by one to be the chunk of them"
    if difference := difference_of_observations(case.env.observe(), after):
        raise ContractError(expected, difference, mend)
    for name in ("steps", "sim_steps"):
        total = sum(getattr(result, name) for result in singles)
        if total != getattr(whole, name):
            raise ContractError(expected, f"{name} {total}, {getattr(whole, name)} at once", mend)
    if not np.array_equal(whole.reward[: whole.steps], reward):
        raise ContractError(expected, f"rewards {reward}, {whole.reward} at once", mend)
