"""Episodes that take turns: exact, and played again only where there is no instance for each."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import pytest

from pushcut.envs.gymnasium.env import GymnasiumConfig, GymnasiumEnv
from pushcut.envs.pool.pool import EnvPool
from pushcut.types import InitState

TASK = "Reacher-v5"
REACHER = GymnasiumConfig(cameras=(), check_steps=10)
BIPED = GymnasiumConfig(id="BipedalWalker-v3", success="return >= 300", cameras=())

Trail = list[bytes]


@dataclass(frozen=True)
class CountingConfig(GymnasiumConfig):
    """Shows in place of the first number of its state how many steps were played again."""

    def build(self) -> GymnasiumEnv:
        env = super().build()
        numbers = env._state

        def counted() -> np.ndarray:
            state = numbers()
            state[0] = env.replayed_steps
            return state

        env._state = counted  # pyright: ignore[reportAttributeAccessIssue]
        return env


def actions_of(episode: int, decision: int) -> np.ndarray:
    rng = np.random.default_rng((episode, decision))
    return rng.uniform(-1, 1, (5, 2)).astype(np.float32)


def play_all(pool: EnvPool, inits: list[InitState]) -> tuple[list[Trail], float]:
    """States of each episode, the first number apart; and the largest of these."""
    trails: list[Trail] = [[] for _ in inits]
    largest = 0.0
    queue, playing, decisions = list(range(len(inits))), {}, [0] * len(inits)
    while queue or playing:
        for slot in range(pool.slots):
            if queue and slot not in playing:
                playing[slot] = queue.pop(0)
                pool.reset(slot, inits[playing[slot]])
        for reply in pool.wait(300.0):
            which = playing[reply.slot]
            if reply.result is not None:
                trails[which].append(reply.result.reward.tobytes())
            if reply.result is not None and reply.result.done:
                del playing[reply.slot]
                continue
            state = pool.observation([reply.slot]).state[0]
            largest = max(largest, float(state[0]))
            trails[which].append(state[1:].tobytes())
            pool.step(reply.slot, actions_of(which, decisions[which]))
            decisions[which] += 1
    return trails, largest


def groups() -> list[InitState]:
    """Two groups of three and two that are alone."""
    return [InitState(TASK, seed) for seed in (1, 1, 1, 2, 2, 2, 3, 4)]


def played(config: GymnasiumConfig, *, slots: int, workers: int) -> tuple[list[Trail], float]:
    inits = groups()
    with EnvPool(config, slots=slots, workers=workers) as pool:
        return play_all(pool, inits)


def test_results_are_the_same_in_turns_and_alone_and_only_crowding_plays_again(caplog):
    one = CountingConfig(cameras=(), check_steps=10, instances=1)
    alone, again = played(one, slots=2, workers=2)  # one slot for each process
    assert again == 0
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "pushcut.pool"):
        crowded, again = played(one, slots=4, workers=1)
    assert again > 0
    assert "keeps 1 episodes in a process and has 4" in caplog.text
    assert "use 4 processes (--workers)" in caplog.text
    assert crowded == alone
    many = replace(one, instances=4)
    roomy, again = played(many, slots=4, workers=1)
    assert again == 0
    assert roomy == alone


def test_a_process_is_told_what_was_found_out_so_it_need_not_find_out_again(monkeypatch):
    config = replace(REACHER)
    assert config.spec.action_size == 2
    from pushcut.envs.gymnasium import env

    def must_not(*_: object) -> None:
        raise AssertionError("probed again")

    monkeypatch.setattr(env, "probe", must_not)
    built = config.build()
    built.reset(InitState(TASK, 0))
    assert built.observe().state.shape == (1, 10)


@pytest.mark.sim
def test_a_walker_whose_world_survives_a_reset_is_found_out_and_made_anew():
    from pushcut.errors import UserError

    with pytest.raises(UserError, match="BipedalWalker-v3 does not start anew"):
        _ = BIPED.spec
    config = replace(BIPED, restart="make", instances=1)
    env = config.build()
    init = InitState("BipedalWalker-v3", 3)
    actions = np.random.default_rng(0).uniform(-1, 1, (60, 4)).astype(np.float32)
    ends = []
    for _ in range(3):
        env.reset(init)
        env.step_chunk(actions[:30])
        snapshot = env.snapshot()
        env.reset(InitState("BipedalWalker-v3", 4))
        env.step_chunk(actions[:7])
        env.restore(snapshot)
        env.step_chunk(actions[30:])
        ends.append(env.observe().state.tobytes())
    assert len(set(ends)) == 1
    assert env.replayed_steps == 90
