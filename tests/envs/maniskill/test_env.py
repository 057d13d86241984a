"""ManiSkill: its config, and facts of the simulator where it is installed."""

from collections.abc import Iterator

import numpy as np
import pytest

from pushcut.envs.maniskill.env import STATE_NAMES, ManiSkillConfig
from pushcut.envs.pool.expert import run_expert
from pushcut.types import InitState
from tests.envs.isolated.simulators import NEEDS_MANISKILL, RemoteConfig, RemoteEnv

PICK, STACK = "PickCube-v1", "StackCube-v1"
TASKS = (PICK, STACK, "PushCube-v1", "PullCube-v1")


@pytest.fixture(scope="module")
def env() -> Iterator[RemoteEnv]:
    env = RemoteConfig(ManiSkillConfig(tasks=TASKS)).build()
    yield env
    env.close()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": ("PickCube",)}, "have .*PickCube-v1.*StackCube-v1"),
        ({"tasks": ()}, "at least one"),
        ({"tasks": (PICK, PICK)}, "different"),
        ({"cameras": ("wrist",)}, "have .*base_camera"),
        ({"image_size": 8}, "16..2048"),
        ({"max_steps": 0}, "max_steps"),
        ({"scenes": 0}, "scenes"),
    ],
)
def test_nonsense_is_refused(fields: dict, message: str):
    with pytest.raises(ValueError, match=message):
        ManiSkillConfig(**fields)


def test_states_need_no_camera_and_every_number_has_a_name():
    spec = ManiSkillConfig().spec
    assert spec.cameras == {}
    assert spec.state_size == len(set(STATE_NAMES)) == 29
    assert ManiSkillConfig(cameras=("base_camera",)).spec.cameras == {"base_camera": (64, 64)}


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
@pytest.mark.parametrize("task", TASKS)
def test_experts_solve_their_task_also_with_noise(env: RemoteEnv, task: str):
    rng = np.random.default_rng(0)
    for seed in range(3):
        assert run_expert(env, InitState(task, seed), noise=0.02, rng=rng).success


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_actions_move_and_turn_the_hand_as_the_table_says(env: RemoteEnv):
    def hand_after(*action: float) -> np.ndarray:
        env.reset(InitState(PICK, 1))
        env.step_chunk(np.array([action] * 5, np.float32))
        return env.observe().state[0, :8]

    still = hand_after(0, 0, 0, 0, 0, 0, 1)
    for axis in range(3):
        action = np.zeros(7)
        action[axis], action[6] = 0.5, 1
        moved = hand_after(*action)[:3] - still[:3]
        assert moved[axis] > 0.04
        assert np.abs(np.delete(moved, axis)).max() < 0.02
    # The hand points down, q = (0, cos, sin, 0): about world z by the right hand, angle / 2 each.
    turned = hand_after(0, 0, 0, 0, 0, 1, 1)
    before, after = (2 * np.arctan2(q[5], q[4]) for q in (still, turned))
    assert 0.1 < (after - before + np.pi) % (2 * np.pi) - np.pi < 0.6
    assert hand_after(0, 0, 0, 0, 0, 0, -1)[7] < 0.1 < 0.9 < still[7]


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_seeds_beyond_maniskills_are_different_states(env: RemoteEnv):
    seen = set()
    for seed in (0, 1, 1 << 31, 1 << 32, (1 << 32) + 1, 1 << 60):
        env.reset(InitState(PICK, seed))
        seen.add(env.observe().state.tobytes())
    assert len(seen) == 6


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_more_episodes_than_scenes_are_the_same_episodes():
    rng = np.random.default_rng(0)
    chunks = rng.uniform(-1, 1, (4, 3, 5, 7)).astype(np.float32)
    states = []
    for scenes in (1, 8):
        env = RemoteConfig(ManiSkillConfig(scenes=scenes)).build()
        parked = []
        for seed in range(3):
            env.reset(InitState(PICK, seed))
            parked.append(env.snapshot())
        for turn in chunks:
            for seed, chunk in enumerate(turn):
                env.restore(parked[seed])
                env.step_chunk(chunk)
                parked[seed] = env.snapshot()
        ends = []
        for snapshot in parked:
            env.restore(snapshot)
            ends.append(env.observe().state)
        states.append(np.concatenate(ends))
        env.close()
    np.testing.assert_array_equal(*states)
