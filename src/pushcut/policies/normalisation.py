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
        """From a dictionary of lists by the names of the fields; others are passed over.

        Raises:
            ValueError: Where they are no statistics of a vector: numbers that are not finite,
                bounds that are crossed, negative deviations.
        """
        if not isinstance(values, dict):
            raise ValueError("the statistics of a vector are no dictionary")
        if _is_zero(values.get("count")):
            raise ValueError("they were measured on 0 frames (count)")
        found = {field.name: values.get(field.name) for field in fields(NormStats)}
        return NormStats(
            **{name: v if v is None else _numbers(name, v) for name, v in found.items()}
        ).checked()

    def checked(self) -> NormStats:
        """Itself; ValueError that names numbers which no data can have."""
        for name, values in self.by_name().items():
            wrong = [i for i, value in enumerate(values) if not abs(value) <= LARGEST]
            _refuse(wrong, f"{name} is not finite", values)
        _refuse(
            [i for i, value in enumerate(self.std or ()) if value < 0],
            "std is negative",
            self.std or (),
        )
        for low, high, names in (
            (self.q01, self.q99, "q01 is above q99"),
            (self.min, self.max, "min is above max"),
        ):
            if low is not None and high is not None:
                pairs = list(zip(low, high, strict=True))
                shown = [f"{a:g} > {b:g}" for a, b in pairs]
                _refuse([i for i, (a, b) in enumerate(pairs) if _above(a, b)], names, shown)
        return self

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


def _above(low: float, high: float) -> bool:
    """Whether a lower bound is above its upper one by more than float32 rounds."""
    return low - high > 1e-6 * max(1.0, abs(low), abs(high))


def _is_zero(count: Any) -> bool:
    """Whether a number, or each of a list, is 0."""
    counts = count if isinstance(count, list) else [count]
    return bool(counts) and all(one == 0 and one is not None for one in counts)


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    """The numbers of a vector; ValueError that says what is there instead."""
    if not isinstance(values, list | tuple):
        raise ValueError(f"{name} is {values!r}, not a list of numbers")
    for i, value in enumerate(values):
        if isinstance(value, list | tuple):
            raise ValueError(f"{name} holds lists, not one number for each dimension")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} is no number: number {i} ({value!r}), counted from 0")
    return _floats(values)


def _refuse(wrong: Sequence[int], what: str, values: Sequence[object]) -> None:
    if wrong:
        shown = ", ".join(f"number {i} ({values[i]})" for i in wrong[:3])
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{what}: {shown}{more}, counted from 0")


LARGEST = 3.4e38
"""What is larger is infinite in float32."""

DataStats = Mapping[str, NormStats]
"""Statistics of "state" and "action" of demonstrations, in the environment's units."""


def known(values: Values, name: str) -> tuple[float, ...]:
    """The values; ValueError where a checkpoint lacks them."""
    if values is None:
        raise ValueError(f"the checkpoint's statistics have no {name}")
    return values


NARROW = 0.01
"""A scale below this share of all that a number does makes its rare values huge, or unreachable."""

NOTHING = 1e-6
"""Widths up to this share of a number's size are none: float32 rounds as much."""


def constant_width(*values: float) -> float:
    """The width up to which a number of this size counts as constant."""
    return NOTHING * max(1.0, *map(abs, values))


def measured_stats(values: Any, name: str) -> tuple[NormStats, list[str]]:
    """Statistics that were just measured, safe to scale with, and what was changed for it.

    A number that differs from its usual value in less than 1 % of the frames has q01 = q99: its
    rare values would become huge, or could never be commanded. It is scaled by its minimum and
    maximum instead. A constant gets the deviation 1: it becomes 0, and what is near it stays near.

    Args:
        values: Lists by the names of ``NormStats``.
        name: What to call the vector.

    Raises:
        ValueError: Where they are no statistics of a vector.
    """
    found = NormStats.of(values)
    if found.min is None or found.max is None:
        return found, []
    changed = {field: list(numbers) for field, numbers in found.by_name().items()}
    lines = []
    for i, (least, most) in enumerate(zip(found.min, found.max, strict=True)):
        if most - least <= constant_width(least, most):
            if found.std is not None and found.std[i] <= constant_width(least, most):
                changed["std"][i] = 1.0
            continue
        narrow = NARROW * (most - least)
        by = []
        if found.q01 and found.q99 and found.q99[i] - found.q01[i] < narrow:
            changed["q01"][i], changed["q99"][i] = least, most
            by.append(f"98 % of its values lie in {found.q01[i]:g} to {found.q99[i]:g}")
        if found.std is not None and found.std[i] < narrow:
            changed["std"][i] = (most - least) / 2
            by.append(f"its deviation is {found.std[i]:g}")
        if by:
            lines.append(
                f"number {i} of {name} (counted from 0) reaches from {least:g} to {most:g}, but "
                f"{' and '.join(by)}: it is scaled by its minimum and maximum instead"
            )
    return NormStats(**{field: tuple(v) for field, v in changed.items()}), lines


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
        "action": NormStats(q01=_floats(action_low), q99=_floats(action_high)).checked(),
        "state": NormStats(mean=_floats(state_mean), std=_floats(state_std)).checked(),
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
