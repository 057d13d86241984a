"""What a policy of the WidowX may feel: its joints, or also where things are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

Vector = Float64[np.ndarray, " 3"]
Pose = Float64[np.ndarray, "4 4"]

JOINT_NAMES = (
    "waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate",
    "left_finger", "right_finger",
)  # fmt: skip


def _three(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_{axis}" for axis in "xyz")


def _thing(name: str) -> tuple[str, ...]:
    parts = ("", "_x_axis", "_y_axis", "_size")
    return tuple(number for part in parts for number in _three(name + part))


THING_NAMES = (
    *_three("tip"),
    *_three("closing"),
    *_thing("source"),
    *_thing("target"),
    *_three("tip_to_source"),
    *_three("source_to_target"),
    "held",
)

STATES = {"joints": JOINT_NAMES, "objects": (*JOINT_NAMES, *THING_NAMES)}
"""Kind of state -> names of its numbers."""


@dataclass(frozen=True)
class Thing:
    """Something that lies about."""

    pose: Pose
    """Frame of the thing in the world, metres."""
    size: Vector
    """Sides of the box around it along its own axes, metres."""

    @property
    def centre(self) -> Vector:
        """Origin of its frame, metres."""
        return self.pose[:3, 3]

    def numbers(self) -> Float64[np.ndarray, " 12"]:
        """Centre, two axes of its frame (which turn without a jump) and size."""
        return np.concatenate([self.centre, self.pose[:3, 0], self.pose[:3, 1], self.size])


@dataclass(frozen=True)
class Things:
    """Where the grip is, what is to be moved, and where it is to be."""

    tip: Vector
    """Between the finger tips, metres."""
    closing: Vector
    """Direction from finger to finger, of length 1."""
    source: Thing
    """What is to be moved."""
    target: Thing
    """What it is to be put on."""
    held: bool
    """Whether both fingers press the source."""

    def numbers(self) -> Float32[np.ndarray, " 37"]:
        """All of it as ``THING_NAMES`` names it, in the world's frame."""
        apart = [self.source.centre - self.tip, self.target.centre - self.source.centre]
        things = [self.source.numbers(), self.target.numbers()]
        all_of_it = [self.tip, self.closing, *things, *apart, np.array([float(self.held)])]
        return np.concatenate(all_of_it).astype(np.float32)
