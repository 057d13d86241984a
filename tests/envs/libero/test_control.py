"""The fast control step against robosuite's own, from the same states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("libero", reason='needs pip install "pushcut[libero]"')

from pushcut.envs.libero.control import OSCStep
from pushcut.envs.libero.osc import osc_torques
from pushcut.envs.libero.simulator import SimulatorState, TaskSimulator
from pushcut.envs.libero.tasks import expand_tasks

pytestmark = [pytest.mark.sim, pytest.mark.usefixtures("kept_models")]

Play = Callable[[TaskSimulator, int, np.random.Generator], np.ndarray]
"""Chooses the action for a step of an episode."""

CLOSE = 1e-9


class Pair:
    """A task twice: stepped by us and by robosuite."""

    def __init__(self, task: str) -> None:
        (self.task,) = expand_tasks((task,))
        self.fast = TaskSimulator(self.task)
        self.stock = TaskSimulator(self.task, control="stock")

    def stock_step(self, state: SimulatorState, action: np.ndarray) -> tuple[SimulatorState, bool]:
        self.stock.set_state(state)
        success = self.stock.step(action)
        return self.stock.state(), success

    def distance(self, first: SimulatorState, second: SimulatorState) -> float:
        """Largest difference of a position (m, rad) or a velocity (m/s, rad/s)."""
        moving = slice(1, 1 + self.fast.model.nq + self.fast.model.nv)
        return float(np.abs(first.physics - second.physics)[moving].max())

    def wobble(self, state: SimulatorState, action: np.ndarray) -> float:
        """How far the stock step itself goes astray if its gains change in their last digit."""
        reference, _ = self.stock_step(state, action)
        kp = state.controller["kp"]
        return max(
            self.distance(
                self.stock_step(
                    replace(state, controller={**state.controller, "kp": kp * (1 + change)}),
                    action,
                )[0],
                reference,
            )
            for change in np.arange(1, 9) * 2.3e-16
        )

    def compare(self, play: Play, states: int, episode: int) -> np.ndarray:
        """Distances after one step from states along episodes; all else must be equal."""
        rng = np.random.default_rng(0)
        distances = []
        for step in range(states):
            number, age = divmod(step, episode)
            if age == 0:  # the first from the benchmark's states, the others from drawn ones
                self.fast.reset(number * 51, settle_steps=10)
            state, action = self.fast.state(), play(self.fast, age, rng)
            success = self.fast.step(action)
            got = self.fast.state()
            expected, stock_success = self.stock_step(state, action)
            assert got.clock == expected.clock
            np.testing.assert_array_equal(got.gripper, expected.gripper)
            for name in expected.model:
                np.testing.assert_array_equal(got.model[name], expected.model[name])
            distance = self.distance(got, expected)
            # Where contacts hang by a rounding error nobody can follow: not robosuite either.
            steady = distance <= CLOSE or self.wobble(state, action) <= CLOSE
            if steady:
                assert distance <= CLOSE
                assert success == stock_success
            distances.append(distance)
        return np.array(distances)


def push_about(simulator: TaskSimulator, step: int, rng: np.random.Generator) -> np.ndarray:
    """Random, but long enough in one direction to run into things."""
    direction = np.random.default_rng(step // 8).uniform(-1, 1, 7)
    direction[2] = -abs(direction[2])
    return np.clip(direction + rng.normal(0, 0.3, 7), -1, 1).astype(np.float32)


def grab(simulator: TaskSimulator, step: int, rng: np.random.Generator) -> np.ndarray:
    """Goes down on the first thing that the task is about, closes the hand and lifts."""
    simulator.sync()
    env = simulator.env
    thing = simulator.data.body(env.get_object(env.obj_of_interest[0]).root_body).xpos
    way = thing + [0, 0, 0.01] - simulator.proprioception()[:3]
    if step < 18:
        way[2] += 1.5 * np.hypot(*way[:2])
    else:
        way[:] = [0, 0, 0.1]
    gripper = 1.0 if step >= 14 else -1.0
    return np.array([*np.clip(way / 0.05, -1, 1), 0, 0, 0, gripper], dtype=np.float32)


def expert(simulator: TaskSimulator, step: int, rng: np.random.Generator) -> np.ndarray:
    """The scripted expert, whose gripper opens at +1; the simulator's closes."""
    return simulator.expert_action() * np.array([1, 1, 1, 1, 1, 1, -1], dtype=np.float32)


def agrees(distances: np.ndarray) -> bool:
    return bool((distances <= CLOSE).mean() >= 0.95 and np.median(distances) < 1e-12)


@pytest.fixture(scope="module", params=["libero_object/0", "libero_goal/2"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    yield Pair(request.param)


@pytest.mark.parametrize("play", [push_about, grab])
def test_one_step_ends_within_1e_9_of_where_the_stock_step_does(pair: Pair, play: Play):
    assert agrees(pair.compare(play, states=20, episode=20))


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["spatial", "object", "goal", "10", "90"])
def test_one_step_ends_within_1e_9_in_every_suite(suite: str):
    pair = Pair(f"libero_{suite}/4")
    assert agrees(pair.compare(push_about, states=100, episode=25))
    if suite in ("spatial", "object"):
        assert agrees(pair.compare(expert, states=100, episode=100))
    else:
        assert agrees(pair.compare(grab, states=100, episode=25))


def test_a_stretched_arm_is_left_to_robosuites_own_law(pair: Pair):
    simulator = pair.fast
    simulator.reset(0, settle_steps=1)
    controller = simulator.env.robots[0].controller
    # With the elbow straight three joints turn about the same axis.
    simulator.data.qpos[controller.qpos_index] = [0, 0, 0, -1e-6, 0, 1.5, 0]
    simulator.data.qvel[:] = 0
    state, action = simulator.state(), np.full(7, 0.5, dtype=np.float32)
    asked = []
    own_law = controller.run_controller
    controller.run_controller = lambda: asked.append(1) or own_law()
    simulator.step(action)
    del controller.run_controller
    assert 0 < len(asked) <= 25
    expected, _ = pair.stock_step(state, action)
    assert pair.distance(simulator.state(), expected) <= CLOSE


def test_fast_and_stock_steps_can_take_turns(pair: Pair):
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (6, 7)).astype(np.float32)
    actions[3, 3:6] = 0  # the controller then keeps the orientation it was last given
    pair.fast.reset(0, settle_steps=10)
    pair.stock.set_state(pair.fast.state())
    for step, action in enumerate(actions):
        if step % 2:
            pair.fast.step(action)
        else:
            pair.fast._stock_step(action)
        pair.stock.step(action)
    assert pair.distance(pair.fast.state(), pair.stock.state()) <= CLOSE
    ours, theirs = (s.env.robots[0].controller for s in (pair.fast, pair.stock))
    for name in ("goal_pos", "goal_ori", "ee_pos", "ee_ori_vel", "J_full", "mass_matrix"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-8)
    np.testing.assert_allclose(ours.torques, theirs.torques, atol=1e-6)
    assert ours.new_update is theirs.new_update is True


def test_a_restored_snapshot_does_not_compile_the_controller_again(pair: Pair):
    pair.fast.reset(0, settle_steps=2)
    pair.fast.set_state(pair.fast.state())  # its arrays are read-only
    pair.fast.step(np.zeros(7, dtype=np.float32))
    assert len(osc_torques.signatures) == 1


def test_contacts_are_those_that_robosuite_finds_by_name(pair: Pair):
    simulator, env = pair.fast, pair.fast.env
    by_name: Any = type(env).check_contact
    things = [*env.objects_dict.values(), *env.fixtures_dict.values()]
    things += [env.robots[0].gripper, things[0].contact_geoms, things[1].contact_geoms[0]]
    rng = np.random.default_rng(0)
    touching = 0
    for seed in (0, 60):
        simulator.reset(seed, settle_steps=3)
        for step in range(25):
            simulator.step(grab(simulator, step, rng))
        for first in things:
            for second in (*things, None):
                expected = by_name(env, first, second)
                assert env.check_contact(first, second) == expected
                touching += expected
    assert touching > 0


def test_another_controller_is_refused():
    robot = SimpleNamespace(controller=SimpleNamespace(name="JOINT_POSITION"))
    with pytest.raises(ValueError, match="needs robosuite's default OSC_POSE controller"):
        OSCStep(SimpleNamespace(robots=[robot]))


@pytest.mark.slow
def test_expert_episodes_have_the_same_outcome():
    pair = Pair("libero_object/0")
    rng = np.random.default_rng(0)
    for seed in range(1000, 1005):
        lengths = []
        for simulator in (pair.fast, pair.stock):
            simulator.reset(seed, settle_steps=10)
            played = (simulator.step(expert(simulator, step, rng)) for step in range(200))
            lengths.append(next(step for step, success in enumerate(played) if success))
        assert lengths[0] == lengths[1]
