"""An environment that misbehaves when a file asks it to; simulator processes import it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pushcut.envs.base import Env, EnvConfig
from pushcut.types import ChunkResult, EnvSpec, InitState, Observation

RAISE = "raise"
STEP_FAULTS = ("reward nan", "no steps")
LOOK_FAULTS = ("state nan", "state inf", "image shape", "image dtype", "state shape")


def request(folder: Path, fault: str) -> Path:
    """Asks for a fault; the file is gone as soon as a simulator has taken it."""
    path = folder / ("look" if fault in LOOK_FAULTS else "step")
    aside = path.with_suffix(".aside")
    aside.write_text(fault)
    return aside.rename(path)


def taken(folder: Path, site: str) -> str:
    """The fault that is asked for at a site, for the one process that takes it."""
    path = folder / site
    if not path.exists():
        return ""
    mine = path.with_name(f"{site}.taken")
    try:
        path.rename(mine)
    except FileNotFoundError:  # another was faster
        return ""
    return mine.read_text()


@dataclass(frozen=True)
class FaultyConfig(EnvConfig):
    """Another environment, with faults on request."""

    inner: EnvConfig
    folder: Path
    """Where faults are asked for."""

    @property
    def spec(self) -> EnvSpec:
        return self.inner.spec

    def build(self) -> FaultyEnv:
        return FaultyEnv(self.inner.build(), self.folder)


class FaultyEnv:
    """Does what the environment inside does, but for what is asked of it."""

    def __init__(self, inner: Env, folder: Path) -> None:
        self._inner, self._folder = inner, folder
        self.spec = inner.spec

    def reset(self, init: InitState) -> None:
        self._inner.reset(init)

    def observe(self) -> Observation:
        return corrupted(self._inner.observe(), taken(self._folder, "look"))

    def step_chunk(self, actions: np.ndarray) -> ChunkResult:
        fault = taken(self._folder, "step")
        if fault == RAISE:
            raise FloatingPointError("the simulation is unstable")
        result = self._inner.step_chunk(actions)
        if fault == "reward nan":
            return replace(result, reward=np.full_like(result.reward, np.nan))
        return replace(result, steps=0) if fault == "no steps" else result

    def expert_action(self) -> np.ndarray:
        return self._inner.expert_action()

    def render(self, size: int) -> np.ndarray:
        return self._inner.render(size)

    def snapshot(self) -> Any:
        return self._inner.snapshot()

    def restore(self, snapshot: Any) -> None:
        self._inner.restore(snapshot)

    def close(self) -> None:
        self._inner.close()


def corrupted(observation: Observation, fault: str) -> Observation:
    """An observation after a fault."""
    state = observation.state.copy()
    if fault in ("state nan", "state inf"):
        state[0, -1] = np.nan if fault == "state nan" else np.inf
        return replace(observation, state=state)
    if fault == "state shape":
        return replace(observation, state=state[:, :-1])
    change = {"image shape": lambda image: image[:, :-1], "image dtype": np.float32}.get(fault)
    if change is None:
        return observation
    return replace(observation, images={k: change(x) for k, x in observation.images.items()})
