"""Environments: the union of their configs. Importing this imports no simulator."""

from __future__ import annotations

from pushcut.envs.libero import LiberoConfig
from pushcut.envs.maniskill import ManiSkillConfig
from pushcut.envs.metaworld import MetaWorldConfig
from pushcut.envs.point_mass import PointMassConfig

AnyEnvConfig = LiberoConfig | ManiSkillConfig | MetaWorldConfig | PointMassConfig
"""Every environment that presets and the command line know."""
