"""Environments: the union of their configs. Importing this imports no simulator."""

from __future__ import annotations

from pushcut.envs.mixed.config import MixedConfig, OneEnvConfig

AnyEnvConfig = OneEnvConfig | MixedConfig
"""Every environment that presets and the command line know."""
