"""Reads files of initial states without ever executing anything in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from pushcut.errors import UserError


def read_init_states(path: Path, count: int, size: int) -> Float64[np.ndarray, "count size"]:
    """Initial states [count, size] (time, positions, velocities) of one task."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            states = archive["states"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} has no initial states: {error}") from error
    if states.shape != (count, size) or states.dtype != np.float64:
        raise UserError(
            f"{path} holds {states.dtype} {list(states.shape)}, expected float64 {[count, size]}"
        )
    return states
