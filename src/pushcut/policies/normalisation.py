"""How actions and states are scaled, and by which statistics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pushcut.errors import UserError

Values = tuple[float, ...] | None


@dataclass(frozen=True)
class NormStats:
    """Statistics of a vector over demonstrations; None where they are not known."""

    mean: Values = None
    std: Values = None
    q01: Values = None
    """1 % quantile."""
    q99: Values = None
    min: Values = None
    max: Values = None

    def __post_init__(self) -> None:
        if len(set(map(len, self.by_name().values()))) > 1:
            raise ValueError("the statistics of one vector have different lengths")

    @staticmethod
    def of(values: Any) -> NormStats:
        """From a dictionary of lists by the names of the fields; others are passed over."""
        if not isinstance(values, dict):
            raise ValueError("the statistics of a vector are no dictionary")
        found = {field.name: values.get(field.name) for field in fields(NormStats)}
        return NormStats(**{name: v if v is None else _floats(v) for name, v in found.items()})

    def by_name(self) -> dict[str, list[float]]:
        """What is known, as ``of`` reads it."""
        return {name: list(values) for name, values in vars(self).items() if values is not None}

    def first(self, size: int) -> NormStats:
        """Statistics of the vector's first numbers."""
        return NormStats(*(None if v is None else tuple(v[:size]) for v in vars(self).values()))

    @property
    def size(self) -> int:
        """Length of the vector; 0 if nothing is known."""
        known = (self.mean, self.q01, self.min)
        return next((len(values) for values in known if values is not None), 0)


DataStats = Mapping[str, NormStats]
"""Statistics of "state" and "action" of demonstrations, in the environment's units."""


def known(values: Values, name: str) -> tuple[float, ...]:
    """The values; ValueError where a checkpoint lacks them."""
    if values is None:
        raise ValueError(f"the checkpoint's statistics have no {name}")
    return values


def _floats(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(map(float, values))


def small_stats(
    action_low: Sequence[float],
    action_high: Sequence[float],
    state_mean: Sequence[float],
    state_std: Sequence[float],
) -> dict[str, NormStats]:
    """What a small policy normalises "action" and "state" with, by the names of its folder."""
    return {
        "action": NormStats(q01=_floats(action_low), q99=_floats(action_high)),
        "state": NormStats(mean=_floats(state_mean), std=_floats(state_std)),
    }


def small_stats_json(stats: DataStats) -> dict[str, Values]:
    """The arguments of ``small_stats``: what statistics.json holds."""
    action, state = stats["action"], stats["state"]
    return {
        "action_low": action.q01,
        "action_high": action.q99,
        "state_mean": state.mean,
        "state_std": state.std,
    }


def read_small_stats(path: Path) -> dict[str, NormStats]:
    """Reads statistics.json; raises UserError naming what does not fit."""
    try:
        return small_stats(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: a checkpoint needs its statistics") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a statistics file of pushcut: {error}") from None


class ActionNormaliser(nn.Module):
    """Maps actions to [-1, 1] by quantiles and back (OpenVLA).

    Formula: docs/reference/equations.md, section 6.

    normalise: 2 (a - q01) / (q99 - q01 + 1e-8) - 1, clipped to [-1, 1];
    denormalise: 0.5 (x + 1) (q99 - q01 + 1e-8) + q01.
    """

    low: Tensor
    span: Tensor

    def __init__(self, stats: NormStats) -> None:
        super().__init__()
        low = torch.tensor(known(stats.q01, "q01"))
        span = torch.tensor(known(stats.q99, "q99")) - low + 1e-8
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("span", span, persistent=False)

    def normalise(self, action: Float[Tensor, "*b a"]) -> Float[Tensor, "*b a"]:
        """Environment units to [-1, 1]."""
        return (2 * (action - self.low) / self.span - 1).clamp(-1, 1)

    def denormalise(self, action: Float[Tensor, "*b a"]) -> Float[Tensor, "*b a"]:
        """[-1, 1] to environment units."""
        return 0.5 * (action + 1) * self.span + self.low
