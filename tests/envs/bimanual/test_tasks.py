"""Success rules of the bimanual tasks, on made-up views; no simulator."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from pushcut.envs.bimanual.expert import next_position
from pushcut.envs.bimanual.tasks import TASKS
from pushcut.envs.bimanual.tasks.base import HOMES, Goal, Hand, Pose, View

At = tuple[float, float, float]


def hand(at: At, opening: float = 1.0) -> Hand:
    return Hand(np.array(at), np.array(at), opening)


def pose(at: At, *, tilt: float = 0.0) -> Pose:
    cos, sin = np.cos(tilt), np.sin(tilt)
    return Pose(np.array(at), np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]))


def home(side: str) -> Hand:
    return Hand(HOMES[side], HOMES[side], 1.0)


def solved(task: str, bodies: Mapping[str, Pose], left: Hand, right: Hand) -> bool:
    return TASKS[task].solved(View({"left": left, "right": right}, bodies))


@pytest.mark.parametrize(
    ("bottom", "tilt", "right_x", "expected"),
    [
        (0.11, 0.0, 0.108, True),
        (0.09, 0.0, 0.108, False),  # 10 cm are asked for
        (0.11, 0.3, 0.108, False),  # 0.2 rad are allowed
        (0.11, 0.0, 0.2, False),  # the right hand is 9 cm from its handle
    ],
)
def test_a_pot_is_lifted_high_level_and_by_both_hands(
    bottom: float, tilt: float, right_x: float, expected: bool
):
    middle = bottom + 0.04
    pot = {"pot": pose((0, 0.1, middle), tilt=tilt)}
    hands = hand((-0.108, 0.1, middle + 0.02), 0.3), hand((right_x, 0.1, middle + 0.02), 0.3)
    assert solved("lift-pot", pot, *hands) == expected


@pytest.mark.parametrize(
    ("x", "z", "right", "left_x", "expected"),
    [
        (0.21, 0.018, 1.0, -0.25, True),
        (0.25, 0.018, 1.0, -0.25, False),  # 5 cm beside the mark
        (0.21, 0.100, 1.0, -0.25, False),  # still in the air
        (0.21, 0.018, 0.4, -0.25, False),  # still held
        (0.21, 0.018, 1.0, 0.12, False),  # the left hand is there too
    ],
)
def test_a_block_is_handed_over_when_the_right_hand_has_put_it_down(
    x: float, z: float, right: float, left_x: float, expected: bool
):
    bodies = {"block": pose((x, 0.1, z)), "mark": pose((0.2, 0.1, 0.001))}
    hands = hand((left_x, 0.1, 0.1)), hand((x + 0.06, 0.1, z), right)
    assert solved("hand-over", bodies, *hands) == expected


@pytest.mark.parametrize(
    ("low_x", "high_x", "high_z", "opening", "expected"),
    [
        (0.01, 0.02, 0.030, 1.0, True),
        (0.06, 0.06, 0.030, 1.0, False),  # stacked, but not on the mark
        (0.01, 0.04, 0.030, 1.0, False),  # 3 cm beside each other
        (0.01, 0.02, 0.052, 1.0, False),  # on the rim, not inside
        (0.01, 0.02, 0.030, 0.2, False),  # a hand still holds on
    ],
)
def test_bowls_are_stacked_on_the_mark_one_inside_the_other(
    low_x: float, high_x: float, high_z: float, opening: float, expected: bool
):
    for low, high in (("left_bowl", "right_bowl"), ("right_bowl", "left_bowl")):
        bodies = {
            low: pose((low_x, 0.12, 0)),
            high: pose((high_x, 0.12, high_z)),
            "mark": pose((0, 0.12, 0.001)),
        }
        right = hand((0.02, 0.07, 0.08), opening)
        assert solved("stack-bowls", bodies, home("left"), right) == expected


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ((-0.14, 0.0, 0.14), True),
        ((0.0, -0.14, 0.14), False),  # green, red, blue
        ((-0.14, 0.0, 0.10), False),  # blue is 4 cm beside its mark
    ],
)
def test_blocks_are_ranked_when_each_lies_on_its_own_mark(
    places: tuple[float, float, float], expected: bool
):
    bodies = {}
    for colour, mark, x in zip(("red", "green", "blue"), (-0.14, 0, 0.14), places, strict=True):
        bodies[colour] = pose((x, 0.16, 0.02))
        bodies[f"{colour}_mark"] = pose((mark, 0.16, 0.001))
    assert solved("rank-blocks", bodies, home("left"), home("right")) == expected
    assert not solved("rank-blocks", bodies, home("left"), hand((0, 0.16, 0.02), 0.4))


def test_a_hand_leaves_upwards_and_comes_down_through_the_funnel():
    goal = Goal(np.array([0.3, 0.0, 0.02]))
    # Far away the funnel is 0.02 + 0.10 high: from below straight up, 12 mm a step.
    np.testing.assert_allclose(next_position(np.array([0.0, 0, 0.02]), goal), [0, 0, 0.032])
    np.testing.assert_allclose(next_position(np.array([0.0, 0, 0.12]), goal), [0.012, 0, 0.12])
    # In its neck straight down.
    np.testing.assert_allclose(next_position(np.array([0.3, 0, 0.12]), goal), [0.3, 0, 0.108])
