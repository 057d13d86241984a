"""The point mass: its physics, its images, its expert."""

import math

import numpy as np
import pytest

from pushcut.envs.point_mass import PALETTE, PointMassConfig
from pushcut.envs.pool.expert import run_expert
from pushcut.types import InitState

RED, BLUE = "reach-red", "reach-blue"


def where(image: np.ndarray, colour: tuple[int, int, int]) -> tuple[float, float]:
    """Centre (x, y) in metres of the pixels that have exactly this colour."""
    rows, columns = np.nonzero((image == np.array(colour)).all(axis=-1))
    size = len(image)
    return (
        float((columns.mean() + 0.5) * 2 / size - 1),
        float(1 - (rows.mean() + 0.5) * 2 / size),
    )


def test_an_action_of_one_moves_the_point_by_one_step_size():
    env = PointMassConfig(step_size=0.1).build()
    env.reset(InitState(RED, 0))
    before = env.observe().state[0]
    env.step_chunk(np.array([[1.0, 0.0], [0.5, -1.0]], np.float32))
    # 0.1 * (1 + 0.5) to the right, 0.1 * 1 down
    np.testing.assert_allclose(env.observe().state[0] - before, [0.15, -0.1], atol=1e-6)


def test_actions_beyond_the_bounds_count_as_the_bounds():
    env = PointMassConfig(step_size=0.1).build()
    env.reset(InitState(RED, 0))
    before = env.observe().state[0]
    env.step_chunk(np.array([[7.0, -7.0]], np.float32))
    np.testing.assert_allclose(env.observe().state[0] - before, [0.1, -0.1], atol=1e-6)


def test_walls_stop_the_point():
    env = PointMassConfig(max_steps=100).build()
    env.reset(InitState(RED, 0))
    result = env.step_chunk(np.tile(np.array([[1.0, 1.0]], np.float32), (50, 1)))
    assert not result.done  # no goal lies in the corner
    np.testing.assert_array_equal(env.observe().state[0], [1.0, 1.0])


def test_image_shows_the_point_and_every_goal_with_y_up():
    env = PointMassConfig(image_size=128).build()
    env.reset(InitState(RED, 3))
    env.step_chunk(np.array([[0.0, 1.0]] * 2, np.float32))
    observation = env.observe()
    image, state = observation.images["top"][0], observation.state[0]
    np.testing.assert_allclose(where(image, (255, 255, 255)), state, atol=0.02)
    red, blue = where(image, PALETTE["red"]), where(image, PALETTE["blue"])
    assert math.hypot(*red) == pytest.approx(0.7, abs=0.05)
    # Two goals are opposite each other.
    np.testing.assert_allclose(red, np.negative(blue), atol=0.05)


def test_reaching_the_goal_in_the_instruction_succeeds_and_the_other_does_not():
    env = PointMassConfig(max_steps=30).build()
    env.reset(InitState(RED, 4))
    to_red = env.expert_action()
    env.reset(InitState(BLUE, 4))
    to_blue = env.expert_action()
    assert np.dot(to_red, to_blue) < 0
    chunk = run_expert(env, InitState(BLUE, 4), noise=0.0, rng=np.random.default_rng(0)).action
    env.reset(InitState(BLUE, 4))
    assert env.step_chunk(chunk).success
    env.reset(InitState(RED, 4))
    assert not env.step_chunk(chunk).success


def test_tasks_of_one_seed_differ_in_the_instruction_only():
    env = PointMassConfig().build()
    env.reset(InitState(RED, 5))
    red = env.observe()
    env.reset(InitState(BLUE, 5))
    blue = env.observe()
    np.testing.assert_array_equal(red.images["top"], blue.images["top"])
    np.testing.assert_array_equal(red.state, blue.state)
    assert red.instruction == ["move the point to the red goal"]
    assert blue.instruction == ["move the point to the blue goal"]


def test_the_expert_always_succeeds_and_chance_hardly_ever():
    env = PointMassConfig().build()
    rng = np.random.default_rng(0)
    lucky = 0
    for seed in range(200):
        assert run_expert(env, InitState(RED, seed), noise=0.0, rng=rng).success
        env.reset(InitState(RED, seed))
        lucky += env.step_chunk(rng.uniform(-1, 1, (20, 2)).astype(np.float32)).success
    assert lucky <= 10  # under 5 %


def test_a_finished_episode_takes_no_more_steps():
    env = PointMassConfig(max_steps=1).build()
    env.reset(InitState(RED, 0))
    assert env.step_chunk(np.zeros((3, 2), np.float32)).truncated
    with pytest.raises(RuntimeError, match="call reset"):
        env.step_chunk(np.zeros((1, 2), np.float32))


@pytest.mark.parametrize(
    "fields",
    [
        {"colours": ()},
        {"colours": ("red", "red")},
        {"colours": ("red", "mauve")},
        {"image_size": 4},
        {"max_steps": 0},
        {"step_size": 0.0},
        {"goal_distance": 0.4},
        {"goal_distance": 1.1},
    ],
)
def test_nonsense_in_the_config_is_rejected(fields):
    with pytest.raises(ValueError, match="must be|unknown colours"):
        PointMassConfig(**fields)


def test_expert_noise_is_executed_as_a_fraction_of_the_range_and_the_wish_is_recorded():
    env = PointMassConfig(max_steps=2000, success_radius=0.01).build()
    init = InitState(RED, 1)
    demonstration = run_expert(env, init, noise=0.25, rng=np.random.default_rng(0))
    env.reset(init)
    rng = np.random.default_rng(0)
    for observed, action in zip(demonstration.observation.state, demonstration.action, strict=True):
        np.testing.assert_array_equal(env.observe().state[0], observed)
        np.testing.assert_array_equal(np.clip(env.expert_action(), -1, 1), action)
        # The noise is 0.25 * (1 - -1) * N(0, 1).
        draw = rng.standard_normal(2, dtype=np.float32)
        env.step_chunk(np.clip(action + np.float32(0.5) * draw, -1, 1)[None])


def test_expert_stops_at_the_time_limit():
    env = PointMassConfig(max_steps=2).build()
    demonstration = run_expert(env, InitState(RED, 1), noise=0.0, rng=np.random.default_rng(0))
    assert not demonstration.success
    assert len(demonstration.observation) == len(demonstration.action) == 2
