"""When a sub-task is done: conditions on what held when it began and what holds now.

Written from the benchmark's rules (mees/calvin, new_playtable_tasks.yaml; mees/calvin_env,
tasks.py), quirks included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from jaxtyping import Float64

from pushcut.envs.calvin.scenes import COLOURS

ROBOT, TABLE, PLANE = "robot", "table", "plane"
BOARD, SHELF, DRAWER = "base_link", "plank_link", "drawer_link"
"""Links of the table that blocks lie on."""

Contact = tuple[str, str]
"""A body (robot, table, plane or a block's colour) and the name of its link."""

TURN = 60.0
"""Degrees about the vertical axis."""
TILT = 30.0
"""Degrees about the others, at most."""
MOVED = 0.1
"""Distance that a push moves a block, and that a turn does not, metres."""
DOOR, PULL = 0.15, 0.12
"""How far sliding door and drawer have to move, metres."""
LIFTED = {"table": (0.05, BOARD), "slider": (0.03, SHELF), "drawer": (0.05, DRAWER)}
"""Place -> height, metres, and the link that the block lay on."""
SLOW = 1.0
"""Speed below which a block is at rest, m/s and rad/s along each axis."""


@dataclass(frozen=True)
class Block:
    """What is known of a block."""

    position: Float64[np.ndarray, " 3"]
    orientation: Float64[np.ndarray, " 4"]
    """Quaternion, w last."""
    velocity: Float64[np.ndarray, " 3"]
    spin: Float64[np.ndarray, " 3"]
    contacts: frozenset[Contact]

    @property
    def bodies(self) -> frozenset[str]:
        """What it touches."""
        return frozenset(body for body, _ in self.contacts)

    @property
    def surfaces(self) -> frozenset[Contact]:
        """What it touches beside the robot."""
        return frozenset(contact for contact in self.contacts if contact[0] != ROBOT)

    @property
    def at_rest(self) -> bool:
        """Whether it is slow along and about every axis."""
        return bool((np.abs(self.velocity) < SLOW).all() and (np.abs(self.spin) < SLOW).all())


@dataclass(frozen=True)
class Info:
    """What the conditions look at."""

    slide: float
    """Position of the sliding door, metres; larger is further left."""
    drawer: float
    """How far the drawer is out, metres."""
    lightbulb: int
    led: int
    blocks: Mapping[str, Block]
    """By colour."""
    touched: frozenset[str]
    """Bodies that the robot touches; itself may be one."""


Oracle = Callable[[Info, Info], bool]
"""Whether a sub-task is done, from what held at its start and what holds now."""


def turned(start: Block, now: Block) -> Float64[np.ndarray, " 3"]:
    """The rotation between two orientations, degrees about the fixed axes x, y, z in turn."""
    m = _matrix(now.orientation) @ _matrix(start.orientation).T
    x = np.arctan2(m[2, 1], m[2, 2])
    y = np.arcsin(np.clip(-m[2, 0], -1, 1))
    return np.degrees([x, y, np.arctan2(m[1, 0], m[0, 0])])


def rotated(start: Info, now: Info, *, colour: str, sign: int) -> bool:
    """Turned by more than 60 degrees, ``sign`` +1 counter-clockwise, without going far."""
    a, b = start.blocks[colour], now.blocks[colour]
    if np.linalg.norm(b.position - a.position) > MOVED or not b.bodies - {ROBOT}:
        return False
    x, y, z = turned(a, b)
    return bool(TURN < sign * z < 180 and abs(x) < TILT and abs(y) < TILT)


def pushed(start: Info, now: Info, *, colour: str, sign: int) -> bool:
    """Moved along x by more than 10 cm, ``sign`` +1 to the right, still on what it lay on."""
    a, b = start.blocks[colour], now.blocks[colour]
    if not a.surfaces or not a.surfaces <= b.surfaces:
        return False
    return bool(sign * (b.position - a.position)[0] > MOVED)


def slid(start: Info, now: Info, *, sign: int) -> bool:
    """The sliding door moved by more than 15 cm, ``sign`` +1 to the left."""
    return sign * (now.slide - start.slide) > DOOR


def pulled(start: Info, now: Info, *, sign: int) -> bool:
    """The drawer moved by more than 12 cm, ``sign`` +1 outwards."""
    return sign * (now.drawer - start.drawer) > PULL


def lifted(start: Info, now: Info, *, colour: str, place: str) -> bool:
    """Raised off the place that it lay on, touching only the robot."""
    a, b = start.blocks[colour], now.blocks[colour]
    height, link = LIFTED[place]
    raised = (b.position - a.position)[2] > height
    return bool(raised and b.bodies == {ROBOT} and (TABLE, link) in a.contacts)


def placed(start: Info, now: Info, *, link: str) -> bool:
    """The one block that the robot held lies on a link of the table, and the robot let it go."""
    if len(start.touched) != 1:
        return False
    (held,) = start.touched
    if held not in start.blocks or held in now.touched:
        return False
    alone = start.blocks[held].bodies == {ROBOT}
    return alone and (TABLE, link) in now.blocks[held].contacts


def stacked(start: Info, now: Info) -> bool:
    """A block that touched no other rests on others alone."""
    blocks = set(start.blocks)
    return any(
        not blocks & start.blocks[colour].bodies
        and bool(end.bodies)
        and end.bodies <= blocks
        and end.at_rest
        for colour, end in now.blocks.items()
    )


def unstacked(start: Info, now: Info) -> bool:
    """A block that rested on others alone touches none."""
    blocks = set(start.blocks)
    return any(
        bool(begin.bodies)
        and begin.bodies <= blocks
        and begin.at_rest
        and not blocks & now.blocks[colour].bodies
        for colour, begin in start.blocks.items()
    )


def switched(start: Info, now: Info, *, light: str, on: int) -> bool:
    """A light changed to ``on``."""
    return getattr(start, light) == 1 - on and getattr(now, light) == on


def pushed_into_drawer(start: Info, now: Info) -> bool:
    """A block that touched the table top alone touches the drawer.

    The robot may touch it in the end: the benchmark means to exclude that, and does not.
    """
    return any(
        start.blocks[colour].contacts == {(TABLE, BOARD)} and (TABLE, DRAWER) in end.contacts
        for colour, end in now.blocks.items()
    )


def _matrix(q: Float64[np.ndarray, " 4"]) -> Float64[np.ndarray, "3 3"]:
    """Rotation matrix of a quaternion, w last."""
    x, y, z, w = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _oracles() -> dict[str, Oracle]:
    found: dict[str, Oracle] = {}
    for c in COLOURS:
        found[f"rotate_{c}_block_right"] = partial(rotated, colour=c, sign=-1)
        found[f"rotate_{c}_block_left"] = partial(rotated, colour=c, sign=1)
        found[f"push_{c}_block_right"] = partial(pushed, colour=c, sign=1)
        found[f"push_{c}_block_left"] = partial(pushed, colour=c, sign=-1)
        for place in LIFTED:
            found[f"lift_{c}_block_{place}"] = partial(lifted, colour=c, place=place)
    for light in ("lightbulb", "led"):
        found[f"turn_on_{light}"] = partial(switched, light=light, on=1)
        found[f"turn_off_{light}"] = partial(switched, light=light, on=0)
    return found | {
        "move_slider_left": partial(slid, sign=1),
        "move_slider_right": partial(slid, sign=-1),
        "open_drawer": partial(pulled, sign=1),
        "close_drawer": partial(pulled, sign=-1),
        "place_in_slider": partial(placed, link=SHELF),
        "place_in_drawer": partial(placed, link=DRAWER),
        "stack_block": stacked,
        "unstack_block": unstacked,
        "push_into_drawer": pushed_into_drawer,
    }


ORACLES: Mapping[str, Oracle] = MappingProxyType(_oracles())
"""Sub-task -> condition."""
