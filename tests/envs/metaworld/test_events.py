"""What MetaWorld tells of its objects while experts play."""

from collections.abc import Sequence

import numpy as np
import pytest

from pushcut.envs.events import Events
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.pool.expert import run_expert
from pushcut.envs.pool.pool import EnvPool
from pushcut.envs.pool.recording import Record, Recording
from pushcut.types import InitState

pytestmark = pytest.mark.sim

PICK = MetaWorldConfig(tasks=("pick-place-v3", "plate-slide-v3"), cameras=())
RECORD = Record(events=True)


def expert(init: InitState) -> np.ndarray:
    """The actions of the expert, float32 [t, 4]."""
    env = PICK.build()
    try:
        return run_expert(env, init, noise=0.0, rng=np.random.default_rng(0)).action
    finally:
        env.close()


def played(inits: Sequence[InitState], *, workers: int, chunk: int) -> list[Events]:
    """The experts' actions, all episodes in turns."""
    actions = [expert(init) for init in inits]
    found: dict[int, Events] = {}
    with EnvPool(PICK, slots=len(inits), workers=workers) as pool:
        for slot, init in enumerate(inits):
            pool.reset(slot, init)
        at = dict.fromkeys(range(len(inits)), 0)
        while len(found) < len(inits):
            for reply in pool.wait():
                slot = reply.slot
                if reply.events is not None:
                    found[slot] = reply.events
                    continue
                pool.step(slot, actions[slot][at[slot] : at[slot] + chunk], RECORD)
                at[slot] += chunk
    return [found[slot] for slot in range(len(inits))]


def test_an_expert_grasps_and_lifts_the_puck():
    [events] = played([InitState("pick-place-v3", 3)], workers=1, chunk=5)
    assert events.objects == ("obj",)
    held = events.fingers[:, 0] == 2
    assert held.any() and not held[:10].any()
    # It lies on the table until it is held, and is in the air at the end.
    assert events.resting[1:10].all() and not events.resting[-1, 0]
    assert events.pose[-1, 0, 2] > events.pose[0, 0, 2] + 0.02
    assert events.opening[0] > 0.09 > events.opening[-1]


def test_a_plate_is_pushed_and_never_held():
    [events] = played([InitState("plate-slide-v3", 3)], workers=1, chunk=5)
    assert events.touched.any() and (events.fingers < 2).all()
    assert np.linalg.norm(events.pose[-1, 0, :3] - events.pose[0, 0, :3]) > 0.1


def test_events_do_not_depend_on_workers_and_chunks_and_are_played_again_to_the_bit():
    inits = [InitState(task, seed) for seed in (0, 1) for task in PICK.tasks]
    together = played(inits, workers=1, chunk=7)
    apart = played(inits, workers=2, chunk=3)
    assert all(a.same_as(b) for a, b in zip(together, apart, strict=True))
    with EnvPool(PICK, slots=1, workers=1) as pool:
        pool.reset(0, inits[0])
        pool.wait()
        pool.step(0, together[0].action[1:], RECORD)
        [reply] = pool.wait()
    assert reply.result is not None and reply.result.success
    assert reply.events is not None and reply.events.same_as(together[0])


def test_watching_changes_nothing():
    init = InitState("pick-place-v3", 5)
    actions = expert(init)
    env = PICK.build()
    env.reset(init)
    plain = env.step_chunk(actions)
    before = env.snapshot().state.physics
    env.reset(init)
    watched = Recording(env, RECORD, first=True).step(actions)
    assert (watched.steps, watched.sim_steps) == (plain.steps, plain.sim_steps)
    np.testing.assert_array_equal(watched.reward, plain.reward)
    np.testing.assert_array_equal(env.snapshot().state.physics, before)
    env.close()
