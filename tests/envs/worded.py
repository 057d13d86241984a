"""A point mass whose instruction depends on the episode, and on how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pushcut.envs.point_mass import PointMassConfig, PointMassEnv
from pushcut.types import EnvSpec

FIRST = ("start, please", "begin, please")
LATER = "and now to the end"


@dataclass(frozen=True)
class WordedConfig(PointMassConfig):
    """Says one of ``FIRST`` by its seed, then ``LATER`` from the second step on; blue says one."""

    lies: bool = False
    """It says what its spec does not list."""

    @property
    def spec(self) -> EnvSpec:
        own = super().spec
        return replace(
            own,
            tasks={task: FIRST[0] if task == "reach-red" else text for task, text in
                   own.tasks.items()},
            wordings={"reach-red": (*FIRST, LATER)},
        )  # fmt: skip

    def build(self) -> WordedEnv:
        return WordedEnv(self)


class WordedEnv(PointMassEnv):
    """Tells the time by its steps."""

    def _instruction(self) -> str:
        init = self._episode()
        if init.task not in self.spec.wordings:
            return super()._instruction()
        if isinstance(self._config, WordedConfig) and self._config.lies:
            return "something else"
        return LATER if self._sim_steps > 1 else FIRST[init.seed % 2]
