"""The two-arm environment in its simulator; what all environments promise is tested elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from pushcut.envs.bimanual.arms import HOME, HOME_SPREAD, JOINT_HIGH, JOINT_LOW
from pushcut.envs.bimanual.env import BimanualConfig, BimanualEnv
from pushcut.envs.bimanual.tasks import TASKS
from pushcut.envs.init_states import demo_inits
from pushcut.envs.pool.expert import run_expert
from pushcut.types import InitState

pytestmark = pytest.mark.sim


def make(*tasks: str) -> BimanualEnv:
    return BimanualConfig(tasks, cameras=()).build()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_the_expert_solves_the_task(task: str, noise: float):
    env = make(task)
    rng = np.random.default_rng(0)
    solved = [
        run_expert(env, init, noise=noise, rng=rng).success for init in demo_inits(task, 0, 3)
    ]
    assert solved == [True, True, True]
    env.close()


@pytest.mark.parametrize("task", TASKS)
def test_doing_nothing_solves_nothing(task: str):
    env = make(task)
    env.reset(InitState(task, 0))
    still = env._now.data.ctrl[[*range(7), *range(8, 15)]]
    action = np.zeros(14, np.float32)
    for first in (0, 7):
        joints = still[first : first + 6]
        action[first : first + 6] = 2 * (joints - JOINT_LOW) / (JOINT_HIGH - JOINT_LOW) - 1
        action[first + 6] = 1
    before = env.observe().state
    result = env.step_chunk(np.tile(action, (env.spec.max_steps, 1)))
    assert result.truncated and not result.success
    np.testing.assert_allclose(env.observe().state, before, atol=1e-3)
    env.close()


def test_actions_are_joint_targets_between_the_limits_and_grippers_that_open_at_1():
    env = make("lift-pot")
    env.reset(InitState("lift-pot", 0))
    start = env.observe().state[0]
    assert (np.abs(start.reshape(2, 7)[:, :6] - HOME) <= HOME_SPREAD).all()
    assert start[[6, 13]].tolist() == [1, 1]
    # The left arm as it is, its gripper closed; the right waist to 0.25 · 1.6 rad, half open.
    joints = 2 * (start.reshape(2, 7)[:, :6] - JOINT_LOW) / (JOINT_HIGH - JOINT_LOW) - 1
    joints[1, 0] = 0.25
    action = np.concatenate([joints[0], [-1], joints[1], [0]]).astype(np.float32)
    env.step_chunk(np.tile(action, (40, 1)))
    state = env.observe().state[0]
    np.testing.assert_allclose(state[:7], [*start[:6], 0], atol=0.01)
    np.testing.assert_allclose(state[7:], [0.4, *start[8:13], 0.5], atol=0.01)
    env.close()


def test_a_step_limit_is_that_of_the_slowest_task_or_the_config_s():
    assert BimanualConfig(("lift-pot", "hand-over")).spec.max_steps == 250
    assert BimanualConfig(("lift-pot",), max_steps=75).spec.max_steps == 75


def test_a_config_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"unknown tasks \['fold'\]; have lift-pot, hand-over"):
        BimanualConfig(("fold",))
    with pytest.raises(ValueError, match=r"unknown cameras \['top'\]; have \['head', 'left_wrist'"):
        BimanualConfig(cameras=("top",))
    with pytest.raises(ValueError, match="max_steps must be >= 0, got -1"):
        BimanualConfig(max_steps=-1)
    with pytest.raises(ValueError, match="at least one"):
        BimanualConfig(())
