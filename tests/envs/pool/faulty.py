"""A point mass that misbehaves on request; the workers of the pool tests import it."""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pushcut.envs.base import EnvConfig
from pushcut.envs.point_mass import PointMassConfig, PointMassEnv
from pushcut.types import ChunkResult, EnvSpec, InitState, Observation

Fault = Literal[
    "", "raise", "hang", "kill", "exit", "no expert",
    "nan state", "float image", "nan reward", "nonsense", "half a reply",
]  # fmt: skip


@dataclass(frozen=True)
class FaultyConfig(EnvConfig):
    """A ``PointMassConfig`` whose episodes of ``seed`` fail in their second chunk."""

    fault: Fault = ""
    seed: int = 13
    once: str = ""
    """A path: the fault happens only while this file does not exist, and creates it."""
    build_fault: Literal["", "raise", "hang", "exit"] = ""
    build_fault_after: str = ""
    """A path: the build fault happens only when this file exists."""
    torch_in_state: bool = False
    """State x tells whether the process has imported torch."""
    max_steps: int = 20

    @property
    def spec(self) -> EnvSpec:
        return PointMassConfig(max_steps=self.max_steps).spec

    def build(self) -> FaultyEnv:
        if not self.build_fault_after or Path(self.build_fault_after).exists():
            if self.build_fault == "raise":
                raise RuntimeError("no off-screen GL\nhere")
            if self.build_fault == "hang":
                threading.Event().wait()
            if self.build_fault == "exit":
                print("loader: cannot open libGL.so", file=sys.stderr)
                os._exit(5)
        return FaultyEnv(self)


class FaultyEnv(PointMassEnv):
    """Fails as its config says."""

    def __init__(self, config: FaultyConfig) -> None:
        super().__init__(PointMassConfig(max_steps=config.max_steps))
        self._faulty = config
        self._seed = 0
        self._chunks = 0
        self._blind = False
        """The next observation is spoiled."""

    def reset(self, init: InitState) -> None:
        super().reset(init)
        self._seed, self._chunks = init.seed, 0

    def observe(self) -> Observation:
        observation = super().observe()
        if self._faulty.torch_in_state:
            observation.state[0, 0] = np.float32("torch" in sys.modules)
        if self._blind and self._faulty.fault == "nan state":
            observation.state[0, 1] = np.nan
        if self._blind and self._faulty.fault == "float image":
            images = {name: image / 255.0 for name, image in observation.images.items()}
            return replace(observation, images=images)
        return observation

    def step_chunk(self, actions: np.ndarray) -> ChunkResult:
        self._chunks += 1
        fails = self._seed == self._faulty.seed and self._chunks == 2 and self._may_fail()
        if fails:
            self._fail()
        result = super().step_chunk(actions)
        if fails and self._faulty.fault == "nan reward":
            return replace(result, reward=result.reward * np.float32("nan"))
        self._blind = fails
        return result

    def expert_action(self) -> np.ndarray:
        if self._faulty.fault == "no expert":
            raise NotImplementedError("the faulty robot has no expert")
        return super().expert_action()

    def snapshot(self) -> Any:
        return (super().snapshot(), self._seed, self._chunks)

    def restore(self, snapshot: Any) -> None:
        inner, self._seed, self._chunks = snapshot
        super().restore(inner)

    def _may_fail(self) -> bool:
        if not self._faulty.once:
            return True
        try:
            Path(self._faulty.once).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _fail(self) -> None:
        if self._faulty.fault == "raise":
            raise FloatingPointError("simulation is unstable")
        if self._faulty.fault == "hang":
            threading.Event().wait()
        if self._faulty.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._faulty.fault == "exit":
            print("the driver gave up", file=sys.stderr, flush=True)
            os._exit(3)
        # A reply is its length and a pickle, written to the file that the first argument names.
        if self._faulty.fault == "nonsense":
            os.write(int(sys.argv[1]), struct.pack("!i", 3) + b"abc")
        if self._faulty.fault == "half a reply":
            os.write(int(sys.argv[1]), struct.pack("!i", 3) + b"a")
            threading.Event().wait()
