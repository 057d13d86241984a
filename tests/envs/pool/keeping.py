"""Environments with a simulator for each task, which say, or fail at, what they free."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushcut.envs.base import EnvConfig
from pushcut.envs.point_mass import PointMassConfig, PointMassEnv
from pushcut.types import EnvSpec

THREE = PointMassConfig(colours=("red", "blue", "green"))


class NotingEnv(PointMassEnv):
    """Says in a file what it makes and frees."""

    def __init__(self, config: NotingConfig) -> None:
        super().__init__(config.inner)
        self._note_file = Path(config.notes)

    def _make_simulator(self, task: str) -> Any:
        self._note(f"made {task}")
        return super()._make_simulator(task)

    def release(self, task: str) -> None:
        super().release(task)
        self._note(f"freed {task} {len(self._simulators)}")

    def _note(self, line: str) -> None:
        with self._note_file.open("a") as file:
            file.write(line + "\n")


@dataclass(frozen=True)
class NotingConfig(EnvConfig):
    """Describes a ``NotingEnv``."""

    notes: str

    @property
    def inner(self) -> PointMassConfig:
        return THREE

    @property
    def spec(self) -> EnvSpec:
        return THREE.spec

    def build(self) -> NotingEnv:
        return NotingEnv(self)


class Frozen:
    """The methods of an ``Env`` and nothing else."""

    def __init__(self) -> None:
        self._inner = THREE.build()
        self.spec = THREE.spec

    def __getattr__(self, name: str) -> Any:
        if name == "release":
            raise AttributeError(name)
        return getattr(self._inner, name)


@dataclass(frozen=True)
class FrozenConfig(EnvConfig):
    """Describes a ``Frozen``."""

    @property
    def spec(self) -> EnvSpec:
        return THREE.spec

    def build(self) -> Any:
        return Frozen()


class HangingEnv(PointMassEnv):
    def release(self, task: str) -> None:
        time.sleep(1000)


@dataclass(frozen=True)
class HangingConfig(EnvConfig):
    """Describes a ``HangingEnv``."""

    @property
    def spec(self) -> EnvSpec:
        return THREE.spec

    def build(self) -> HangingEnv:
        return HangingEnv(THREE)
