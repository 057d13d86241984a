"""What an episode starts with: models and where they are, the photograph, the arm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from pushcut.envs.maniskill.put_on_plate.assets import OBJECT, RECEPTACLE
from pushcut.envs.maniskill.put_on_plate.variants import Episode, Variant

UPRIGHT = (1.0, 0.0, 0.0, 0.0)

ROLES = ("object", "receptacle", "distractor")
"""What the things of a start are called in events, whichever models they are: so what is done to
them is the same from episode to episode."""


@dataclass(frozen=True)
class Placed:
    """A model and where it starts."""

    kind: str
    """``OBJECT`` or ``RECEPTACLE``."""
    place: int
    """Place in the list of its kind."""
    position: tuple[float, float, float]
    """Metres, world frame."""
    orientation: tuple[float, float, float, float]
    """Quaternion, w first."""


@dataclass(frozen=True)
class Start:
    """The start of an episode."""

    things: tuple[Placed, ...]
    """What is to be moved, where to, and a distractor if there is one, as ``ROLES`` has them."""
    table: int
    texture: int
    """Place in the tables' list of what is blended over, where the variant says so."""
    settle: bool
    """Whether things fall and come to rest first, the arm out of their way."""
    moved_to: tuple[float, float, float] | None
    """Where the object is put while it is being reached for."""


def start_of(variant: Variant, episode: Episode, *, settle: bool) -> Start:
    """The start of an episode of a variant."""
    places = variant.positions(settle=settle)[episode.position]
    yaw = _turned(variant.layout.yaws[episode.yaw])
    kinds = [(OBJECT, episode.obj, yaw), (RECEPTACLE, episode.receptacle, UPRIGHT)]
    third, place = variant.layout.third, places[-1]
    if third == "object" and episode.extra == episode.obj:
        # One model cannot be in two places: it is in the last one that the published rule sets.
        places = np.stack([place, places[1]])
    elif third == "object":
        kinds.append((OBJECT, episode.extra, yaw))
    elif third == "receptacle":
        kinds.append((RECEPTACLE, episode.extra, UPRIGHT))
    return Start(
        things=tuple(
            Placed(kind, number, _numbers(at), turned)
            for (kind, number, turned), at in zip(kinds, places, strict=False)
        ),
        table=episode.table,
        texture=episode.extra if variant.extra in ("texture", "whole") else 0,
        settle=settle,
        moved_to=_numbers(place) if third == "moved" else None,
    )


def _turned(yaw: float) -> tuple[float, float, float, float]:
    return math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)


def _numbers(at: Float64[np.ndarray, " 3"]) -> tuple[float, float, float]:
    x, y, z = at.tolist()
    return x, y, z
