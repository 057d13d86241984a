"""Scenes drawn differently by MuJoCo's simulators: pictures change, physics does not."""

from dataclasses import replace

import numpy as np
import pytest

from pushcut.envs.bimanual.env import BimanualConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.randomised.config import SCENE_AXES, Randomisation
from pushcut.envs.randomised.draws import Draws
from pushcut.envs.randomised.scene import CameraChange, Scene, scene_of
from pushcut.errors import UserError
from pushcut.types import InitState
from tests.envs.libero.tasks import NEEDS_LIBERO

DOOR = InitState("door-close-v3", 3)
PLAIN = MetaWorldConfig(("door-close-v3",))
STRENGTHS = {
    "light_angle": 60.0, "light_intensity": 0.5, "table_colour": 1.0, "background_colour": 1.0,
    "camera_position": 0.05, "camera_angle": 5.0, "field_of_view": 0.1, "distractors": 3,
}  # fmt: skip


def along(axis: str) -> Randomisation:
    return Randomisation("exactly", **{axis: STRENGTHS[axis]})


def course(env, init: InitState, steps: int = 12):
    """What an expert's episode looks like, and its numbers."""
    env.reset(init)
    seen = [env.observe()]
    for _ in range(steps):
        if env.step_chunk(env.expert_action()[None]).done:
            break
        seen.append(env.observe())
    return seen


def states(seen) -> np.ndarray:
    return np.concatenate([each.state for each in seen])


def pictures(seen, camera: str) -> np.ndarray:
    return np.concatenate([each.images[camera] for each in seen]).astype(float)


def test_every_axis_of_simulators_has_a_strength_here():
    assert set(STRENGTHS) == set(SCENE_AXES)


def test_a_scene_is_drawn_by_the_seed_and_each_camera_has_its_own():
    given = Randomisation(camera_angle=5.0, distractors=4, light_intensity=0.3)
    one, again, other = (scene_of(Draws(given, seed), ("a", "b")) for seed in (1, 1, 2))
    assert one == again != other
    (a, b) = (change for _, change in one.cameras)
    assert a != b
    assert np.linalg.norm(a.turn) <= np.deg2rad(5)
    assert scene_of(Draws(Randomisation(), 1), ("a",)) == Scene(
        table=(0.0, one.table[1]), background=(0.0, one.background[1])
    )
    assert CameraChange().view == 1


@pytest.mark.sim
def test_metaworlds_scene_changes_its_pictures_and_nothing_else():
    env = PLAIN.build()
    wanted = course(env, DOOR)
    for axis in SCENE_AXES:
        env.show(scene_of(Draws(along(axis), 3), ("corner2",)))
        seen = course(env, DOOR)
        assert np.array_equal(states(seen), states(wanted)), axis
        change = np.abs(pictures(seen, "corner2") - pictures(wanted, "corner2")).mean()
        assert change > 0.2, f"{axis} changes {change:.3f} of 255"
    env.show(None)
    again = course(env, DOOR)
    assert np.array_equal(pictures(again, "corner2"), pictures(wanted, "corner2"))
    env.close()


@pytest.mark.sim
def test_an_episode_is_drawn_as_its_seed_says():
    given = Randomisation("exactly", **STRENGTHS)
    env, plain = replace(PLAIN, randomisation=given).build(), PLAIN.build()
    seen = course(env, DOOR, steps=2)
    plain.show(scene_of(Draws(given, DOOR.seed), ("corner2",)))
    assert np.array_equal(
        pictures(seen, "corner2"), pictures(course(plain, DOOR, steps=2), "corner2")
    )
    for one in (env, plain):
        one.close()


@pytest.mark.sim
def test_two_arms_have_all_but_a_background_and_distractors():
    with pytest.raises(UserError, match="cannot randomise distractors.*has light_angle, "):
        _ = BimanualConfig(randomisation=along("distractors")).spec
    plain = BimanualConfig(("lift-pot",), cameras=("head", "left_wrist"), image_size=32)
    init = InitState("lift-pot", 0)
    wanted = course(plain.build(), init, steps=3)
    given = Randomisation("exactly", table_colour=1.0, camera_angle=6.0)
    seen = course(replace(plain, randomisation=given).build(), init, steps=3)
    assert np.array_equal(states(seen), states(wanted))
    for camera in plain.cameras:
        assert np.abs(pictures(seen, camera) - pictures(wanted, camera)).mean() > 1


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_LIBERO
def test_libero_draws_other_lights_colours_and_cameras(kept_models):
    from pushcut.envs.libero.env import LiberoConfig

    plain = LiberoConfig(
        ("libero_object/0",), image_size=64, texture_size=128, cameras=("agentview", "wrist")
    )
    init = InitState(next(iter(plain.spec.tasks)), 0)
    env = plain.build()
    wanted = course(env, init, steps=2)
    for axis in set(LiberoConfig.scene_axes) & set(SCENE_AXES):
        env.show(scene_of(Draws(along(axis), 0), plain.cameras))
        seen = course(env, init, steps=2)
        assert np.array_equal(states(seen), states(wanted)), axis
        changes = [np.abs(pictures(seen, x) - pictures(wanted, x)).mean() for x in plain.cameras]
        assert max(changes) > 0.3, f"{axis} changes {changes} of 255"
    env.close()
