"""Environments: the union of their configs. Importing this imports no simulator."""

from __future__ import annotations

from pushcut.envs.point_mass import PointMassConfig

AnyEnvConfig = PointMassConfig
