"""Simulators that tell nothing say so."""

import pytest

from pushcut.envs import ENVS
from pushcut.envs.events import telling
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.mixed.config import Member, MixedConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.errors import UserError


def test_a_simulator_without_events_says_which_have_them():
    env = PointMassConfig().build()
    told = "this simulator tells no events .* metaworld, libero, calvin and maniskill's do"
    with pytest.raises(UserError, match=told):
        telling(env)
    # A mix has it by its members; a class where it depends on a setting has a property.
    telling_ones = {name for name in ENVS if ENVS[name].tells_events and name != "mixed"}
    maniskills = {"maniskill", "simpler", "put-on-plate"}
    assert telling_ones == {"metaworld", "libero", "calvin", *maniskills}


def test_a_mix_tells_events_where_each_member_does():
    world = Member("world", MetaWorldConfig())
    other = Member("other", MetaWorldConfig())
    mass = Member("mass", PointMassConfig(image_size=64), cameras=(("top", "corner2"),))
    assert MixedConfig(members=(world, other)).tells_events
    assert not MixedConfig(members=(world, mass)).tells_events
