"""Each sub-task's expert, where pybullet and a checkout are; the servo without them."""

import numpy as np
import pytest

from pushcut.envs.calvin.env import CalvinConfig
from pushcut.envs.calvin.experts import EXPERTS
from pushcut.envs.calvin.experts.servo import approach, down, wrapped
from pushcut.envs.calvin.tasks import TASKS
from pushcut.envs.pool.expert import run_expert
from pushcut.types import InitState
from tests.envs.calvin.benchmark import NEEDS_CALVIN


def test_every_sub_task_has_an_expert():
    assert set(EXPERTS) == set(TASKS)
    assert CalvinConfig(("open_drawer",), scene="A").expert_tasks == ("open_drawer",)
    assert CalvinConfig(scene="ABC").expert_tasks == ("chain",)


def test_a_tilted_hand_points_away_from_us():
    np.testing.assert_allclose(approach(down()), [0, 0, -1], atol=1e-12)
    # At rest the hand's yaw is pi/2: its tips go along y, by the sine of the tilt.
    np.testing.assert_allclose(
        approach(down(pitch=-np.pi / 6)), [0, 0.5, -np.sqrt(0.75)], atol=1e-12
    )


def test_angles_wrap_around():
    np.testing.assert_allclose(
        wrapped(np.array([1.5 * np.pi, -1.5 * np.pi])), np.pi * np.array([-0.5, 0.5])
    )


@pytest.mark.sim
@NEEDS_CALVIN
@pytest.mark.parametrize("task", TASKS)
def test_an_expert_does_its_sub_task(task: str):
    env = CalvinConfig((task,), cameras=(), scenes=1, subtask_steps=150).build()
    rng = np.random.default_rng(0)
    runs = [run_expert(env, InitState(task, seed), noise=0.0, rng=rng) for seed in range(2)]
    env.close()
    assert any(run.success for run in runs)


@pytest.mark.sim
@NEEDS_CALVIN
def test_experts_play_a_whole_chain_and_the_instruction_changes():
    config = CalvinConfig(cameras=(), scenes=1, subtask_steps=150)
    env = config.build()
    env.reset(InitState("chain", 0))
    episode = env._now.now
    rewards, told = [], []
    result = None
    while result is None or not result.done:
        told.append((env.observe().instruction[0], episode.subtask))
        result = env.step_chunk(env.expert_action()[None])
        rewards.append(float(result.reward[0]))
    assert result.success and result.terminated
    assert sum(rewards) == 5 and set(rewards) == {0.0, 1.0}
    assert len(dict.fromkeys(told)) == 5
    assert list(dict.fromkeys(subtask for _, subtask in told)) == list(episode.start_state.subtasks)
    # The demonstration says at each step what is to be done then.
    shown = run_expert(env, InitState("chain", 0), noise=0.0, rng=np.random.default_rng(0))
    assert shown.success and shown.observation.instruction == [sentence for sentence, _ in told]
    env.close()


@pytest.mark.sim
@NEEDS_CALVIN
@pytest.mark.parametrize("scene", ["A", "B", "C"])
def test_experts_play_the_first_chain_in_the_other_scenes(scene: str):
    env = CalvinConfig(cameras=(), scenes=1, subtask_steps=150, scene=scene).build()
    shown = run_expert(env, InitState("chain", 0), noise=0.0, rng=np.random.default_rng(0))
    env.close()
    assert shown.success
    assert len(set(shown.observation.instruction)) == 5


@pytest.mark.sim
@NEEDS_CALVIN
def test_a_block_behind_the_door_is_lifted_after_the_door_was_moved():
    # The block is put on the open, left half; then the door is moved in front of it.
    env = CalvinConfig(cameras=(), scenes=1).build()
    shown = run_expert(env, InitState("chain", 907), noise=0.0, rng=np.random.default_rng(0))
    subtasks = env._now.now.start_state.subtasks
    env.close()
    assert subtasks[2:] == ("place_in_slider", "move_slider_left", "lift_pink_block_slider")
    assert shown.success
