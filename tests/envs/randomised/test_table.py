"""Tables that stand higher: the robot's base goes down instead, physics and pictures see it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pushcut.envs.bimanual.env import BimanualConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.randomised.config import Randomisation
from pushcut.errors import UserError
from pushcut.types import InitState
from tests.envs.libero.tasks import NEEDS_LIBERO

RAISED = Randomisation("exactly", table_height=0.04)
DOOR = InitState("door-close-v3", 3)
PLAIN = MetaWorldConfig(("door-close-v3",), image_size=32)


def solved(env) -> bool:
    """Whether the expert solves the episode that has begun."""
    while not (result := env.step_chunk(env.expert_action()[None])).done:
        pass
    return result.success


def start(env: Any, init: InitState, *, raised: bool = True):
    """What is seen at the start; where hand and base are in the simulator."""
    if raised:
        env.reset(init)
    else:
        env._inner.raise_table(0.0)
        env._inner.reset(init)
        env._inner.show(None)
    simulator = env._inner._now
    simulator.sync()
    return env._inner.observe(), simulator._hand.copy(), float(simulator._base[2])


def changed(seen, wanted, camera: str) -> float:
    return float(np.abs(seen.images[camera].astype(float) - wanted.images[camera]).mean())


@pytest.mark.sim
def test_a_metaworld_robot_stands_lower_and_feels_as_usual():
    env: Any = replace(PLAIN, randomisation=RAISED, state="objects").build()
    ways = set()
    for seed in range(3):
        init = InitState(DOOR.task, seed)
        wanted, usual, floor = start(env, init, raised=False)
        seen, hand, base = start(env, init)
        raised = floor - base
        assert abs(raised) == pytest.approx(0.04)
        ways.add(raised > 0)
        # The arm hangs as usual from a base that is lower: in its own measure only the door (and
        # the goal, but no second object) went up.
        np.testing.assert_allclose(hand - usual, [0, 0, -raised], atol=2e-3)
        moved = (seen.state - wanted.state)[0]
        up = [0, 0, raised]
        np.testing.assert_allclose(moved, [0, 0, 0, 0, *up, 0, 0, 0, *up], atol=2e-3)
        assert changed(seen, wanted, "corner2") > 1
    assert len(ways) == 2  # higher in some episodes, lower in others
    env.close()


@pytest.mark.sim
def test_a_raised_table_is_in_snapshots_and_no_episode_leaves_it_behind():
    env: Any = replace(PLAIN, randomisation=RAISED).build()
    env.reset(DOOR)
    env.step_chunk(np.full((3, 4), 0.5, np.float32))
    snapshot, seen = env.snapshot(), env.observe()
    assert solved(env)
    env.reset(InitState(DOOR.task, 4))
    env.restore(snapshot)
    again = env.observe()
    np.testing.assert_array_equal(again.state, seen.state)
    np.testing.assert_array_equal(again.images["corner2"], seen.images["corner2"])
    assert solved(env)

    env._inner.raise_table(0.0)
    plain = PLAIN.build()
    for one in (env._inner, plain):
        one.reset(DOOR)
    np.testing.assert_array_equal(env._inner.snapshot().state.physics,
                                  plain.snapshot().state.physics)  # fmt: skip
    for one in (env, plain):
        one.close()


def test_who_cannot_raise_a_table_says_so():
    with pytest.raises(UserError, match="cannot randomise table_height: its simulator has light"):
        _ = BimanualConfig(randomisation=RAISED).spec


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_LIBERO
@pytest.mark.parametrize("seed", [0, 60])
def test_liberos_stored_and_drawn_starts_are_raised(seed: int, kept_models):
    from pushcut.envs.libero.env import LiberoConfig

    plain = LiberoConfig(
        ("libero_object/0",), image_size=32, texture_size=64, cameras=("agentview", "wrist")
    )
    init = InitState(next(iter(plain.spec.tasks)), seed)
    env: Any = replace(plain, randomisation=RAISED).build()
    wanted, usual, floor = start(env, init, raised=False)
    seen, hand, base = start(env, init)
    assert abs(floor - base) == pytest.approx(0.04)
    np.testing.assert_allclose(hand - usual, [0, 0, base - floor], atol=2e-3)
    np.testing.assert_allclose(seen.state, wanted.state, atol=2e-3)
    assert all(changed(seen, wanted, camera) > 1 for camera in plain.cameras)
    env.reset(init)
    assert solved(env)
    env.close()
