"""How released VLAs scale states and actions: by mean and deviation, quantiles or bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pushcut.types import TO_BORDER, Gripper

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
    def of(values: Any) -> VectorStatistics:
        """From a dictionary of lists under the names mean, std, q01, q99, min and max."""
        if not isinstance(values, dict):
            raise ValueError("the statistics of a vector are no dictionary")
        names = {"min": "minimum", "max": "maximum"}
        wanted = ("mean", "std", "q01", "q99", "min", "max")
        found = {name: values.get(name) for name in wanted}
        if len({len(value) for value in found.values() if value is not None}) > 1:
            raise ValueError("the statistics of one vector have different lengths")
        return VectorStatistics(
            **{
                names.get(name, name): None if value is None else tuple(map(float, value))
                for name, value in found.items()
            }
        )

    def by_name(self) -> dict[str, list[float]]:
        """What is known, as ``of`` reads it."""
        names = {"minimum": "min", "maximum": "max"}
        return {
            names.get(name, name): list(values)
            for name, values in vars(self).items()
            if values is not None
        }

    @property
    def size(self) -> int:
        """Length of the vector; 0 if nothing is known."""
        known = (self.mean, self.q01, self.minimum)
        return next((len(values) for values in known if values is not None), 0)


DataStatistics = Mapping[str, VectorStatistics]
"""Statistics of "state" and "action" of a dataset, in the environment's units."""


Values = tuple[float, ...] | None


def in_convention(statistics: VectorStatistics, gripper: Gripper) -> VectorStatistics:
    """Statistics of actions whose gripper command is written in another convention."""
    factor, offset = TO_BORDER[gripper]

    def converted(values: Values) -> Values:
        return None if values is None else (*values[:-1], (values[-1] - offset) / factor)

    low, high = converted(statistics.q01), converted(statistics.q99)
    least, most = converted(statistics.minimum), converted(statistics.maximum)
    if factor < 0:
        low, high = _last_swapped(low, high)
        least, most = _last_swapped(least, most)
    std = statistics.std
    return VectorStatistics(
        mean=converted(statistics.mean),
        std=None if std is None else (*std[:-1], std[-1] / abs(factor)),
        q01=low,
        q99=high,
        minimum=least,
        maximum=most,
    )


def _last_swapped(low: Values, high: Values) -> tuple[Values, Values]:
    if low is None or high is None:
        return low, high
    return (*low[:-1], high[-1]), (*high[:-1], low[-1])


class Scaling(nn.Module):
    """scale(x) = (x - origin) / divisor - shift; unscale(y) = (y + shift) * multiplier + origin.

    Divisor and multiplier differ by an epsilon only. The shift is 1 where a range becomes [-1, 1]:
    its lower bound must become exactly -1, because a prompt writes what is below in another bin.
    """

    origin: Tensor
    divisor: Tensor
    multiplier: Tensor
    shift: Tensor

    def __init__(
        self,
        origin: Sequence[float],
        divisor: Sequence[float],
        multiplier: Sequence[float],
        shift: float,
    ) -> None:
        super().__init__()
        rows = {
            "origin": origin,
            "divisor": divisor,
            "multiplier": multiplier,
            "shift": [shift] * len(origin),
        }
        for name, values in rows.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    @staticmethod
    def by_mean(statistics: VectorStatistics, *, eps: float, eps_back: float) -> Scaling:
        """(x - mean) / (std + eps), and back with ``eps_back`` (openpi 1e-6; LeRobot 0)."""
        mean, std = known(statistics.mean, "mean"), known(statistics.std, "std")
        return Scaling(mean, [s + eps for s in std], [s + eps_back for s in std], 0.0)

    @staticmethod
    def by_range(low: Sequence[float], high: Sequence[float], *, eps: float) -> Scaling:
        """2 (x - low) / (high - low + eps) - 1; the epsilon widens the range upwards."""
        half = [(top - bottom + eps) / 2 for bottom, top in zip(low, high, strict=True)]
        return Scaling(low, half, half, 1.0)

    @staticmethod
    def identity(size: int) -> Scaling:
        """Leaves everything as it is."""
        return Scaling([0.0] * size, [1.0] * size, [1.0] * size, 0.0)

    def where(self, mask: Sequence[bool]) -> Scaling:
        """This scaling for the numbers of the mask, none for the others."""
        plain, chosen = Scaling.identity(self.size), torch.tensor(mask)
        for name, own in self.named_buffers():
            setattr(plain, name, torch.where(chosen, own, getattr(plain, name)))
        return plain

    def scale(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """To the network's units."""
        return (x - self.origin) / self.divisor - self.shift

    def unscale(self, y: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """To the data's units."""
        return (y + self.shift) * self.multiplier + self.origin

    @property
    def size(self) -> int:
        """Length of the vectors."""
        return len(self.origin)


def known(values: tuple[float, ...] | None, name: str) -> tuple[float, ...]:
    """The values; ValueError where a checkpoint lacks them."""
    if values is None:
        raise ValueError(f"the checkpoint's statistics have no {name}")
    return values
