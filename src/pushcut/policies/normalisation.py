"""How actions and states are scaled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pushcut.errors import UserError


@dataclass(frozen=True)
class Statistics:
    """Statistics of demonstrations that a policy normalises with; stored in its checkpoint."""

    action_low: tuple[float, ...]
    """1 % quantile of each action dimension, in the environment's units."""
    action_high: tuple[float, ...]
    """99 % quantile of each action dimension."""
    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]

    def save(self, path: Path) -> None:
        """Writes JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @staticmethod
    def load(path: Path) -> Statistics:
        """Reads what ``save`` wrote; raises UserError naming what does not fit."""
        try:
            data = json.loads(path.read_text())
            return Statistics(**{name: tuple(map(float, values)) for name, values in data.items()})
        except FileNotFoundError:
            raise UserError(f"{path} is missing: a checkpoint needs its statistics") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is not a statistics file of pushcut: {error}") from None


class ActionNormaliser(nn.Module):
    """Maps actions to [-1, 1] by quantiles and back (OpenVLA; docs/equations.md, section 6).

    normalise: 2 (a - q01) / (q99 - q01 + 1e-8) - 1, clipped to [-1, 1];
    denormalise: 0.5 (x + 1) (q99 - q01 + 1e-8) + q01.
    """

    low: Tensor
    span: Tensor

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        low = torch.tensor(statistics.action_low)
        span = torch.tensor(statistics.action_high) - low + 1e-8
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("span", span, persistent=False)

    def normalise(self, action: Float[Tensor, "*b a"]) -> Float[Tensor, "*b a"]:
        """Environment units to [-1, 1]."""
        return (2 * (action - self.low) / self.span - 1).clamp(-1, 1)

    def denormalise(self, action: Float[Tensor, "*b a"]) -> Float[Tensor, "*b a"]:
        """[-1, 1] to environment units."""
        return 0.5 * (action + 1) * self.span + self.low
