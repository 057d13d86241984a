"""What tests of isolated simulators share: which are installed, and environments in them."""

import socket
import subprocess
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pushcut.envs.base import EnvConfig
from pushcut.envs.isolated.simulators import installed, isolated_launch
from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.envs.maniskill.vulkan import probe_vulkan
from pushcut.types import ChunkResult, EnvSpec, InitState, Observation

ROOT = Path(__file__).parents[3]

NEEDS_MANISKILL = pytest.mark.skipif(
    installed("maniskill") is None,
    reason="ManiSkill is not installed: pushcut sims install maniskill",
)


class RemoteEnv:
    """An environment in the interpreter of its simulator, one call at a time."""

    def __init__(self, config: EnvConfig, python: Path) -> None:
        self.spec: EnvSpec = config.spec
        ours, theirs = socket.socketpair()
        launch = isolated_launch(python, "tests.envs.isolated.env_server")
        with theirs:
            self._process = subprocess.Popen(
                [*launch.command, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env={**launch.environment, "PYTHONPATH": str(ROOT)},
            )
        self._channel = Connection(ours.detach())
        self._call("build", config)

    def _call(self, method: str, *arguments: Any) -> Any:
        self._channel.send((method, arguments))
        error, result = self._channel.recv()
        if error is not None:
            raise error
        return result

    def reset(self, init: InitState) -> None:
        self._call("reset", init)

    def observe(self) -> Observation:
        return self._call("observe")

    def step_chunk(self, actions: np.ndarray) -> ChunkResult:
        return self._call("step_chunk", actions)

    def expert_action(self) -> np.ndarray:
        return self._call("expert_action")

    def render(self, size: int) -> np.ndarray:
        return self._call("render", size)

    def snapshot(self) -> Any:
        return self._call("snapshot")

    def restore(self, snapshot: Any) -> None:
        self._call("restore", snapshot)

    def close(self) -> None:
        self._call("close")
        self._channel.send(None)
        self._process.wait(300)
        self._channel.close()


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
