"""An environment in the interpreter of its simulator, one call at a time: for checks, not speed."""

from __future__ import annotations

import socket
import subprocess
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from pushcut.envs.isolated.simulators import isolated_launch
from pushcut.types import ChunkResult, EnvSpec, InitState, Observation

SERVER = "pushcut.envs.isolated.env_server"
CLOSE_TIMEOUT_S = 300.0


class RemoteEnv:
    """Hands every call to an environment that a config builds in another interpreter."""

    def __init__(self, config: Any, python: Path) -> None:
        """``config``: an ``EnvConfig`` that the other interpreter can import."""
        self.spec: EnvSpec = config.spec
        ours, theirs = socket.socketpair()
        launch = isolated_launch(python, SERVER)
        with theirs:
            self._process = subprocess.Popen(
                [*launch.command, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=launch.environment,
            )
        self._channel = Connection(ours.detach())
        try:
            self._call("build", config)
        except BaseException:
            self._end()
            raise

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
        self._end()

    def _end(self) -> None:
        self._channel.send(None)
        self._process.wait(CLOSE_TIMEOUT_S)
        self._channel.close()

    def _call(self, method: str, *arguments: Any) -> Any:
        self._channel.send((method, arguments))
        error, result = self._channel.recv()
        if error is not None:
            raise error
        return result
