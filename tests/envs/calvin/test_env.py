"""CALVIN's config; where pybullet and a checkout are, whole episodes, to the bit."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pushcut.envs.calvin.assets import VARIABLE
from pushcut.envs.calvin.env import CalvinConfig, CalvinEnv
from pushcut.envs.calvin.tasks import TASKS
from pushcut.types import ChunkResult, InitState, Observation
from tests.envs.calvin.benchmark import NEEDS_CALVIN


@pytest.fixture(scope="module")
def chains() -> Iterator[CalvinEnv]:
    env = CalvinConfig(cameras=(), scenes=2, subtask_steps=30, state="all").build()
    yield env
    env.close()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": ("open_door",)}, "unknown tasks .*have chain, rotate_red_block_right"),
        ({"tasks": ()}, "at least one"),
        ({"tasks": ("chain", "open_drawer")}, "other time limits"),
        ({"scene": "E"}, "A, B, C, D, got 'E'"),
        ({"scene": "DD"}, "A, B, C, D, got 'DD'"),
        ({"wording": "mine"}, "wording must be one of validation, training"),
        ({"state": "joints"}, "state must be one of hand, all, objects"),
        ({"renderer": "cuda"}, "renderer must be one of tiny, egl"),
        ({"cameras": ("wrist",)}, "have static, gripper"),
        ({"image_size": 8}, "image_size must be in 16..2048"),
        ({"subtask_steps": 0}, "subtask_steps"),
    ],
)
def test_nonsense_is_refused(fields: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        CalvinConfig(**fields)


def test_the_spec_is_known_without_a_checkout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    spec = CalvinConfig().spec
    assert list(spec.tasks) == ["chain"]
    assert spec.wordings["chain"][12] == "move slider left"
    assert len(spec.wordings["chain"]) == 34
    assert (spec.max_steps, spec.control_hz, spec.sim_steps_per_control) == (5 * 360, 30.0, 8)
    assert spec.cameras == {"static": (200, 200), "gripper": (200, 200)}
    assert spec.stages == {"chain": 5}
    assert CalvinConfig(state="objects").spec.state_size == 7 + 24
    assert (spec.state_size, spec.fixed_inits) == (7, 1000)
    sub = CalvinConfig(tasks=tuple(TASKS), state="all").spec
    assert (sub.max_steps, sub.state_size, sub.fixed_inits) == (360, 15, 0)
    assert CalvinConfig(subtask_steps=480, max_steps=480).spec.max_steps == 480


def actions(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 7)).astype(np.float32)


def play(env: CalvinEnv, seed: int, count: int = 20) -> tuple[ChunkResult, Observation]:
    env.reset(InitState("chain", seed))
    return env.step_chunk(actions(seed, count)), env.observe()


@pytest.mark.sim
@NEEDS_CALVIN
def test_a_start_is_the_benchmarks(chains: CalvinEnv):
    chains.reset(InitState("chain", 0))
    seen = chains.observe()
    # Measured joints of the evaluation's robot_obs: first and last.
    np.testing.assert_allclose(seen.state[0, 7], -1.21779, atol=1e-4)
    np.testing.assert_allclose(seen.state[0, :3], [0.02587, -0.23131, 0.57128], atol=1e-4)
    scene = chains.snapshot()
    assert scene.init == InitState("chain", 0)


@pytest.mark.sim
@NEEDS_CALVIN
@pytest.mark.parametrize("seed", range(12))
def test_the_same_actions_give_the_same_to_the_bit(chains: CalvinEnv, seed: int):
    _, wanted = play(chains, seed)
    play(chains, seed + 100, 7)
    _, got = play(chains, seed)
    np.testing.assert_array_equal(got.state, wanted.state)


@pytest.mark.sim
@NEEDS_CALVIN
def test_episodes_that_take_turns_are_exact_with_fewer_scenes(chains: CalvinEnv):
    wanted = [play(chains, seed, 24)[1].state for seed in range(4)]
    kept = []
    for seed in range(4):
        chains.reset(InitState("chain", seed))
        kept.append(chains.snapshot())
    for first in range(0, 24, 6):
        for seed in range(4):
            chains.restore(kept[seed])
            chains.step_chunk(actions(seed, 24)[first : first + 6])
            kept[seed] = chains.snapshot()
    for seed in range(4):
        chains.restore(kept[seed])
        np.testing.assert_array_equal(chains.observe().state, wanted[seed])


@pytest.mark.sim
@NEEDS_CALVIN
def test_the_first_sub_task_that_takes_too_long_ends_a_chain(chains: CalvinEnv):
    chains.reset(InitState("chain", 3))
    idle = np.zeros((40, 7), np.float32)
    result = chains.step_chunk(idle)
    assert (result.steps, result.sim_steps) == (30, 240)
    assert (result.success, result.terminated, result.truncated) == (False, True, False)
    assert not result.reward.any()
    with pytest.raises(RuntimeError, match="over"):
        chains.step_chunk(idle)


@pytest.mark.sim
@NEEDS_CALVIN
def test_a_sub_task_is_truncated_by_its_time_limit():
    env = CalvinConfig(("open_drawer",), cameras=(), subtask_steps=5).build()
    env.reset(InitState("open_drawer", 3))
    result = env.step_chunk(np.zeros((9, 7), np.float32))
    assert (result.steps, result.terminated, result.truncated) == (5, False, True)
    env.close()


@pytest.mark.sim
@NEEDS_CALVIN
@pytest.mark.parametrize("task", TASKS)
def test_a_sub_task_starts_undone_and_possible(task: str):
    env = CalvinConfig((task,), cameras=(), scene="ABCD", scenes=1).build()
    for seed in range(4):
        env.reset(InitState(task, seed))
        hand = env._now.now
        result = env.step_chunk(np.tile(np.array([0, 0, 0, 0, 0, 0, -1], np.float32), (3, 1)))
        assert not result.done, seed
        if task.startswith("place_") or task == "stack_block":
            held = hand.start_state.held
            assert hand.begun.touched == {held}
            assert hand.begun.blocks[held].bodies == {"robot"}
        begun = hand.begun.blocks
        if task.startswith("lift"):
            _, colour, _, place = task.split("_")
            link = {"table": "base_link", "slider": "plank_link", "drawer": "drawer_link"}[place]
            assert ("table", link) in begun[colour].contacts, seed
        if task.startswith("push") or task.startswith("rotate"):
            assert any(("table", "base_link") in block.contacts for block in begun.values()), seed
        if task == "unstack_block":
            assert any(block.bodies and block.bodies <= set(begun) for block in begun.values())
    env.close()
