"""Batches of ManiSkill's scenes: on the CPU to the bit, and the code for GPUs with one scene."""

import subprocess

import numpy as np
import pytest

from pushcut.envs.contract import EnvCase
from pushcut.envs.contract.worker import a_batch_plays_the_same
from pushcut.envs.isolated.simulators import installed
from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.envs.maniskill.panda import state_rows
from pushcut.errors import UserError
from tests.envs.isolated.simulators import NEEDS_MANISKILL
from tests.envs.maniskill.in_its_interpreter import numbers_of

PICK, STACK = "PickCube-v1", "StackCube-v1"


def test_states_of_many_scenes_are_rows_in_the_order_of_their_names():
    poses = np.arange(42, dtype=float).reshape(3, 2, 7)
    fingers, held = np.array([[0.04, 0.04], [0.01, 0.01]]), np.array([True, False])
    rows = state_rows(*poses, fingers=fingers, held=held)
    names = ManiSkillConfig().spec.state_names
    at = {name: rows[:, names.index(name)].tolist() for name in names}
    assert rows.shape == (2, 29)
    assert (at["gripper"], at["held"]) == ([1.0, 0.25], [1.0, 0.0])
    assert (at["x"], at["cube_qz"], at["target_y"]) == ([0, 7], [20, 27], [29, 36])
    assert at["hand_to_cube_x"] == at["cube_to_target_z"] == [14, 14]


@pytest.mark.parametrize("fields", [{"tasks": (PICK, STACK)}, {"cameras": ("base_camera",)}])
def test_a_batch_on_a_gpu_plays_one_task_from_states(fields: dict):
    with pytest.raises(ValueError, match="one task, from states"):
        ManiSkillConfig(batch="cuda", **fields)


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_a_batch_on_the_cpu_plays_what_scenes_alone_play_to_the_bit():
    case = EnvCase.of(ManiSkillConfig((PICK, STACK), batch="cpu"))
    assert a_batch_plays_the_same(case) is None
    case.env.close()


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
@pytest.mark.parametrize("task", [PICK, STACK])
def test_the_batch_for_gpus_is_the_single_scene_to_float32s_rounding_on_a_cpu(task: str):
    seen = numbers_of("scenes_of_both.py", task)
    assert np.abs(seen["batch"] - seen["single"]).max() < 1e-4
    assert np.ptp(seen["single"][0, :, :3], axis=0).max() > 0.02, "it moved"
    assert np.abs(seen["single"][0, 0] - seen["single"][1, 0]).max() > 0.01, "other starts"


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_a_batch_on_a_gpu_that_is_not_there_is_refused_before_anything_is_loaded():
    found = installed("maniskill")
    assert found is not None
    asks = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    if subprocess.run([found.python, "-c", asks], check=False).returncode == 0:
        pytest.skip("here is a GPU")
    with pytest.raises(UserError, match="--env.batch cuda: .* finds no CUDA device"):
        ManiSkillConfig(batch="cuda").check_drawing(films=False)
