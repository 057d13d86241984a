"""CALVIN's pictures, where pybullet and a checkout are."""

from collections.abc import Iterator

import numpy as np
import pytest

from pushcut.envs.calvin.env import CalvinConfig, CalvinEnv
from pushcut.types import InitState
from tests.envs.calvin.benchmark import NEEDS_CALVIN

pytestmark = [pytest.mark.sim, NEEDS_CALVIN]

LED_ON, LED_OFF = InitState("turn_off_led", 3), InitState("turn_on_led", 3)


@pytest.fixture(scope="module")
def env() -> Iterator[CalvinEnv]:
    tasks = ("turn_on_led", "turn_off_led")
    env = CalvinConfig(tasks, scene="AD", image_size=100, gripper_pixels=48, scenes=1).build()
    yield env
    env.close()


def seen(env: CalvinEnv, init: InitState) -> dict[str, np.ndarray]:
    env.reset(init)
    return env.observe().images


def test_pictures_do_not_depend_on_what_was_drawn_before(env: CalvinEnv):
    first = seen(env, LED_ON)
    assert first["static"].shape == (1, 100, 100, 3)
    assert first["gripper"].shape == (1, 100, 100, 3)
    env.step_chunk(np.ones((10, 7), np.float32))
    env.observe()
    seen(env, LED_OFF)
    again = seen(env, LED_ON)
    for camera, image in first.items():
        np.testing.assert_array_equal(again[camera], image)


def greens(image: np.ndarray) -> int:
    r, g, b = image[0].astype(int).transpose(2, 0, 1)
    return int(((g > r + 80) & (g > b + 80)).sum())


def test_the_led_is_green_where_it_is_on(env: CalvinEnv):
    assert greens(seen(env, LED_ON)["static"]) > 20
    assert greens(seen(env, LED_OFF)["static"]) == 0


def test_the_gripper_camera_moves_with_the_hand(env: CalvinEnv):
    before = seen(env, LED_ON)
    env.step_chunk(np.tile(np.array([0, 0, -1, 0, 0, 0, 1], np.float32), (4, 1)))
    after = env.observe().images
    # The static camera sees the arm move in front of a table that stands still.
    apart = {c: (before[c] != after[c]).any(axis=-1).mean() for c in before}
    assert apart["gripper"] > 0.3
    assert 0 < apart["static"] < 0.3


def test_a_film_has_the_size_that_is_asked_for(env: CalvinEnv):
    env.reset(LED_ON)
    assert env.render(64).shape == (64, 64, 3)
