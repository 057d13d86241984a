"""SIMPLER: its config; where ManiSkill is installed, physics and pictures by made-up files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pushcut.envs.maniskill.simpler.env import SimplerConfig
from pushcut.envs.maniskill.simpler.tasks import TASKS
from pushcut.envs.maniskill.widowx.env import CAMERA
from pushcut.envs.maniskill.widowx.state import STATES
from pushcut.envs.pool.expert import run_expert
from pushcut.types import InitState
from tests.envs.isolated.simulators import (
    NEEDS_MANISKILL,
    RemoteConfig,
    RemoteEnv,
    require_vulkan,
)
from tests.envs.maniskill.simpler.made_up import GREY

SPOON, CARROT, CUBE, EGGPLANT = TASKS


def built(**fields: Any) -> RemoteEnv:
    return RemoteConfig(SimplerConfig(stand_ins=True, **fields)).build()


@pytest.fixture(scope="module")
def blind(simpler_assets: Path) -> Iterator[RemoteEnv]:
    env = built(cameras=(), state="objects", scenes=2)
    yield env
    env.close()


@pytest.fixture(scope="module")
def seeing(simpler_assets: Path) -> Iterator[RemoteEnv]:
    require_vulkan()
    env = built(image_size=64, shader="minimal")
    yield env
    env.close()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": ("PutCarrot",)}, "have .*PutCarrotOnPlateInScene-v1"),
        ({"tasks": ()}, "at least one"),
        ({"cameras": ("wrist",)}, "have 3rd_view_camera"),
        ({"image_size": 100}, "multiple of 8"),
        ({"aspect": "crop"}, "pad, squeeze"),
        ({"shader": "rt"}, "default, minimal"),
        ({"render_device": "gpu"}, "cuda:N"),
        ({"max_steps": 0}, "max_steps"),
    ],
)
def test_nonsense_is_refused(fields: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SimplerConfig(**fields)


def test_the_spec_is_the_benchmarks():
    spec = SimplerConfig().spec
    assert list(spec.tasks) == [SPOON, CARROT, CUBE, EGGPLANT]
    assert spec.tasks[CARROT] == "put carrot on plate"
    assert spec.cameras == {CAMERA: (640, 640)}
    assert spec.state_size == len(set(STATES["joints"])) == 8
    assert (spec.max_steps, spec.control_hz, spec.sim_steps_per_control) == (60, 5.0, 100)
    assert spec.fixed_inits == 24


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
@pytest.mark.parametrize("task", TASKS)
def test_the_expert_solves_published_and_drawn_states(blind: RemoteEnv, task: str):
    rng = np.random.default_rng(0)
    for seed in (0, 5, 2**32 + 1, 2**32 + 2):
        played = run_expert(blind, InitState(task, seed), noise=0.0, rng=rng)
        assert played.success
        felt = dict(zip(STATES["objects"], played.observation.state.T, strict=True))
        held, way = felt["held"], [felt[f"tip_to_source_{axis}"] for axis in "xyz"]
        assert held[0] == 0
        assert held.max() == 1
        assert np.linalg.norm(way, axis=0)[held == 1].max() < 0.06
        # Whoever is carried has come nearer to where it is to be.
        left = np.hypot(felt["source_to_target_x"], felt["source_to_target_y"])
        assert left[-1] < 0.05 < left[0]


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_actions_move_the_hand_along_the_base_and_the_gripper_opens(blind: RemoteEnv):
    def joints_after(*action: float) -> np.ndarray:
        blind.reset(InitState(CARROT, 1))
        blind.step_chunk(np.array([action] * 4, np.float32))
        return blind.observe().state[0]

    still = joints_after(0, 0, 0, 0, 0, 0, 1)
    closed = joints_after(0, 0, 0, 0, 0, 0, -1)
    # Fingers, metres: 0.037 open and 0.015 closed, each with 1 mm more for a firm grip.
    assert still[6:8] == pytest.approx(0.037, abs=2e-3)
    assert closed[6:8] == pytest.approx(0.015, abs=2e-3)
    # Pointing down, it turns about the vertical by its last joint, which lags behind its goal.
    turned = joints_after(0, 0, 0, 0, 0, 0.1, 1)
    assert 0.25 < abs(turned[5] - still[5]) < 0.45
    # To the robot's left: the waist turns, by the right hand about the vertical.
    assert joints_after(0, 0.02, 0, 0, 0, 0, 1)[0] - still[0] > 0.1


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_episodes_in_turns_are_exact_also_where_scenes_are_played_again(blind: RemoteEnv):
    """Three episodes of one task with two scenes: each is put aside and comes back, to the bit."""
    rng = np.random.default_rng(0)
    chunks = rng.normal(0, 0.02, (3, 4, 3, 7)).astype(np.float32)
    inits = [InitState(CARROT, 3), InitState(CARROT, 2**32), InitState(CARROT, 3)]

    def alone(number: int) -> np.ndarray:
        blind.reset(inits[number])
        for chunk in chunks[number]:
            blind.step_chunk(chunk)
        return blind.observe().state

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
        np.testing.assert_array_equal(blind.observe().state, expected[number])


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_the_photograph_is_behind_robot_and_objects_of_each_task_alone(seeing: RemoteEnv):
    """Also after another task: what that one kept of its objects must not be seen in this one."""
    for task in (CARROT, EGGPLANT, CARROT, CUBE):
        seeing.reset(InitState(task, 0))
        image = seeing.observe().images[CAMERA][0]
        assert (image[:8] == 0).all()  # 64 x 48 between black bars
        assert (image[-8:] == 0).all()
        grey = GREY[TASKS[task].scene]
        behind = (image[8:-8] == grey).all(-1).mean()
        assert 0.5 < behind < 0.99, f"{task}: {behind:.0%} of the picture is the photograph"


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_squeezed_and_padded_pictures_show_the_same(simpler_assets: Path):
    require_vulkan()
    pictures = []
    for aspect in ("pad", "squeeze"):
        env = built(tasks=(CARROT,), image_size=256, aspect=aspect, shader="minimal")
        env.reset(InitState(CARROT, 3))
        image = env.observe().images[CAMERA][0].astype(float)
        env.close()
        pictures.append(image[32:-32] if aspect == "pad" else image.reshape(256, 256, 3))
    padded, squeezed = pictures
    grey = GREY["flat_table"]

    def objects(image: np.ndarray) -> np.ndarray:
        """Share of each column's and of each fourth of the rows' pixels that is no photograph."""
        own = (np.abs(image - grey) > 2).any(-1)
        return np.array([part.mean() for part in np.array_split(own, 8)])

    np.testing.assert_allclose(objects(padded), objects(squeezed), atol=0.02)
