"""Pictures in another size, by numpy alone: simulators' own environments may have nothing else."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8


def resized(
    image: UInt8[np.ndarray, "_ _ 3"], height: int, width: int
) -> Float32[np.ndarray, "height width 3"]:
    """Linear interpolation between pixel centres, without smoothing where it becomes smaller."""
    y0, y1, fy = _between(image.shape[0], height)
    x0, x1, fx = _between(image.shape[1], width)
    rows = image[y0] * (1 - fy[:, None, None]) + image[y1] * fy[:, None, None]
    return rows[:, x0] * (1 - fx[:, None]) + rows[:, x1] * fx[:, None]


def _between(old: int, new: int) -> tuple[np.ndarray, np.ndarray, Float32[np.ndarray, " new"]]:
    """For each new pixel the two old ones around its centre, and the share of the second."""
    at = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    low = np.floor(at).astype(np.int64)
    return low, np.minimum(low + 1, old - 1), (at - low).astype(np.float32)
