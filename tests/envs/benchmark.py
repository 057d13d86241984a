"""A point mass whose first three seeds count as a benchmark's own initial states."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pushcut.envs.point_mass import PointMassConfig
from pushcut.types import EnvSpec

FIXED_INITS = 3


@dataclass(frozen=True)
class BenchmarkConfig(PointMassConfig):
    """A point mass with initial states of its own and a column per colour."""

    @property
    def spec(self) -> EnvSpec:
        groups = {
            colour.title(): (f"reach-{colour}",) for colour in ("red", "green", "blue", "yellow")
        }
        return replace(super().spec, fixed_inits=FIXED_INITS, groups=groups)
