"""A point mass that was trained on one colour and has variants in others."""

from __future__ import annotations

from dataclasses import dataclass

from pushcut.envs.base import EnvConfig
from pushcut.envs.point_mass import PointMassConfig, PointMassEnv
from pushcut.types import EnvSpec

COLUMNS = {
    "In distribution": ("reach-red",),
    "Colour": ("reach-blue", "reach-green"),
    "Other": ("reach-yellow",),
}


@dataclass(frozen=True)
class VariedConfig(EnvConfig):
    """A ``PointMassConfig`` by its tasks."""

    tasks: tuple[str, ...] = ("reach-red",)

    @property
    def variations(self) -> dict[str, tuple[str, ...]]:
        return COLUMNS

    @property
    def spec(self) -> EnvSpec:
        return self._plane.spec

    def build(self) -> PointMassEnv:
        return self._plane.build()

    @property
    def _plane(self) -> PointMassConfig:
        colours = tuple(task.removeprefix("reach-") for task in self.tasks)
        return PointMassConfig(colours=colours)
