"""Contacts of an episode, whatever simulator told them: forces on objects, fingers that hold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

OTHER, ROBOT, FIRST_FINGER = -1, -2, -3
"""Codes of what is no object; the second finger's is one less."""
WIDEST_ANGLE = math.radians(85)
"""How far a finger's force may be from the direction in which it opens, if it holds a thing
(ManiSkill's)."""
OPENS = 1.0, -1.0
"""Each finger's direction along its y axis in which it opens, in the usual model of a gripper."""


@dataclass(frozen=True)
class Contacts:
    """Contacts of an episode; each of two bodies, an object's number or a code."""

    shape: tuple[int, int]
    """Moments and objects of the episode."""
    row: Int[np.ndarray, " c"]
    """The moment."""
    one: Int[np.ndarray, " c"]
    two: Int[np.ndarray, " c"]
    force: Float[np.ndarray, " c"]
    """Normal force, newtons."""

    def forces(self) -> tuple[Float32[np.ndarray, "t n"], Float32[np.ndarray, "t n"]]:
        """Forces of the robot and of all else on each object; NaN where nothing touches."""
        row, thing, by = self._of_objects()
        force = np.tile(self.force, 2)[self._objects]
        found = []
        for which in (by <= ROBOT, by > ROBOT):
            sums = np.zeros(self.shape, np.float32)
            np.add.at(sums, (row[which], thing[which]), force[which])
            seen = np.zeros(self.shape, bool)
            seen[row[which], thing[which]] = True
            found.append(np.where(seen, sums, np.float32(np.nan)))
        return found[0], found[1]

    def fingers(self) -> UInt8[np.ndarray, "t n"]:
        """How many of the two fingers touch each object."""
        row, thing, by = self._of_objects()
        found = np.zeros((2, *self.shape), np.uint8)
        for number in (0, 1):
            which = by == FIRST_FINGER - number
            found[number, row[which], thing[which]] = 1
        return found[0] + found[1]

    def holding(
        self, push: Float[np.ndarray, "c 3"], opens: Float[np.ndarray, "t 2 3"]
    ) -> UInt8[np.ndarray, "t n"]:
        """How many of the two fingers each object pushes about as they open.

        A closed gripper may push a thing with the tips of both fingers, which hold nothing then.

        Args:
            push: Force or impulse of each contact on its body ``one``, along the normal.
            opens: Direction in which each finger opens, of length 1, or 0 where it has none.
        """
        row, thing, by = self._of_objects()
        on_by = np.concatenate([-push, push])[self._objects]  # each by the other side's body
        which = by <= FIRST_FINGER
        sums = np.zeros((*self.shape, 2, 3))
        np.add.at(sums, (row[which], thing[which], FIRST_FINGER - by[which]), on_by[which])
        along = (sums * opens[:, None]).sum(-1)
        strength = np.linalg.norm(sums, axis=-1)
        held = (strength > 0) & (along >= math.cos(WIDEST_ANGLE) * strength)
        return held.sum(-1).astype(np.uint8)

    @property
    def _objects(self) -> Bool[np.ndarray, " d"]:
        """Which sides of contacts are objects, first those of ``one``, then of ``two``."""
        thing, by = self._sides()
        return (thing >= 0) & (thing != by)

    def _sides(self) -> tuple[Int[np.ndarray, " d"], Int[np.ndarray, " d"]]:
        """Each contact from either side: the body, and what touches it."""
        return np.concatenate([self.one, self.two]), np.concatenate([self.two, self.one])

    def _of_objects(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Moment, object and what touches it, of each side that is an object."""
        kept, (thing, by) = self._objects, self._sides()
        return np.tile(self.row, 2)[kept], thing[kept], by[kept]


def opens_along_y(orientation: Float[np.ndarray, "t 2 4"]) -> Float[np.ndarray, "t 2 3"]:
    """Direction in which each finger opens, by its quaternion (w, x, y, z)."""
    w, x, y, z = np.moveaxis(orientation, -1, 0)
    y_axis = np.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], -1)
    return y_axis * np.array(OPENS, orientation.dtype)[:, None]
