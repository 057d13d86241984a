"""Environments: simulated robots behind one protocol, each in a folder of its own.

May import ``types``, ``errors`` and ``system``; never torch, and simulators only late. Promises the
contract of ``envs.base``, which tests/envs/test_env_contract.py holds every member to.
"""

from __future__ import annotations

from pushcut.envs.mixed.config import MixedConfig, OneEnvConfig

AnyEnvConfig = OneEnvConfig | MixedConfig
"""Every environment that presets and the command line know."""
