"""Experts that take blocks out of shelf and drawer, and put them there or on each other."""

from __future__ import annotations

import numpy as np

from pushcut.envs.calvin.experts.blocks import INSIDE_Y, Step, grasp, holds, yaw_of
from pushcut.envs.calvin.experts.servo import (
    CLOSED,
    NEAR,
    OPEN,
    SAFE,
    YAW,
    View,
    approach,
    down,
    go,
    shifted,
)
from pushcut.envs.calvin.experts.table import slide_left, slide_right
from pushcut.envs.calvin.oracles import BOARD, SHELF, TABLE
from pushcut.envs.calvin.scenes import COLOURS, EDGE, SHELF_Y, SURFACE_Z

SHELF_PITCH = -0.7
"""The hand's tilt in the shelf, which has a roof."""
SHELF_TURN = 0.2
"""How far the hand's yaw in the shelf may be from the one at rest, radians."""
AWAY = 0.15
"""Distance from a block at which the hand is free to move the door first, metres."""
AJAR = 0.05
"""How far the door may be from its end, metres."""
SHELF_RELEASE = SURFACE_Z + 0.03
TABLE_EDGE_Y, DRAWER_RELEASE = -0.1875, 0.42
"""Where an open drawer's hollow begins, and the height at which a block is let go above it."""
WALL = 0.02
"""How much closer to a wall blocks may lie than there is room for the fingers, metres."""
ROOM = 0.1
"""Distance of a block's middle from the next at which there is room for the fingers, metres."""
ON_TOP = EDGE + 0.004
"""Height of a block above the one that it is put on when it is let go, metres."""


def lift_from_slider(view: View, colour: str) -> Step:
    """Takes a block out of the shelf with a tilted hand."""
    # A hand that is turned further would touch the walls; the block turns with the fingers instead.
    yaw = float(np.clip(yaw_of(view, colour), YAW - SHELF_TURN, YAW + SHELF_TURN))
    turn = down(yaw, SHELF_PITCH)
    if holds(view, colour):
        return go(view, view.tip - 0.05 * approach(turn), turn, CLOSED)
    at = view.block(colour).position
    # The halves of the shelf meet between the regions where blocks may be.
    left = bool(2 * at[0] < view.scene.shelf_left_x[1] + view.scene.shelf_right_x[0])
    free = np.linalg.norm(view.tip - at) > AWAY and not _is_open(view, left=left)
    # A hand that has just moved the door may be near a block that is now behind it.
    behind = view.tip[1] < INSIDE_Y and left != _left_is_free(view)
    if free or behind:
        return slide_right(view) if left else slide_left(view)
    return grasp(view, colour, turn)


def unstack(view: View) -> Step:
    """Lifts the block that lies on another."""
    top = max(COLOURS, key=lambda c: _stacked_height(view, c))
    if holds(view, top):
        return go(view, view.tip + (0, 0, 0.06), down(yaw_of(view, top)), CLOSED)
    return grasp(view, top, down(yaw_of(view, top)))


def push_into_drawer(view: View) -> Step:
    """Carries a block from the table into the drawer."""
    alone = {(TABLE, BOARD)}
    colour = max(COLOURS, key=lambda c: view.begun.blocks[c].contacts == alone)
    return (
        _into_drawer(view, colour)
        if holds(view, colour)
        else grasp(view, colour, down(yaw_of(view, colour)))
    )


def place_in_drawer(view: View) -> Step:
    """Lets the block in the hand fall into the drawer."""
    return _into_drawer(view, _held(view))


def place_in_slider(view: View) -> Step:
    """Puts the block in the hand on the open half of the shelf."""
    colour = _held(view)
    if view.tip[1] < INSIDE_Y and not _is_open(view, left=_left_is_free(view)):
        return slide_right(view) if _left_is_free(view) else slide_left(view)
    goal = np.array((_free_x(view, colour), np.mean(SHELF_Y), SHELF_RELEASE))
    turn = down(YAW, SHELF_PITCH)
    move = goal - view.block(colour).position
    if np.linalg.norm(move) < 1.5 * NEAR or not holds(view, colour):
        return go(view, view.tip, turn, OPEN)
    if abs(move[0]) > NEAR or view.turns(turn) > 0.15:  # before the shelf, until it is turned
        before = goal - 0.16 * approach(turn)
        return go(view, view.tip + before - view.block(colour).position, turn, CLOSED)
    return go(view, view.tip + move, turn, CLOSED)


def stack(view: View) -> Step:
    """Puts the block in the hand on one that lies on the table."""
    colour = _held(view)
    others = [c for c in COLOURS if c != colour]
    below = max(others, key=lambda c: (TABLE, BOARD) in view.begun.blocks[c].contacts)
    turn = down(yaw_of(view, below))
    at = view.block(below).position + (0, 0, ON_TOP)
    move = at - view.block(colour).position
    aside = float(np.hypot(move[0], move[1]))
    if not holds(view, colour) or (aside < NEAR and abs(move[2]) < 0.006):
        return go(view, view.tip, turn, OPEN)
    if aside > NEAR / 2 or view.turns(turn) > 0.05:
        return go(view, shifted(view, move + (0, 0, 0.05)), turn, CLOSED)
    return go(view, shifted(view, move), turn, CLOSED)


def _into_drawer(view: View, colour: str) -> Step:
    goal = np.array((view.scene.drawer_x, TABLE_EDGE_Y - view.now.drawer / 2, DRAWER_RELEASE))
    x, y, z = view.tip
    aside = float(np.hypot(x - goal[0], y - goal[1]))
    if not holds(view, colour) or (aside < 2 * NEAR and z < DRAWER_RELEASE + NEAR):
        return go(view, view.tip + (0, 0, 0.02), down(), OPEN)
    if aside < NEAR:
        return go(view, goal, down(), CLOSED)
    if z < SAFE - 0.03 and aside > 2 * NEAR:
        return go(view, (x, y, SAFE), down(), CLOSED)
    return go(view, (goal[0], goal[1], SAFE), down(), CLOSED)


def _is_open(view: View, *, left: bool) -> bool:
    """Whether the door is far from a half of the shelf."""
    return view.now.slide < AJAR if left else view.now.slide > view.scene.slide_limit - AJAR


def _left_is_free(view: View) -> bool:
    """Whether the door is nearer to its right end."""
    return view.now.slide < view.scene.slide_limit / 2


def _free_x(view: View, colour: str) -> float:
    """The place on the open half of the shelf that is furthest from other blocks, or its middle."""
    shelf = view.scene.shelf_left_x if _left_is_free(view) else view.scene.shelf_right_x
    others = (block for c, block in view.begun.blocks.items() if c != colour)
    lying = (b.position[0] for b in others if (TABLE, SHELF) in b.contacts)
    beside = [x for x in lying if shelf[0] - EDGE < x < shelf[1] + EDGE]
    places = np.array((np.mean(shelf), shelf[0] + WALL, shelf[1] - WALL))
    room = np.abs(places[:, None] - np.array(beside)[None]).min(axis=1, initial=ROOM)
    return float(places[room.argmax()])


def _held(view: View) -> str:
    """The block that was in the hand when the sub-task began."""
    return max(COLOURS, key=lambda c: c in view.begun.touched)


def _stacked_height(view: View, colour: str) -> float:
    """Height of a block that touched another when the sub-task began."""
    block = view.begun.blocks[colour]
    return float(block.position[2]) if block.bodies & set(COLOURS) else 0.0
