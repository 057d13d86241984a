"""What SAPIEN knows of an episode for analysis: where objects are, what touches what, how hard.

PhysX also reports pairs that are only near (ManiSkill asks for 2 cm), with impulses of 0: a contact
is one that pushes. Its impulses are along the normal; friction is not among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushcut.envs.contacts import FIRST_FINGER, OTHER, ROBOT, Contacts, opens_along_y
from pushcut.envs.events import Events


@dataclass(frozen=True)
class Mark:
    """A moment as SAPIEN has it, without any of its objects: a scene may be made anew meanwhile."""

    poses: bytes
    """Positions and quaternions of hand, fingers and objects."""
    pairs: list[tuple[int, int, int]]
    """Codes of two bodies that may touch, and at how many points."""
    impulses: bytes
    """On the first of them at each point, newton seconds."""


class ContactReader:
    """Takes marks of one of ManiSkill's environments and reads them; for one episode.

    An object is an actor that moves freely. What hangs on a finger belongs to it.
    """

    def __init__(self, env: Any) -> None:
        self._physics = env.scene.px
        actors = {n: a for n, a in env.scene.actors.items() if a.px_body_type == "dynamic"}
        self.objects = tuple(actors)
        things = [actor._objs[0] for actor in actors.values()]
        self._code = {thing.per_scene_id: place for place, thing in enumerate(things)}
        links = env.agent.robot._objs[0].links
        self._code |= {link.entity.per_scene_id: ROBOT for link in links}
        fingers = [env.agent.finger1_link._objs[0], env.agent.finger2_link._objs[0]]
        for link in links:
            for number, finger in enumerate(fingers):
                if _hangs_on(link, finger):
                    self._code[link.entity.per_scene_id] = FIRST_FINGER - number
        self._posed = [fingers[0].parent.entity, *(finger.entity for finger in fingers), *things]

    def mark(self, *, start: bool) -> Mark:
        """This moment; contacts of a ``start`` may be those of another episode: there are none."""
        poses: list[bytes] = []
        for entity in self._posed:
            pose = entity.pose
            poses += (pose.p.tobytes(), pose.q.tobytes())
        pairs: list[tuple[int, int, int]] = []
        impulses: list[bytes] = []
        for contact in () if start else self._physics.get_contacts():
            first, second = contact.bodies
            one = self._code.get(first.entity.per_scene_id, OTHER)
            two = self._code.get(second.entity.per_scene_id, OTHER)
            if one >= 0 or two >= 0:
                points = contact.points
                pairs.append((one, two, len(points)))
                impulses += [point.impulse.tobytes() for point in points]
        return Mark(b"".join(poses), pairs, b"".join(impulses))

    def read(self, marks: Sequence[Mark]) -> Events:
        """The events of an episode, without actions."""
        poses = _joined(mark.poses for mark in marks).reshape(len(marks), -1, 7)
        shape = len(marks), len(self.objects)
        pairs = [(row, *pair) for row, mark in enumerate(marks) for pair in mark.pairs]
        row, one, two, count = np.array(pairs, np.int64).reshape(-1, 4).T
        push = _joined(mark.impulses for mark in marks).reshape(-1, 3) / self._physics.timestep
        force = np.linalg.norm(push, axis=-1)
        pushing = force > 0
        row, one, two = (np.repeat(x, count)[pushing] for x in (row, one, two))
        contacts = Contacts(shape, row, one, two, force[pushing])
        touch, rest = contacts.forces()
        return Events(
            objects=self.objects,
            hand=poses[:, 0, :3],
            opening=np.linalg.norm(poses[:, 1, :3] - poses[:, 2, :3], axis=-1),
            pose=poses[:, 3:],
            touch=touch,
            fingers=contacts.holding(push[pushing], opens_along_y(poses[:, 1:3, 3:])),
            rest=rest,
            action=np.zeros((len(marks), 0), np.float32),
        )


def _joined(parts: Iterable[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(parts), np.float32)


def _hangs_on(link: Any, top: Any) -> bool:
    """Whether a link is another or comes after it."""
    while link is not None and link.name != top.name:
        link = link.parent
    return link is not None
