"""What the WidowX's expert does next, by where things are."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pushcut.envs.maniskill.widowx.expert import CLOSED, OPEN, View, action

START = View(
    tip=np.array([-0.15, 0.0, 0.99]),
    closing=np.array([0.0, 1.0, 0.0]),
    source=np.array([-0.2, 0.05, 0.885]),
    grasp=np.array([-0.2, 0.05, 0.885]),
    over=0.945,
    long_axis=np.array([1.0, 0.0, 0.0]),
    target=np.array([-0.1, -0.05, 0.8695]),
    floor=0.8695,
    carry=0.95,
    release=0.895,
    held=False,
)


def test_first_it_comes_over_the_object():
    x, y, z, *_, gripper = action(START)
    # In the robot's frame, which is turned by half a turn: -0.05 and +0.05 m become + and -.
    assert (x, y, z) == (pytest.approx(-y), pytest.approx(-x), pytest.approx(z))
    assert x > 0 > y
    assert z < 0
    assert gripper == OPEN
    assert math.sqrt(x * x + y * y + z * z) == pytest.approx(0.04)


def test_it_turns_its_fingers_across_the_object():
    diagonal = replace(START, long_axis=np.array([1.0, 1.0, 0.0]) / math.sqrt(2))
    # From 90 degrees to 135: 45 degrees, in steps of 0.4 radians.
    assert action(diagonal)[5] == pytest.approx(0.4)
    assert action(START)[5] == pytest.approx(0.0, abs=1e-6)


def test_over_it_goes_down_and_there_it_closes():
    over = replace(START, tip=np.array([-0.2, 0.05, 0.95]))
    np.testing.assert_allclose(action(over)[:3], [0, 0, -0.04], atol=1e-6)
    assert action(over)[6] == OPEN
    there = replace(START, tip=np.array([-0.2, 0.05, 0.876]))
    assert action(there)[6] == CLOSED


def test_finger_tips_stay_above_the_table():
    flat = replace(START, grasp=np.array([-0.2, 0.05, 0.872]), tip=np.array([-0.2, 0.05, 0.9]))
    # The centre lies 2.5 mm above the table: down to 3 mm above it, and no further.
    assert action(flat)[2] == pytest.approx(0.8695 + 0.003 - 0.9, abs=1e-6)


def test_held_it_goes_up_then_over_the_target_then_down_and_is_let_go():
    held = replace(START, held=True)
    np.testing.assert_allclose(action(held)[:2], 0, atol=1e-6)
    assert action(held)[2] > 0
    lifted = replace(held, source=np.array([-0.2, 0.05, 0.95]))
    x, y, *_ = action(lifted)
    assert x < 0 < y
    over = replace(held, source=np.array([-0.1, -0.05, 0.95]))
    np.testing.assert_allclose(action(over)[:3], [0, 0, -0.04], atol=1e-6)
    assert action(over)[6] == CLOSED
    low = replace(held, source=np.array([-0.1, -0.05, 0.896]))
    assert action(low)[6] == OPEN


def test_let_go_on_the_target_the_hand_goes_away():
    done = replace(START, source=np.array([-0.1, -0.05, 0.89]), tip=np.array([-0.1, -0.05, 0.88]))
    np.testing.assert_allclose(action(done), [0, 0, 0.04, 0, 0, 0, OPEN], atol=1e-6)
