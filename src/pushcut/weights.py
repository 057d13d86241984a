"""Dtypes in which the weights of a network are kept, and in which they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ParameterDtype:
    """Precision of a weight."""

    kept: torch.dtype
    """Dtype of the weight itself, its gradient and an optimiser's moments."""
    read: torch.dtype
    """What every computation rounds it to before it uses it."""


ParameterDtypes = Mapping[str, ParameterDtype]
"""By name. Those that are not here are kept and read as they are."""
