"""Where a thing can be grasped from above: a narrow place near its middle, as it lies now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

OPENING = 0.06
"""What fits between the fingers, with room, metres."""
SLICE = 0.012
"""A finger is as wide, metres."""

Points = Float64[np.ndarray, "n 3"]


@dataclass(frozen=True)
class Grasp:
    """A place to close the fingers."""

    point: Float64[np.ndarray, " 3"]
    """In the middle between the fingers, metres."""
    along: Float64[np.ndarray, " 3"]
    """Horizontal direction that the fingers close across, of length 1."""


def grasp_of(points: Points) -> Grasp:
    """The place that is nearest to a thing's middle among those where it fits between the fingers.

    The thing is cut across its long horizontal axis into slices as wide as a finger; where none is
    narrow enough, the narrowest is taken. ``points`` lie on its surface, metres, world frame.
    """
    flat = points[:, :2]
    centre = flat.mean(0)
    along = _long_axis(flat - centre)
    across = np.array([-along[1], along[0]])
    u, v = (flat - centre) @ along, (flat - centre) @ across
    number = np.round(u / SLICE).astype(int)
    slices = [_Slice.of(number == n, u, v, points[:, 2]) for n in np.unique(number)]
    fits = [s for s in slices if s.width <= OPENING] or [min(slices, key=lambda s: s.width)]
    best = min(fits, key=lambda s: (abs(s.u), s.u))
    xy = centre + best.u * along + best.v * across
    return Grasp(np.array([*xy, best.z]), np.array([*along, 0.0]))


@dataclass(frozen=True)
class _Slice:
    u: float
    v: float
    z: float
    width: float

    @staticmethod
    def of(own: np.ndarray, u: np.ndarray, v: np.ndarray, z: np.ndarray) -> _Slice:
        low, high = v[own].min(), v[own].max()
        middle = (z[own].min() + z[own].max()) / 2
        return _Slice(float(u[own].mean()), float(low + high) / 2, float(middle), float(high - low))


def _long_axis(flat: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, " 2"]:
    """The horizontal direction in which a thing is longest, seen from above."""
    _, axes = np.linalg.eigh(flat.T @ flat)
    return axes[:, -1]
