"""The tasks, and where their episodes start: the published states, or drawn between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

FLAT, SINK = "flat_table", "sink"

NO_CLOSER = 0.8
"""Drawn objects keep this share of the smallest distance of the published states."""


@dataclass(frozen=True)
class Task:
    """A task as published; what ManiSkill's class of that name says itself is asked of it."""

    instruction: str
    models: tuple[str, ...]
    """Folders of the models that it loads: what is to be moved, and where to."""
    scene: str
    starts: int
    """Published start states, numbered by positions, then orientations."""
    turn: float = 0.0
    """How far a drawn orientation is turned about the vertical from a published one, at most."""


TASKS = {
    "PutSpoonOnTableClothInScene-v1": Task(
        "put the spoon on the towel",
        ("bridge_spoon_generated_modified", "table_cloth_generated_shorter"),
        FLAT,
        starts=24,
        turn=math.pi / 4,
    ),
    "PutCarrotOnPlateInScene-v1": Task(
        "put carrot on plate",
        ("bridge_carrot_generated_modified", "bridge_plate_objaverse_larger"),
        FLAT,
        starts=24,
        turn=math.pi / 4,
    ),
    "StackGreenCubeOnYellowCubeBakedTexInScene-v1": Task(
        "stack the green block on the yellow block",
        ("baked_green_cube_3cm", "baked_yellow_cube_3cm"),
        FLAT,
        starts=24,
    ),
    "PutEggplantInBasketScene-v1": Task(
        "put eggplant into yellow basket",
        ("eggplant", "dummy_sink_target_plane", "sink"),
        SINK,
        starts=64,
    ),
}

FIXED_INITS = min(task.starts for task in TASKS.values())
"""So many start states every task has; evaluations play these (the papers: 24 trials)."""


@dataclass(frozen=True)
class Placement:
    """Where an episode starts: what is to be moved first, then where to."""

    position: Float64[np.ndarray, "2 3"]
    """Metres, in the world's frame."""
    orientation: Float64[np.ndarray, "2 4"]
    """Quaternions, w first."""


def placement(
    seed: int,
    positions: Float[np.ndarray, "p 2 3"],
    orientations: Float[np.ndarray, "q 2 4"],
    *,
    turn: float,
) -> Placement:
    """The start state of a seed: published state number ``seed``, or one drawn from the seed alone.

    Drawn are both positions, uniformly from the rectangle that the published ones span and not
    closer to each other than ``NO_CLOSER`` of theirs; and one of the published orientations, turned
    about the vertical by up to ``turn`` radians.
    """
    positions, orientations = positions.astype(np.float64), orientations.astype(np.float64)
    if seed < len(positions) * len(orientations):
        place, way = divmod(seed, len(orientations))
        return Placement(positions[place], orientations[way])
    rng = np.random.default_rng(seed)
    low, high = positions.min(0)[:, :2], positions.max(0)[:, :2]
    least = NO_CLOSER * min(distance(one) for one in positions)
    while True:
        position = positions[0].copy()
        position[:, :2] = rng.uniform(low, high)
        if distance(position) >= least:
            break
    orientation = orientations[rng.integers(len(orientations))].copy()
    orientation[0] = turned(orientation[0], rng.uniform(-turn, turn))
    return Placement(position, orientation)


def distance(position: Float64[np.ndarray, "2 3"]) -> float:
    """Horizontal distance of the two objects, metres."""
    return float(np.linalg.norm(position[0, :2] - position[1, :2]))


def turned(q: Float64[np.ndarray, " 4"], angle: float) -> Float64[np.ndarray, " 4"]:
    """A quaternion (w first) after a further turn about the world's vertical, radians."""
    w, x, y, z = q
    cos, sin = math.cos(angle / 2), math.sin(angle / 2)
    return np.array([cos * w - sin * z, cos * x - sin * y, cos * y + sin * x, cos * z + sin * w])
