"""The play table's physics, where pybullet and a checkout are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pushcut.envs.calvin.scenes import EDGE, LENGTHS, SCENES
from pushcut.envs.calvin.starts import CHAIN, start_of
from tests.envs.calvin.benchmark import NEEDS_CALVIN, folder

if TYPE_CHECKING:
    from pushcut.envs.calvin.world import World

pytestmark = [pytest.mark.sim, NEEDS_CALVIN]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    from pushcut.envs.calvin.world import World

    world = World(folder())
    yield world
    world.close()


def step(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def test_a_start_is_what_was_asked_for(world: World):
    start = start_of(CHAIN, "D", 0)
    world.start(start)
    # One step of the physics at 240 Hz has passed: blocks fall by 9.8 / 240**2 = 0.17 mm at most.
    np.testing.assert_allclose(world.scene_obs(), start.scene_obs, atol=4e-3)
    # From the benchmark's robot_obs: the hand and its opening.
    np.testing.assert_allclose(
        world.robot_obs()[:7],
        [0.02586889, -0.2313129, 0.5712808, 3.09045411, -0.02908596, 1.50013585, 0.07999963],
        atol=1e-4,
    )


def test_actions_move_a_target_that_is_kept(world: World):
    world.start(start_of(CHAIN, "D", 0))
    before = world.target.copy()
    for _ in range(5):
        world.step(step(1, -0.5, 0, 0, 0, 1, 0))
    # 5 x 2 cm, 5 x -1 cm, 5 x 0.05 rad.
    np.testing.assert_allclose(world.target - before, [0.1, -0.05, 0, 0, 0, 0.25], atol=1e-12)
    for _ in range(15):
        world.step(np.zeros(7, np.float32))
    np.testing.assert_allclose(world.robot_obs()[:3], world.target[:3], atol=0.01)


@pytest.mark.parametrize(("number", "opening"), [(1, 0.08), (0, 0.08), (-0.1, 0.0), (-1, 0.0)])
def test_the_sign_alone_moves_the_gripper(world: World, number: float, opening: float):
    world.start(start_of(CHAIN, "D", 0))
    for _ in range(20):
        world.step(step(0, 0, 0, 0, 0, 0, number))
    assert world.robot_obs()[6] == pytest.approx(opening, abs=2e-3)
    assert world.robot_obs()[14] == (1 if number >= 0 else -1)


@pytest.mark.parametrize("letter", SCENES)
def test_what_belongs_to_the_table_is_where_the_facts_say(world: World, letter: str):
    import pybullet as p  # pyright: ignore[reportMissingImports]

    start = start_of(CHAIN, letter, 0)
    world.start(start)
    facts, bodies = SCENES[letter], world.bodies
    wanted = {"button": facts.button_x, "switch": facts.switch_x, "drawer": facts.drawer_x}
    wanted["slide"] = (
        facts.slide_x if start.scene_obs[0] == 0 else facts.slide_x - facts.slide_limit
    )
    for name, x in wanted.items():
        link = p.getLinkState(bodies.table, bodies.joints[name], physicsClientId=world.client)
        assert link[4][0] == pytest.approx(x, abs=1e-3), name
    limits = p.getJointInfo(bodies.table, bodies.joints["slide"], physicsClientId=world.client)
    for colour, size in facts.blocks.items():
        shape = p.getCollisionShapeData(bodies.blocks[colour], -1, physicsClientId=world.client)
        assert shape[0][3] == pytest.approx((LENGTHS[size], EDGE, EDGE))
    assert limits[9] == pytest.approx(facts.slide_limit, abs=1e-3)


def test_the_bulb_follows_the_switch_and_is_right_from_the_start(world: World):
    start = next(s for s in (start_of(CHAIN, "D", seed) for seed in range(9)) if s.scene_obs[4])
    world.start(start)
    assert world.lightbulb == 1
    world.step(np.zeros(7, np.float32))
    assert world.lightbulb == 1
