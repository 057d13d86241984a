"""Gripper conventions by hand, and what the fingers say about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pushcut.demos.dialects import (
    LIBERO_HDF5,
    LIBERO_LEROBOT,
    PLAIN,
    DataConfig,
    Dialect,
    lerobot_dialect,
    open_at_plus_one,
)
from pushcut.errors import UserError

HERE = Path("set")


def converted(dialect: Dialect, commands: list[float], opening: list[float] | None = None) -> list:
    """Gripper commands of one episode after conversion; fingers that stand still say nothing."""
    finger = np.zeros(len(commands)) if opening is None else np.array(opening) / 2
    state = np.stack([0 * finger, finger, -finger], axis=1).astype(np.float32)
    action = np.array([[0.5, command] for command in commands], np.float32)
    open_at_plus_one(HERE, dialect, state, action, [len(commands)])
    assert action[:, 0].tolist() == [0.5] * len(commands)
    return action[:, 1].tolist()


@pytest.mark.parametrize(
    ("gripper", "stored"),
    [
        ("plus_opens", [1, -1, 0.5]),
        ("plus_closes", [-1, 1, -0.5]),  # -g
        ("one_opens", [1, 0, 0.75]),  # 2 g - 1: 2 * 0.75 - 1 = 0.5
        ("one_closes", [0, 1, 0.25]),  # 1 - 2 g: 1 - 2 * 0.25 = 0.5
    ],
)
def test_every_convention_becomes_open_at_plus_one(gripper, stored):
    assert converted(replace(PLAIN, gripper=gripper), stored) == [1, -1, 0.5]


def test_the_range_tells_the_simulators_gripper_from_that_of_rlds():
    assert converted(LIBERO_LEROBOT, [-1, 1]) == [1, -1]
    assert converted(LIBERO_LEROBOT, [1, 0]) == [1, -1]


def test_a_range_that_tells_nothing_asks_the_user():
    with pytest.raises(UserError, match="every gripper command is 1 or more.*--data.gripper plus_"):
        converted(LIBERO_LEROBOT, [1, 1])
    asked = LIBERO_LEROBOT.adjusted(DataConfig(gripper="one_opens"))
    assert converted(asked, [1, 1]) == [1, 1]


def test_fingers_that_move_against_the_commands_name_the_opposite_convention():
    # Told to close (+1) while the opening grows from 0 to 8 cm, to open while it shrinks.
    opening = [0.0, 0.04, 0.08, 0.04, 0.0]
    with pytest.raises(UserError, match="against.*'plus_closes'.*--data.gripper plus_opens"):
        converted(LIBERO_HDF5, [1, 1, -1, -1, -1], opening)
    assert converted(LIBERO_HDF5, [-1, -1, 1, 1, 1], opening) == [1, 1, -1, -1, -1]
    asked = LIBERO_HDF5.adjusted(DataConfig(gripper="plus_opens"))
    assert converted(asked, [1, 1, -1, -1, -1], opening) == [1, 1, -1, -1, -1]


def test_the_step_from_one_episode_to_the_next_says_nothing_about_the_gripper():
    # Each episode opens by 2 cm under -1 (LIBERO: open); between them the opening falls by 8 cm.
    opening = np.array([0.06, 0.08, 0.0, 0.02])
    state = np.stack([opening, 0 * opening], axis=1).astype(np.float32)
    action = np.full((4, 1), -1, np.float32)
    open_at_plus_one(HERE, LIBERO_HDF5, state, action, [2, 2])
    assert action.ravel().tolist() == [1, 1, 1, 1]


def test_libero_is_recognised_by_names_and_sizes_and_nothing_else_is():
    assert lerobot_dialect(("image", "wrist_image"), 8, 7) is LIBERO_LEROBOT
    assert lerobot_dialect(("agentview", "wrist"), 8, 7) is PLAIN  # pushcut's own
    assert lerobot_dialect(("image",), 2, 2) is PLAIN  # pusht


def test_what_the_user_says_goes_before_what_is_usual():
    asked = LIBERO_HDF5.adjusted(DataConfig(flip="rows"))
    assert (asked.flip, asked.gripper, asked.fingers) == ("rows", "plus_closes", 2)
    assert LIBERO_HDF5.adjusted(DataConfig()) == LIBERO_HDF5
