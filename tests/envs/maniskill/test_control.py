"""The control step against ManiSkill's own, where that is installed."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import pushcut
from pushcut.envs.isolated.simulators import installed
from tests.envs.isolated.simulators import NEEDS_MANISKILL

SOURCE = Path(pushcut.__file__).parents[1]
SCRIPT = Path(__file__).with_name("steps_of_both.py")


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_a_control_step_is_maniskills_to_float32s_rounding():
    """The Panda moves from where it is; actions go beyond the limits."""
    seen = _both("panda")
    assert np.abs(seen["theirs"] - seen["ours"]).max() < 1e-5
    assert np.ptp(seen["ours"][:, :7], axis=0).max() > 0.1, "it moved"


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
@pytest.mark.usefixtures("simpler_assets")
def test_a_hand_that_is_moved_from_where_it_was_sent_is_maniskills():
    """The WidowX goes on from where it was sent to, not from where it is."""
    seen = _both("widowx")
    assert np.abs(seen["theirs"] - seen["ours"]).max() < 1e-5
    assert np.ptp(seen["ours"][:, :6], axis=0).max() > 0.01, "it moved"


def _both(robot: str) -> dict[str, np.ndarray]:
    found = installed("maniskill")
    assert found is not None
    run = subprocess.run(
        [found.python, str(SCRIPT), robot],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout.strip().splitlines()[-1])
    return {way: np.array(steps) for way, steps in seen.items()}
