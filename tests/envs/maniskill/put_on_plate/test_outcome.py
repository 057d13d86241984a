"""When it counts as placed, and what the way there is worth, by hand."""

import numpy as np
import pytest

from pushcut.envs.maniskill.put_on_plate.outcome import Outcome, Resting

PLATE = Resting(np.array([0.05, 0.05, 0.003]))
CUBE = Resting(np.array([0.02, 0.02, 0.02]))
OVER = np.array([0.0, 0.0, 0.03])


def noted(way: np.ndarray = OVER, *, force: float = 1.0, grasped: bool = False) -> Outcome:
    outcome = Outcome(CUBE, PLATE)
    outcome.note(obj=way, receptacle=np.zeros(3), force=force, grasped=grasped)
    return outcome


@pytest.mark.parametrize(
    ("way", "force", "placed"),
    [
        ((0.0, 0.0, 0.03), 1.0, True),
        ((0.059, 0.0, 0.03), 1.0, True),  # half an edge and 1 cm: 0.06 m
        ((0.061, 0.0, 0.03), 1.0, False),
        ((0.0, 0.0, 0.072), 1.0, True),  # 0.003 + 0.02 + 0.05 = 0.073 m
        ((0.0, 0.0, 0.074), 1.0, False),
        ((0.0, 0.0, 0.0), 1.0, False),  # not above
        ((0.0, 0.0, 0.03), 0.03, False),  # it does not press
    ],
)
def test_it_is_placed_where_it_is_above_beside_and_presses(way, force: float, placed: bool):
    assert noted(np.array(way), force=force).placed is placed


def test_the_box_is_upright_around_how_it_lies():
    pose = np.eye(4)
    cos, sin = np.cos(np.pi / 4), np.sin(np.pi / 4)
    pose[:2, :2] = [[cos, -sin], [sin, cos]]
    half = Resting.of(pose, np.array([0.2, 0.1, 0.06])).half
    # 45 degrees: (0.2 + 0.1) / 2 * 0.7071 in both directions.
    np.testing.assert_allclose(half, [0.106066, 0.106066, 0.03], atol=1e-6)


def rewards(kind, *grasps: bool, placed: bool) -> list[float]:
    """Of steps in which it is grasped or not, the last one with the object on the plate."""
    outcome, found = Outcome(CUBE, PLATE, kind), []
    for number, grasped in enumerate(grasps):
        last = number == len(grasps) - 1
        way = OVER if last and placed else np.array([1.0, 0.0, 0.03])
        outcome.note(obj=way, receptacle=np.zeros(3), force=1.0, grasped=grasped)
        found.append(outcome.reward)
    return found


def test_success_alone_is_rewarded_unless_more_is_asked_for():
    assert rewards("success", True, True, True, placed=True) == [0, 0, 1]


def test_rlinf_rewards_gains_of_grasping_holding_and_placing_while_held():
    given = rewards("rlinf", *[True] * 6, placed=True)
    assert given == pytest.approx([0.1, 0, 0, 0, 0.1, 1.0])
    assert rewards("rlinf", True, False, placed=True) == pytest.approx([0.1, -0.1])


def test_the_papers_text_rewards_placing_whether_it_is_held_or_not():
    assert rewards("pi_rl", True, False, placed=True) == pytest.approx([0.1, 0.9])
    assert rewards("pi_rl", *[True] * 6, placed=True) == pytest.approx([0.1, 0, 0, 0, 0, 1.0])
