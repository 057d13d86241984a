"""Where things start on the table: the benchmark's grids, heights and yaws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from jaxtyping import Float64

CENTRE = np.array([-0.16, 0.0])
"""Middle of the square on the table, metres."""
HALF_EDGE = 0.075
APART = 0.07
"""Things start further apart than this, metres."""
FAR_APART = 0.15
"""And so do two things of one kind."""

Place = tuple[float, ...]
"""Two fractions of the square's edges."""

GRID = tuple(product((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), repeat=2))
"""Places of the square, as fractions of its edges."""
RIM = tuple(
    place for place in product((-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2), repeat=2)
    if {-0.2, 1.2} & set(place)
)  # fmt: skip
"""Places around it, where training never puts anything."""

YAWS = tuple(math.radians(degrees) for degrees in (0, 45, 90, 135))
OTHER_YAWS = tuple(math.radians(degrees) for degrees in (-22.5, -67.5, -112.5, -157.5))

SETTLED = 0.95
"""Height from which things fall before an episode where they are let settle, metres."""
ABOVE_TABLE = 0.9
"""Height from which they fall in its first step where not."""


@dataclass(frozen=True)
class Layout:
    """All that the start of an episode is chosen from."""

    places: tuple[Place, ...] = GRID
    yaws: tuple[float, ...] = YAWS
    """Turns of what is to be moved about the vertical, radians."""
    third: str = ""
    """What a third place is for: an "object" or a "receptacle" more, or where the object is "moved"
    to."""
    heights: tuple[float, ...] | None = None
    """Heights of object, receptacle and third thing, metres; None: as ``settle`` says."""

    def positions(self, *, settle: bool) -> Float64[np.ndarray, "n things 3"]:
        """Every choice of places: the object's, the receptacle's, and a third one if it is used."""
        height = SETTLED if settle else ABOVE_TABLE
        flat = _choices(self.places, self.third)
        heights = self.heights or (height,) * flat.shape[1]
        z = np.broadcast_to(np.array(heights)[None, :, None], (*flat.shape[:2], 1))
        return np.concatenate([flat, z], axis=2)

    @property
    def size(self) -> int:
        """How many starts there are: places and yaws."""
        return len(_choices(self.places, self.third)) * len(self.yaws)


@cache
def _choices(places: Sequence[Place], third: str) -> Float64[np.ndarray, "n things 2"]:
    grid = (np.array(places) * 2 - 1) * HALF_EDGE + CENTRE
    distance = np.linalg.norm(grid[:, None] - grid[None], axis=2)
    apart, far = distance > APART, distance > FAR_APART
    if not third:
        return grid[np.argwhere(apart)]
    # Indices: object, receptacle, third.
    object_receptacle = apart[:, :, None]
    if third == "receptacle":
        free = object_receptacle & apart[:, None, :] & far[None, :, :]
    else:
        free = object_receptacle & far[:, None, :] & apart[None, :, :]
    return grid[np.argwhere(free)]
