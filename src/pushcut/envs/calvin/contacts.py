"""What pybullet knows of an episode for analysis: where objects are, what touches what, how hard.

Pybullet also reports points that are only near, with a force of 0: a contact is one that pushes.
What the hand pushes jumps ahead of it and is hit again, so that contacts last for single steps of
the physics: all those of a control step count, with their mean force.

This module imports pybullet, so it is itself imported late.
"""

# pybullet may be in an environment of its own.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pybullet as p

from pushcut.envs.calvin.bodies import FINGERS, TCP, Bodies
from pushcut.envs.contacts import FIRST_FINGER, OTHER, ROBOT, Contacts, opens_along_y
from pushcut.envs.events import Events

PARTS = {"door": "slide", "drawer": "drawer", "button": "button", "switch": "switch"}
"""What moves at the table -> its joint."""

Numbers = tuple[float, ...]


@dataclass
class Watch:
    """Whether contacts are read in every step of the physics, which takes time.

    One for all worlds of a process: an episode may go on in another world than it began in.
    """

    on: bool = False


class Mark(NamedTuple):
    """A moment as pybullet tells it."""

    arm: Sequence[Sequence[Any]]
    """States of the links of hand and fingers."""
    table: Sequence[Sequence[Any]]
    """States of the links of ``PARTS``."""
    blocks: list[tuple[Numbers, Numbers]]
    """Position and quaternion (x, y, z, w) of each block."""
    points: Sequence[Sequence[Sequence[Any]]]
    """All points at which bodies touch, or nearly, in each step of the physics."""


class ContactReader:
    """Takes marks of one episode's world and reads them.

    Objects are the blocks, and the parts of the table that are on joints.
    """

    def __init__(self, client: int, bodies: Bodies, watch: Watch) -> None:
        self._client, self._bodies, self._watch = client, bodies, watch
        self._points: list[Sequence[Sequence[Any]]] = []
        self.objects = (*(f"{colour} block" for colour in bodies.blocks), *PARTS)
        self._parts = [bodies.joints[joint] for joint in PARTS.values()]
        things = [(body, -1) for body in bodies.blocks.values()]
        things += [(bodies.table, link) for link in self._parts]
        self._code = {thing: place for place, thing in enumerate(things)} | self._robot()

    def begin_step(self) -> None:
        """A control step begins: contacts of the last one are past."""
        self._points = []

    def look(self) -> None:
        """Keeps what touches after a step of the physics, where that is asked for."""
        if self._watch.on:
            self._points.append(p.getContactPoints(physicsClientId=self._client))

    def mark(self, *, start: bool) -> Mark:
        """This moment; from the first ``start`` on contacts are read."""
        self._watch.on = True
        bodies, client = self._bodies, self._client
        return Mark(
            p.getLinkStates(bodies.robot, (TCP, *FINGERS), physicsClientId=client),
            p.getLinkStates(bodies.table, self._parts, physicsClientId=client),
            [
                p.getBasePositionAndOrientation(body, physicsClientId=client)
                for body in bodies.blocks.values()
            ],
            () if start else self._points,
        )

    def read(self, marks: Sequence[Mark]) -> Events:
        """The events of an episode, without actions."""
        arm = _poses([[(link[4], link[5]) for link in mark.arm] for mark in marks])
        table = [[(link[4], link[5]) for link in mark.table] for mark in marks]
        things = [[*mark.blocks, *parts] for mark, parts in zip(marks, table, strict=True)]
        contacts, push = self._contacts(marks)
        touch, rest = contacts.forces()
        return Events(
            objects=self.objects,
            hand=arm[:, 0, :3].astype(np.float32),
            opening=np.linalg.norm(arm[:, 1, :3] - arm[:, 2, :3], axis=-1).astype(np.float32),
            pose=_poses(things).astype(np.float32),
            touch=touch,
            fingers=contacts.holding(push, opens_along_y(arm[:, 1:, 3:])),
            rest=rest,
            action=np.zeros((len(marks), 0), np.float32),
        )

    def _contacts(self, marks: Sequence[Mark]) -> tuple[Contacts, np.ndarray]:
        """All contacts of the episode, and the force of each on its first body, float [c, 3]."""
        code = self._code
        found = [
            # The normal points from the second body to the first.
            (
                row,
                code.get((x[1], x[3]), OTHER),
                code.get((x[2], x[4]), OTHER),
                *x[7],
                x[9] / len(mark.points),
            )
            for row, mark in enumerate(marks)
            for points in mark.points
            for x in points
            if x[9] > 0
        ]
        table = np.array(found, np.float64).reshape(-1, 7)
        row, one, two = table[:, :3].astype(np.int64).T
        force = table[:, 6]
        shape = len(marks), len(self.objects)
        return Contacts(shape, row, one, two, force), table[:, 3:6] * force[:, None]

    def _robot(self) -> dict[tuple[int, int], int]:
        """Code of each of the robot's links; what hangs on a finger belongs to it."""
        robot, client = self._bodies.robot, self._client
        codes = {(robot, -1): ROBOT}
        for link in range(p.getNumJoints(robot, physicsClientId=client)):
            parent = p.getJointInfo(robot, link, physicsClientId=client)[16]
            own = FIRST_FINGER - FINGERS.index(link) if link in FINGERS else None
            codes[robot, link] = codes[robot, parent] if own is None else own
        return codes


def _poses(told: list[list[tuple[Numbers, Numbers]]]) -> np.ndarray:
    """Positions and quaternions (w, x, y, z), float [t, n, 7]."""
    flat = [[(*at, turn[3], *turn[:3]) for at, turn in things] for things in told]
    return np.array(flat, np.float64)
