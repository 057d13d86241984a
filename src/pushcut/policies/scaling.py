"""How released VLAs scale states and actions: by mean and deviation, quantiles or bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

ScalingKind = Literal["mean_std", "quantiles", "bounds", "identity"]


@dataclass(frozen=True)
class VectorStatistics:
    """Statistics of a vector over demonstrations; None where a checkpoint lacks them."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    q01: tuple[float, ...] | None = None
    q99: tuple[float, ...] | None = None
    minimum: tuple[float, ...] | None = None
    maximum: tuple[float, ...] | None = None

    @staticmethod
    def of(values: dict[str, Any]) -> VectorStatistics:
        """From a dictionary of lists under the names mean, std, q01, q99, min and max."""
        names = {"min": "minimum", "max": "maximum"}
        wanted = ("mean", "std", "q01", "q99", "min", "max")
        found = {name: values.get(name) for name in wanted}
        return VectorStatistics(
            **{
                names.get(name, name): None if value is None else tuple(map(float, value))
                for name, value in found.items()
            }
        )

    @property
    def size(self) -> int:
        """Length of the vector; 0 if nothing is known."""
        known = (self.mean, self.q01, self.minimum)
        return next((len(values) for values in known if values is not None), 0)


class Scaling(nn.Module):
    """scale(x) = (x - centre) / divisor; unscale(y) = y * multiplier + centre.

    Divisor and multiplier differ by an epsilon only.
    """

    centre: Tensor
    divisor: Tensor
    multiplier: Tensor

    def __init__(
        self, centre: Sequence[float], divisor: Sequence[float], multiplier: Sequence[float]
    ) -> None:
        super().__init__()
        rows = {"centre": centre, "divisor": divisor, "multiplier": multiplier}
        for name, values in rows.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    @staticmethod
    def by_mean(statistics: VectorStatistics, *, eps: float, eps_back: float) -> Scaling:
        """(x - mean) / (std + eps), and back with ``eps_back`` (openpi 1e-6; LeRobot 0)."""
        mean, std = known(statistics.mean, "mean"), known(statistics.std, "std")
        return Scaling(mean, [s + eps for s in std], [s + eps_back for s in std])

    @staticmethod
    def by_range(low: Sequence[float], high: Sequence[float], *, eps: float) -> Scaling:
        """2 (x - low) / (high - low + eps) - 1; the epsilon widens the range upwards."""
        half = [(top - bottom + eps) / 2 for bottom, top in zip(low, high, strict=True)]
        centre = [bottom + part for bottom, part in zip(low, half, strict=True)]
        return Scaling(centre, half, half)

    @staticmethod
    def identity(size: int) -> Scaling:
        """Leaves everything as it is."""
        return Scaling([0.0] * size, [1.0] * size, [1.0] * size)

    def scale(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """To the network's units."""
        return (x - self.centre) / self.divisor

    def unscale(self, y: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """To the data's units."""
        return y * self.multiplier + self.centre

    @property
    def size(self) -> int:
        """Length of the vectors."""
        return len(self.centre)


def known(values: tuple[float, ...] | None, name: str) -> tuple[float, ...]:
    """The values; ValueError where a checkpoint lacks them."""
    if values is None:
        raise ValueError(f"the checkpoint's statistics have no {name}")
    return values
