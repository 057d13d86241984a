"""PutOnPlate: its config; where ManiSkill is installed, episodes and pictures by made-up files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pushcut.envs.maniskill.put_on_plate.env import ALL, MAIN, PutOnPlateConfig
from pushcut.envs.maniskill.put_on_plate.names import OBJECTS
from pushcut.envs.pool.expert import run_expert
from pushcut.envs.pool.pool import EnvPool
from pushcut.types import InitState
from tests.envs.isolated.simulators import (
    NEEDS_MANISKILL,
    RemoteConfig,
    RemoteEnv,
    require_vulkan,
)
from tests.envs.maniskill.put_on_plate.made_up import grey_of

CAMERA = "3rd_view_camera"


def built(**fields: Any) -> RemoteEnv:
    return RemoteConfig(PutOnPlateConfig(stand_ins=True, **fields)).build()


@pytest.fixture(scope="module")
def blind(plate_assets: Path) -> Iterator[RemoteEnv]:
    env = built(tasks=tuple(ALL), cameras=(), state="objects", scenes=2)
    yield env
    env.close()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": ("Main",)}, "unknown variants .*have Main-v3-train, Instruct-v1-test"),
        ({"tasks": ()}, "at least one"),
        ({"objects": 17}, "objects must be in 1..16"),
        ({"receptacles": 18}, "receptacles must be in 1..17"),
        ({"tables": 0}, "tables must be in 1..16"),
        ({"objects": 1, "tasks": ("MultiCarrot-v1-train",)}, "two objects"),
        ({"cameras": ("wrist",)}, "have 3rd_view_camera"),
        ({"image_size": 100}, "multiple of 8"),
        ({"max_steps": 0}, "max_steps"),
    ],
)
def test_nonsense_is_refused(fields: dict, message: str):
    with pytest.raises(ValueError, match=message):
        PutOnPlateConfig(**fields)


def test_the_spec_is_the_benchmarks_with_a_sentence_for_each_pair():
    spec = PutOnPlateConfig(objects=2, receptacles=3).spec
    assert spec.tasks == {MAIN: "put carrot on plate"}
    assert spec.wordings[MAIN] == (
        "put carrot on plate", "put carrot on cloth", "put carrot on carpet",
        "put kitchen shovel on plate", "put kitchen shovel on cloth",
        "put kitchen shovel on carpet",
    )  # fmt: skip
    assert (spec.max_steps, spec.control_hz, spec.sim_steps_per_control) == (80, 5.0, 100)
    assert not PutOnPlateConfig(objects=1, receptacles=1).spec.wordings


def test_memory_grows_with_the_models_that_are_drawn():
    own, each = PutOnPlateConfig(image_size=128).memory_mb
    small = PutOnPlateConfig(image_size=128, objects=4, receptacles=4).memory_mb[1]
    # 33 models and 8: 20 MB each. Measured with two scenes: 1385 MB in the end.
    assert each - small == 25 * 20
    assert 1300 < own + PutOnPlateConfig(image_size=128, scenes=2).memory_mb[1] < 1500


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
@pytest.mark.parametrize("task", [MAIN, "MultiCarrot-v1-test", "PositionChangeTo-v1-test"])
def test_the_expert_solves_it_and_says_what_it_does(blind: RemoteEnv, task: str):
    variant, rng = ALL[task].sized(16, 17, 16), np.random.default_rng(0)
    solved = 0
    for seed in range(4):
        demonstration = run_expert(blind, InitState(task, seed), noise=0.0, rng=rng)
        episode = variant.of_seed(seed)
        assert set(demonstration.observation.instruction) == {variant.instruction(episode)}
        assert OBJECTS[episode.obj] in demonstration.observation.instruction[0]
        solved += demonstration.success
    assert solved >= 3


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
@pytest.mark.parametrize("task", ALL)
def test_episodes_in_turns_are_exact_also_where_scenes_are_played_again(
    blind: RemoteEnv, task: str
):
    """Three episodes of one variant with two scenes: each comes back, to the bit."""
    rng = np.random.default_rng(0)
    chunks = rng.normal(0, 0.02, (3, 4, 2, 7)).astype(np.float32)  # beyond MOVED_AFTER
    inits = [InitState(task, 3), InitState(task, 2**32), InitState(task, 3)]

    def alone(number: int) -> np.ndarray:
        blind.reset(inits[number])
        for chunk in chunks[number]:
            blind.step_chunk(chunk)
        return np.concatenate([blind.observe().state[0], blind.expert_action()])

    expected = [alone(number) for number in range(3)]
    snapshots = []
    for init in inits:
        blind.reset(init)
        snapshots.append(blind.snapshot())
    for step in range(4):
        for number in range(3):
            blind.restore(snapshots[number])
            blind.step_chunk(chunks[number, step])
            snapshots[number] = blind.snapshot()
    for number in range(3):
        blind.restore(snapshots[number])
        # The expert looks at the object, too.
        found = np.concatenate([blind.observe().state[0], blind.expert_action()])
        np.testing.assert_array_equal(found, expected[number])


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_things_come_to_rest_before_the_episode_where_that_is_asked(plate_assets: Path):
    def looks(settle: bool) -> tuple[np.ndarray, np.ndarray]:
        """What the expert would do at the start and after a step without motion."""
        env = built(cameras=(), scenes=1, settle=settle)
        env.reset(InitState(MAIN, 1))
        before = env.expert_action()
        env.step_chunk(np.zeros((2, 7), np.float32) + np.eye(7, dtype=np.float32)[6])
        after = env.expert_action()
        env.close()
        return before, after

    before, after = looks(settle=True)
    np.testing.assert_allclose(before, after, atol=2e-3)
    falling, fallen = looks(settle=False)
    assert abs(falling - fallen).max() > 2e-3


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_the_shaped_reward_is_given_on_the_way_and_again_after_a_restore(plate_assets: Path):
    env = built(cameras=(), scenes=1, reward="rlinf")
    rng = np.random.default_rng(0)
    actions = run_expert(env, InitState(MAIN, 1), noise=0.0, rng=rng).action
    env.reset(InitState(MAIN, 1))
    snapshots, rewards = [], []
    for action in actions:
        snapshots.append(env.snapshot())
        rewards.append(env.step_chunk(action[None]).reward[0])
    rewards, again = np.array(rewards), []
    for snapshot, action in zip(snapshots, actions, strict=True):
        env.reset(InitState(MAIN, 2))  # the one scene is another's: everything is played again
        env.restore(snapshot)
        again.append(env.step_chunk(action[None]).reward[0])
    env.close()
    np.testing.assert_array_equal(rewards, again)
    assert (rewards.max(), rewards.min()) != (1.0, 0.0)
    assert np.isclose(rewards, 0.1).sum() >= 2  # grasped, then held for five steps


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_pictures_show_the_episodes_table_and_what_the_variant_lays_over(plate_assets: Path):
    require_vulkan()
    tasks = (MAIN, "VisionTexture05-v1-test", "VisionWhole05-v1-test", "VisionImage-v1-test")
    env = built(tasks=tasks, image_size=64, shader="minimal", scenes=1)
    for task in tasks:
        env.reset(InitState(task, 0))
        image = env.observe().images[CAMERA][0]
        assert (image[:8] == 0).all()  # 64 x 48 between black bars
        episode = ALL[task].sized(16, 17, 16).of_seed(0)
        behind = (image[8:-8] == grey_of(episode.table)).all(-1).mean()
        if "Whole" in task:
            assert behind < 0.2
        else:
            assert 0.5 < behind < 0.99, f"{task}: {behind:.0%} of the picture is the photograph"
    env.close()


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_a_worker_that_is_killed_is_replaced_and_plays_the_same(plate_assets: Path):
    import os
    import signal

    config = PutOnPlateConfig(stand_ins=True, cameras=(), state="objects", scenes=2)
    rng = np.random.default_rng(3)
    chunks = rng.normal(0, 0.02, (4, 2, 7)).astype(np.float32)

    def played(kill: bool) -> np.ndarray:
        with EnvPool(config, slots=1, workers=1, timeout_s=120.0) as pool:
            step = 0
            pool.reset(0, InitState(MAIN, 7))
            while True:
                (reply,) = pool.wait()
                if reply.kind == "lost":
                    step = 0
                    pool.reset(0, InitState(MAIN, 7))
                    continue
                if step == len(chunks):
                    return pool.observation([0]).state
                if kill and step == 2:
                    os.kill(pool.worker_pids()[0], signal.SIGKILL)
                    kill = False
                pool.step(0, chunks[step])
                step += 1

    np.testing.assert_array_equal(played(kill=True), played(kill=False))
