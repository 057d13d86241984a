"""What an environment tells of an episode for analysis: hand, objects, contacts.

Never for rewards or policies. A simulator that can tell takes a raw copy of each moment (``mark``),
which must cost next to nothing, and reads all of them at once when the episode is over
(``read_marks``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from pushcut.errors import UserError

STIRRED = 1e-3
"""Objects that no robot touched and that moved by less stay out of the files; metres, and parts of
a quaternion."""


@dataclass(frozen=True)
class Events:
    """An episode after each of its control steps; row 0 is its start, whose contacts are unknown.

    Contacts are those of the control step's last simulator step; in pybullet, where they last for
    single steps, those of all of them, and forces are means. A force is the sum of the normal
    forces, newtons; NaN says that nothing touches.
    """

    objects: tuple[str, ...]
    """Names of what can move and is no robot; a part on a joint (a drawer, a button) is one."""
    hand: Float32[np.ndarray, "t 3"]
    """Position of the hand, metres."""
    opening: Float32[np.ndarray, " t"]
    """Distance of the two fingers' origins, metres."""
    pose: Float32[np.ndarray, "t n 7"]
    """Position of each object's body, metres, and its orientation, a quaternion (w, x, y, z)."""
    touch: Float32[np.ndarray, "t n"]
    """Force between the robot and each object."""
    fingers: UInt8[np.ndarray, "t n"]
    """How many of the two fingers touch each object; in SAPIEN and pybullet, which tell the
    direction of a push, how many it pushes as they open."""
    rest: Float32[np.ndarray, "t n"]
    """Force between each object and everything else: the table, other objects."""
    action: Float32[np.ndarray, "t a"]
    """What was executed before each moment, in the environment's units; NaN in row 0."""

    def __len__(self) -> int:
        return len(self.hand)

    @property
    def touched(self) -> Bool[np.ndarray, "t n"]:
        """Whether the robot touches each object."""
        return ~np.isnan(self.touch)

    @property
    def resting(self) -> Bool[np.ndarray, "t n"]:
        """Whether anything but the robot touches each object."""
        return ~np.isnan(self.rest)

    def stirred(self) -> Events:
        """Only the objects that the robot touched or that moved."""
        moved = (np.abs(self.pose - self.pose[:1]) > STIRRED).any((0, 2))
        kept = np.flatnonzero(moved | self.touched.any(0))
        per_object = {name: getattr(self, name)[:, kept] for name in PER_OBJECT}
        return replace(self, objects=tuple(self.objects[i] for i in kept), **per_object)

    def same_as(self, other: Events) -> bool:
        """Whether two say the same, to the bit."""
        mine, theirs = ([getattr(x, f.name) for f in fields(Events)[1:]] for x in (self, other))
        pairs = zip(mine, theirs, strict=True)
        return self.objects == other.objects and all(
            np.array_equal(a, b, equal_nan=True) for a, b in pairs
        )


PER_OBJECT = ("pose", "touch", "fingers", "rest")
"""Arrays whose second dimension is the objects."""


@runtime_checkable
class TellsEvents(Protocol):
    """What an ``Env`` has besides, if it can tell events."""

    def mark(self, *, start: bool) -> Any:
        """A raw copy of this moment, right after a control step; at a ``start`` no contacts."""
        ...

    def read_marks(self, marks: Sequence[Any]) -> Events:
        """The events of an episode of the present task, without actions (size 0)."""
        ...


def telling(env: Any, title: str = "this simulator") -> TellsEvents:
    """The environment, as one that tells events; UserError where it does not."""
    if isinstance(env, TellsEvents):
        return env
    raise UserError(no_events(title))


def no_events(title: str) -> str:
    """What is said of a simulator that tells nothing."""
    return (
        f"{title} tells no events (objects, contacts): metaworld, libero, calvin and maniskill's do"
    )
