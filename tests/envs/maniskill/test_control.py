"""The control step against ManiSkill's own, where that is installed."""

import numpy as np
import pytest

from tests.envs.isolated.simulators import NEEDS_MANISKILL
from tests.envs.maniskill.in_its_interpreter import numbers_of


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_a_control_step_is_maniskills_to_float32s_rounding():
    """The Panda moves from where it is; actions go beyond the limits."""
    seen = numbers_of("steps_of_both.py", "panda")
    assert np.abs(seen["theirs"] - seen["ours"]).max() < 1e-5
    assert np.ptp(seen["ours"][:, :7], axis=0).max() > 0.1, "it moved"


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
@pytest.mark.usefixtures("simpler_assets")
def test_a_hand_that_is_moved_from_where_it_was_sent_is_maniskills():
    """The WidowX goes on from where it was sent to, not from where it is."""
    seen = numbers_of("steps_of_both.py", "widowx")
    assert np.abs(seen["theirs"] - seen["ours"]).max() < 1e-5
    assert np.ptp(seen["ours"][:, :6], axis=0).max() > 0.01, "it moved"
