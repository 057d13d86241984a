"""What the weights of a network are kept in, and what they are read in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ParameterDtype:
    """Precision of a weight."""

    kept: torch.dtype
    """Of the weight itself, its gradient and what an optimiser remembers of it."""
    read: torch.dtype
    """What every computation rounds it to before it uses it."""


ParameterDtypes = Mapping[str, ParameterDtype]
"""By name. Those that are not here are kept and read as they are."""
