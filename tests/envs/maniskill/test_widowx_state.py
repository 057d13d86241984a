"""What a policy of the WidowX may feel, number by number."""

import numpy as np
import pytest

from pushcut.envs.maniskill.put_on_plate.env import PutOnPlateConfig
from pushcut.envs.maniskill.simpler.env import SimplerConfig
from pushcut.envs.maniskill.widowx.state import STATES, THING_NAMES, Thing, Things

QUARTER_TURN = np.array([[0.0, -1.0, 0.0, 0.3], [1.0, 0.0, 0.0, 0.1], [0.0, 0.0, 1.0, 0.9],
                         [0.0, 0.0, 0.0, 1.0]])  # fmt: skip
FLAT = np.eye(4)
THINGS = Things(
    tip=np.array([0.2, 0.1, 1.0]),
    closing=np.array([0.0, 1.0, 0.0]),
    source=Thing(QUARTER_TURN, np.array([0.1, 0.02, 0.03])),
    target=Thing(FLAT, np.array([0.2, 0.2, 0.01])),
    held=True,
)


def test_each_number_is_where_its_name_says():
    numbers = THINGS.numbers()
    assert numbers.dtype == np.float32
    named = dict(zip(THING_NAMES, numbers, strict=True))

    def vector(name: str) -> list[float]:
        return [round(float(named[f"{name}_{axis}"]), 6) for axis in "xyz"]

    assert vector("tip") == [0.2, 0.1, 1.0]
    assert vector("closing") == [0.0, 1.0, 0.0]
    assert vector("source") == [0.3, 0.1, 0.9]
    # A quarter turn to the left: its x axis points along the world's y, its y axis backwards.
    assert vector("source_x_axis") == [0.0, 1.0, 0.0]
    assert vector("source_y_axis") == [-1.0, 0.0, 0.0]
    assert vector("source_size") == [0.1, 0.02, 0.03]
    assert vector("target_x_axis") == [1.0, 0.0, 0.0]
    assert vector("tip_to_source") == [0.1, 0.0, -0.1]
    assert vector("source_to_target") == [-0.3, -0.1, -0.9]
    assert named["held"] == 1.0


@pytest.mark.parametrize("config", [SimplerConfig, PutOnPlateConfig])
def test_a_config_says_what_its_state_is(config: type):
    assert config().spec.state_names == STATES["joints"]
    spec = config(state="objects", cameras=()).spec
    assert spec.state_names == STATES["objects"]
    assert spec.state_size == len(set(STATES["objects"])) == 8 + 37
    with pytest.raises(ValueError, match="state must be one of joints, objects, got 'all'"):
        config(state="all")
