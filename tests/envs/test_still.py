"""Experts that hold still after their success."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pushcut.envs.episodes import EpisodicEnv
from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.pool.expert import run_expert
from pushcut.envs.still import stay_with, still_action
from pushcut.errors import UserError
from pushcut.types import EnvSpec, InitState

RED = "reach-red"
SPEC = PointMassConfig().spec
ARM = ("dx", "dy", "dz", "rx", "ry", "rz", "gripper")


def named(*names: str) -> EnvSpec:
    ones = (1.0,) * len(names)
    low = (-1.0,) * len(names)
    size = len(names)
    return replace(SPEC, action_names=names, action_size=size, action_low=low, action_high=ones)


def test_nothing_moves_and_the_gripper_stays():
    last = np.array([0.5, -1, 1, 0.1, 0.2, 0.3, -0.7], np.float32)
    still = still_action(named(*ARM), last)
    assert still.tolist() == [0, 0, 0, 0, 0, 0, np.float32(-0.7)]


def test_targets_of_joints_and_grippers_of_two_arms_stay_as_they_are():
    names = tuple(f"{side}_{what}" for side in ("left", "right") for what in ("joint_1", "gripper"))
    last = np.array([0.5, 1, -0.25, -1], np.float32)
    assert still_action(named(*names), last).tolist() == last.tolist()


def test_actions_without_known_names_are_refused():
    with pytest.raises(UserError, match="not known of actions like 'action_0', only of dx, dy"):
        still_action(named("action_0", "gripper"), np.zeros(2, np.float32))
    with pytest.raises(UserError, match="does not name the numbers"):
        still_action(replace(named("dx", "dy"), action_names=()), np.zeros(2, np.float32))


def test_an_environment_that_cannot_stay_is_refused(monkeypatch):
    monkeypatch.delattr(EpisodicEnv, "stay")
    with pytest.raises(UserError, match="has no method stay"):
        stay_with(PointMassConfig().build(), np.zeros(2, np.float32))


def test_a_success_goes_on_for_the_frames_that_were_asked_for():
    env = PointMassConfig().build()
    init = InitState(RED, 1)
    steps = []
    env.reset(init)
    simulator = env._now
    real = type(simulator).hold

    def counting(self, action, limit):
        steps.append(action.tolist())
        return real(self, action, limit)

    simulator.hold = counting.__get__(simulator)
    plain = run_expert(env, init, noise=0.0, rng=np.random.default_rng(0))
    held = run_expert(env, init, noise=0.0, rng=np.random.default_rng(0), hold_frames=15)
    count = len(plain.action)
    assert (len(held.action), len(held.observation)) == (count + 15, count + 15)
    assert held.success
    np.testing.assert_array_equal(held.action[:count], plain.action)
    assert held.action[count:].tolist() == [[0.0, 0.0]] * 15
    assert steps[-15:] == [[0.0, 0.0]] * 15
    assert len(steps) == 2 * count + 15


def test_a_failure_does_not_go_on():
    env = PointMassConfig(max_steps=2).build()
    failed = run_expert(
        env, InitState(RED, 1), noise=0.0, rng=np.random.default_rng(0), hold_frames=15
    )
    assert not failed.success
    assert len(failed.action) == 2
