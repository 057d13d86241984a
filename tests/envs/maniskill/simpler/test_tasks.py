"""Where SIMPLER's episodes start, by arithmetic."""

import math

import numpy as np
import pytest

from pushcut.envs.init_states import FIRST_TRAIN_SEED
from pushcut.envs.maniskill.simpler.tasks import TASKS, distance, placement, turned

SQUARE = np.array([[-0.235, -0.075], [-0.235, 0.075], [-0.085, -0.075], [-0.085, 0.075]])
PAIRS = [(i, j) for i in range(4) for j in range(4) if i != j]
POSITIONS = np.array([[[*SQUARE[i], 0.8875], [*SQUARE[j], 0.8695]] for i, j in PAIRS])
UP = np.array([1.0, 0, 0, 0])
HALF_TURN = np.array([0.0, 0, 0, 1])
ORIENTATIONS = np.array([[HALF_TURN, UP], [[math.sqrt(0.5), 0, 0, -math.sqrt(0.5)], UP]])


def test_the_first_seeds_are_the_published_states_position_by_position():
    for seed in range(24):
        placed = placement(seed, POSITIONS, ORIENTATIONS, turn=0.5)
        np.testing.assert_array_equal(placed.position, POSITIONS[seed // 2])
        np.testing.assert_array_equal(placed.orientation, ORIENTATIONS[seed % 2])


def test_other_seeds_are_drawn_between_them_and_far_enough_apart():
    drawn = [placement(FIRST_TRAIN_SEED + n, POSITIONS, ORIENTATIONS, turn=0.5) for n in range(300)]
    xy = np.array([one.position[:, :2] for one in drawn])
    assert (xy >= SQUARE.min(0)).all()
    assert (xy <= SQUARE.max(0)).all()
    assert xy[:, 0].std(0).min() > 0.03  # spread over the square, 15 cm wide
    # Published: 15 cm apart at least; drawn: 0.8 of it.
    assert min(distance(one.position) for one in drawn) >= 0.12
    assert {one.position[0, 2] for one in drawn} == {0.8875}
    # Turned by at most 0.5 about the vertical from a published one: |<q, q'>| >= cos(0.25).
    for one in drawn:
        likeness = max(abs(float(one.orientation[0] @ way[0])) for way in ORIENTATIONS)
        assert likeness >= math.cos(0.25) - 1e-9
        np.testing.assert_array_equal(one.orientation[1], UP)


def test_a_state_follows_from_its_seed_alone():
    one, again = (placement(77, POSITIONS, ORIENTATIONS, turn=0.5) for _ in range(2))
    np.testing.assert_array_equal(one.position, again.position)
    assert not np.array_equal(
        one.position, placement(78, POSITIONS, ORIENTATIONS, turn=0.5).position
    )


@pytest.mark.parametrize(
    ("angle", "expected"),
    [(0.0, [1, 0, 0, 0]), (math.pi, [0, 0, 0, 1]), (math.pi / 2, [0.5**0.5, 0, 0, 0.5**0.5])],
)
def test_a_turn_about_the_vertical(angle: float, expected: list[float]):
    np.testing.assert_allclose(turned(UP, angle), expected, atol=1e-12)


def test_turns_add_up_also_of_what_does_not_stand_upright():
    lying = np.array([0.5, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(turned(turned(lying, 0.3), 0.4), turned(lying, 0.7), atol=1e-12)


def test_the_published_numbers():
    assert [task.starts for task in TASKS.values()] == [24, 24, 24, 64]
    assert {task.scene for task in TASKS.values()} == {"flat_table", "sink"}
