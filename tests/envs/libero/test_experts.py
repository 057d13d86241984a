import importlib

import numpy as np
import pytest

from pushcut.envs.libero.env import LiberoConfig, LiberoEnv
from pushcut.envs.libero.experts import can_play
from pushcut.envs.libero.package import problem_classes, problem_file
from pushcut.envs.libero.tasks import FIXED_INITS, SUITE_OF, SUITES, expand_tasks
from pushcut.types import InitState
from tests.envs.libero.tasks import NEEDS_LIBERO

pytestmark = [NEEDS_LIBERO, pytest.mark.sim]


def play(env: LiberoEnv, steps: int) -> bool:
    """Lets the expert play; returns whether it succeeded."""
    for _ in range(steps):
        result = env.step_chunk(env.expert_action()[None])
        if result.done:
            return result.success
    return False


@pytest.mark.parametrize("name", ["libero_object/0", "libero_spatial/0"])
def test_expert_solves_a_benchmark_state_and_a_drawn_one(name: str, kept_models: None):
    env = LiberoConfig(tasks=(name,), max_steps=130).build()
    (task,) = expand_tasks((name,))
    for seed in (0, FIXED_INITS):
        env.reset(InitState(task, seed))
        assert play(env, 130)
    env.close()


def test_expert_asks_for_the_same_after_a_restore(kept_models: None):
    env = LiberoConfig(tasks=("libero_spatial/0",)).build()
    env.reset(InitState(next(iter(env.spec.tasks)), 0))
    actions, snapshots = [], []
    for step in range(45):  # beyond the grasp
        if step % 11 == 0:
            snapshots.append(env.snapshot())
            actions.append(env.expert_action())
        env.step_chunk(env.expert_action()[None])
    assert any(action[6] < 0 for action in actions)  # it closed the gripper
    for snapshot, action in zip(snapshots[::-1], actions[::-1], strict=True):
        env.restore(snapshot)
        np.testing.assert_array_equal(env.expert_action(), action)
    env.close()


def test_asking_the_expert_changes_nothing(kept_models: None):
    env = LiberoConfig(tasks=("libero_spatial/0",)).build()
    env.reset(InitState(next(iter(env.spec.tasks)), 0))
    before = env.snapshot()
    env.expert_action()
    np.testing.assert_array_equal(env.snapshot().state.physics, before.state.physics)
    env.close()


def test_expert_action_is_an_action_of_the_spec(kept_models: None):
    env = LiberoConfig(tasks=("libero_spatial/0",)).build()
    env.reset(InitState(next(iter(env.spec.tasks)), 0))
    action = env.expert_action()
    assert action.shape == (7,)
    assert action.dtype == np.float32
    assert np.abs(action).max() <= 1
    env.close()


def test_the_tasks_with_an_expert_are_those_whose_goal_it_can_reach():
    problem_classes()
    parse = importlib.import_module("libero.libero.envs.bddl_utils").robosuite_parse_problem
    able = [
        task
        for task, suite in SUITE_OF.items()
        if can_play(suite, parse(str(problem_file(task)))["goal_state"])
    ]
    config = LiberoConfig(tasks=tuple(SUITES))
    assert list(config.expert_tasks) == able
    assert len(able) == 25


def test_task_without_an_expert_says_so(kept_models: None):
    env = LiberoConfig(tasks=("libero_goal/7",)).build()  # turn on the stove
    env.reset(InitState("turn_on_the_stove", 0))
    with pytest.raises(NotImplementedError, match="no scripted expert for the goal.*turnon"):
        env.expert_action()
    env.close()
