"""Pictures of simplified meshes: the model and its physics never change, the picture little."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.metaworld.env import MetaWorldConfig, MetaWorldEnv
from pushcut.types import InitState

pytestmark = pytest.mark.sim

TASK = "button-press-topdown-v3"
DETAIL = 0.004


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "pushcut" / "meshes"


def make(**fields: Any) -> MetaWorldEnv:
    return MetaWorldConfig(tasks=(TASK,), **fields).build()


def model_bytes(env: MetaWorldEnv) -> str:
    import mujoco

    model: Any = env._simulator(TASK).model
    content = np.empty(mujoco.mj_sizeModel(model), np.uint8)  # pyright: ignore
    mujoco.mj_saveModel(model, None, content)  # pyright: ignore
    return hashlib.sha256(content.tobytes()).hexdigest()


def test_few_faces_are_left_and_the_model_is_the_same_to_the_bit(cache: Path):
    from pushcut.envs.mujoco.drawn import drawn_meshes

    env = make()
    env.reset(InitState(TASK, 0))
    model = env._simulator(TASK).model
    before = model_bytes(env)
    assert model.mesh_facenum.sum() == 67895
    with drawn_meshes(model, DETAIL):
        assert 20_000 < model.mesh_facenum.sum() < 30_000
        assert model_bytes(env) != before
    assert model_bytes(env) == before
    with drawn_meshes(model, 0.008):
        assert 10_000 < model.mesh_facenum.sum() < 19_000
    with drawn_meshes(model, 0.0):
        assert model_bytes(env) == before
    with pytest.raises(RuntimeError, match="no room"), drawn_meshes(model, DETAIL):
        raise RuntimeError("no room on the card")
    assert model_bytes(env) == before
    env.close()


@pytest.mark.parametrize("render", ["cheap", "stock"])
def test_physics_are_the_same_to_the_bit_and_pictures_nearly(cache: Path, render: str):
    full, simple = make(render=render), make(render=render, mesh_detail=DETAIL)
    pictures: list[list[np.ndarray]] = [[], []]
    physics: list[list[np.ndarray]] = [[], []]
    for index, env in enumerate((full, simple)):
        env.reset(InitState(TASK, 5))
        for _ in range(8):
            env.step_chunk(np.stack([env.expert_action()] * 3))
            pictures[index].append(env.observe().images["corner2"][0].astype(int))
            physics[index].append(env.snapshot().state.physics)
    np.testing.assert_array_equal(physics[0], physics[1])
    difference = np.abs(np.stack(pictures[0]) - np.stack(pictures[1]))
    assert 0 < difference.mean() < 0.6
    assert (difference > 16).mean() < 0.01
    motion = np.abs(np.diff(pictures[0], axis=0)).mean()
    assert difference.mean() < motion / 4
    full.close()
    simple.close()


PICTURE = """
import hashlib
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.types import InitState
env = MetaWorldConfig(tasks=("{task}",), mesh_detail={detail}).build()
env.reset(InitState("{task}", 3))
print(hashlib.sha256(env.observe().images["corner2"].tobytes()).hexdigest())
env.close()
"""


def test_every_process_draws_the_same_picture_with_the_files_and_without(cache: Path):
    env = make(mesh_detail=DETAIL)
    env.reset(InitState(TASK, 3))
    picture = env.observe().images["corner2"].tobytes()
    env.release(TASK)
    env.reset(InitState(TASK, 3))
    assert env.observe().images["corner2"].tobytes() == picture
    env.close()
    assert len(list(cache.glob("*.mesh"))) >= 14
    for file in list(cache.iterdir()):
        file.unlink()
    done = subprocess.run(
        [sys.executable, "-c", PICTURE.format(task=TASK, detail=DETAIL)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-1] == hashlib.sha256(picture).hexdigest()


@pytest.mark.parametrize("config", [MetaWorldConfig, LiberoConfig])
def test_details_are_drawn_unless_said_otherwise_and_refused_where_nothing_would_be_left(
    config: Any,
):
    assert config().mesh_detail == 0
    for wrong in (-0.001, 0.06, float("nan")):
        with pytest.raises(ValueError, match="mesh_detail must be from 0 to 0.05"):
            config(mesh_detail=wrong)
