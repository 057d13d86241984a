"""Experts for blocks on the table: grasp, lift, push, turn."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64

from pushcut.envs.calvin.experts.servo import (
    CLOSED,
    NEAR,
    OPEN,
    SAFE,
    SWING,
    YAW,
    Point,
    View,
    approach,
    down,
    go,
    onto,
    shifted,
)
from pushcut.envs.calvin.oracles import MOVED, ROBOT
from pushcut.envs.calvin.scenes import COLOURS, EDGE, SURFACE_Z

GRIPPED = EDGE + 0.006
"""Distance of the fingers below which they hold a block, metres."""
CLEAR = 0.065
"""Distance of a pushing hand from a block's centre before it pushes, metres."""
AT = 0.045
"""Distance at which a block is between the fingers or beside them, metres."""
INSIDE_Y = 0.03
"""From here on the hand is in the shelf."""
STANDOFF = 0.13
"""Distance from which a hand goes in to grasp, metres."""

Step = Float32[np.ndarray, " 7"]


def yaw_of(view: View, colour: str) -> float:
    """The hand's yaw for a grasp across a block's short edge, the nearest to the hand at rest."""
    x, y, z, w = view.block(colour).orientation
    along = np.array((1 - 2 * (y * y + z * z), 2 * (x * y + z * w)))
    yaw = np.arctan2(along[1], along[0]) - YAW
    return float(YAW + (yaw + np.pi / 2) % np.pi - np.pi / 2)


def holds(view: View, colour: str) -> bool:
    """Whether the fingers are closed on a block."""
    return ROBOT in view.block(colour).bodies and view.opening < GRIPPED


def let_go(view: View, wanted: str = "") -> Step | None:
    """A step away from blocks that another sub-task left at the hand; None where there is none."""
    near = (
        c for c in COLOURS if c != wanted and np.linalg.norm(view.tip - view.block(c).position) < AT
    )
    if next(near, None) is None:
        return None
    x, y, z = view.tip
    away = (x, y - 0.06, z + 0.04) if y > INSIDE_Y else (x, y, z + 0.06)
    roll, pitch, yaw = view.hand[3:].tolist()
    return go(view, away, (roll, pitch, yaw), OPEN)


def grasp(view: View, colour: str, turn: Point) -> Step:
    """A step of grasping a block along the hand's own direction, the fingers open until there."""
    at, way = view.block(colour).position, approach(turn)
    apart = view.tip - at
    before = float(apart @ way)
    aside = float(np.linalg.norm(apart - before * way))
    if abs(before) < NEAR and aside < NEAR:
        return go(view, at, turn, CLOSED)
    # Whoever is on the way in may be further off the line than who sets out.
    wide = 2 * NEAR if -STANDOFF + 0.02 < before < NEAR else NEAR
    if aside < wide and view.turns(turn) < SWING:
        ahead = min(0.0, before + 0.04)
        return go(view, shifted(view, at + ahead * way - view.tip), turn, OPEN)
    return _stand_off(view, at, turn)


def _stand_off(view: View, at: Float64[np.ndarray, " 3"], turn: Point) -> Step:
    """A step towards the place from which the hand goes in; never through what is there."""
    wanted = at - STANDOFF * approach(turn)
    x, y, z = view.tip
    far = np.hypot(x - wanted[0], y - wanted[1]) > 2 * NEAR
    if far and y > INSIDE_Y:  # out of the shelf
        return go(view, (x, y - 0.06, z), turn, OPEN)
    if far and z < wanted[2] - 0.03:
        return go(view, (x, y, wanted[2]), turn, OPEN)
    return go(view, shifted(view, wanted - view.tip), turn, OPEN)


def lift(view: View, colour: str) -> Step:
    """Grasps a block from above and raises it."""
    turn = down(yaw_of(view, colour))
    if holds(view, colour):
        return go(view, view.tip + (0, 0, 0.06), turn, CLOSED)
    return grasp(view, colour, turn)


def rotate(view: View, colour: str, sign: int) -> Step:
    """Grasps a block and turns the hand, ``sign`` +1 counter-clockwise, on the table."""
    if holds(view, colour):
        yaw = float(view.hand[5]) + sign * 0.2
        at = view.begun.blocks[colour].position
        return go(view, at, down(yaw), CLOSED)
    return grasp(view, colour, down(yaw_of(view, colour)))


def push(view: View, colour: str, sign: int) -> Step:
    """Pushes a block along x with closed fingers, ``sign`` +1 to the right."""
    at = view.block(colour).position
    x, y, z = view.tip
    behind = sign * (at[0] - x)
    if abs(y - at[1]) < NEAR and z < SURFACE_Z + 0.015 and 0 < behind < CLEAR + 0.03:
        # Slower in the end, or the block goes on by itself beyond the arm's reach.
        left = MOVED - sign * (at[0] - view.begun.blocks[colour].position[0])
        lead = float(np.clip(left / 2, 0.015, 0.05))
        return go(view, (x + sign * lead, at[1], SURFACE_Z), down(), CLOSED)
    beside = (float(at[0]) - sign * CLEAR, float(at[1]), SURFACE_Z)
    return onto(view, beside, down(), CLOSED, SAFE - 0.02)
