"""What tests of isolated simulators share: which are installed, and environments in them."""

from dataclasses import dataclass
from typing import Any

import pytest

from pushcut.envs.base import EnvConfig
from pushcut.envs.isolated.remote import RemoteEnv
from pushcut.envs.isolated.simulators import installed
from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.envs.maniskill.vulkan import probe_vulkan
from pushcut.types import EnvSpec

NEEDS_MANISKILL = pytest.mark.skipif(
    installed("maniskill") is None,
    reason="ManiSkill is not installed: pushcut sims install maniskill",
)


@dataclass(frozen=True)
class RemoteConfig(EnvConfig):
    """A config whose environment is built where its simulator is installed."""

    config: EnvConfig

    @property
    def spec(self) -> EnvSpec:
        return self.config.spec

    def build(self) -> RemoteEnv:
        found = installed(self.config.simulator)
        assert found is not None
        return RemoteEnv(self.config, found.python)


@dataclass(frozen=True)
class RemoteManiSkillConfig(ManiSkillConfig):
    """The same for a member of a mix."""

    def build(self) -> Any:
        return RemoteConfig(ManiSkillConfig(tasks=self.tasks)).build()


def require_vulkan() -> None:
    """Skips a test where ManiSkill cannot draw."""
    found = installed("maniskill")
    assert found is not None
    probe = probe_vulkan(found.python)
    if not probe.works:
        pytest.skip(f"no Vulkan for ManiSkill's images: {probe.detail}")
