"""Rank three blocks by colour: red, green, blue from left to right, each on its mark."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pushcut.envs.bimanual.scene import OBJECT, free_body, pad
from pushcut.envs.bimanual.tasks.base import (
    HOMES,
    Goal,
    Place,
    Task,
    View,
    flat,
    let_go,
    resting,
)

HALF = 0.02
"""Half of a block's side, metres."""
COLOURS = {"red": "0.85 0.15 0.1 1", "green": "0.15 0.65 0.2 1", "blue": "0.15 0.3 0.85 1"}
SLOTS = (-0.14, 0.0, 0.14)
"""Where blocks start and where marks are, from left to right, metres."""
START_Y, MARK_Y = 0.03, 0.16
ON_MARK = 0.035
"""How far a block may be from its mark, metres."""


def _block(colour: str) -> str:
    box = f'<geom {OBJECT} type="box" size="{HALF} {HALF} {HALF}" mass="0.05" '
    return free_body(colour, f'{box} rgba="{COLOURS[colour]}"/>')


def _mark(colour: str) -> str:
    return f"{colour}_mark"


class RankBlocks(Task):
    """Solved when each block lies on its mark, in the colours' order, both hands open."""

    instruction = "put the blocks on the marks: red, green, blue from left to right"
    max_steps = 400
    bodies = (*COLOURS, *map(_mark, COLOURS))
    objects = "".join(pad(_mark(colour), 0.03, "0.75 0.75 0.72 1") for colour in COLOURS) + "".join(
        _block(colour) for colour in COLOURS
    )

    def start(self, rng: np.random.Generator) -> Mapping[str, Place]:
        places: dict[str, Place] = {}
        for colour, slot in zip(rng.permutation(list(COLOURS)), SLOTS, strict=True):
            dx, dy, yaw = rng.uniform((-0.015, -0.02, -0.25), (0.015, 0.02, 0.25))
            places[str(colour)] = Place(slot + dx, START_Y + dy, HALF, yaw)
        for colour, slot in zip(COLOURS, SLOTS, strict=True):
            places[_mark(colour)] = Place(slot, MARK_Y, 0.001)
        return places

    def solved(self, view: View) -> bool:
        released = all(hand.is_open for hand in view.hands.values())
        return bool(released and all(_done(view, colour) for colour in COLOURS))

    def goals(self, view: View) -> Mapping[str, Goal]:
        goals = resting()
        left = [colour for colour in ("red", "blue", "green") if not _done(view, colour)]
        for side, hand in view.hands.items():
            if not hand.is_open:
                goals[side] = let_go(hand, side)
        if not left:
            return goals
        colour = left[0]
        side = _side(view, colour)
        other = "left" if side == "right" else "right"
        # The other hand may have something to let go of; it is then still on its way.
        if flat(view.hands[other].position, HOMES[other]) > 0.12:
            return goals
        goals[side] = _carry(view, side, colour)
        return goals


def _carry(view: View, side: str, colour: str) -> Goal:
    """Takes a block and puts it on its mark."""
    hand, block = view.hands[side], view.bodies[colour]
    place, mark = block.position, view.bodies[_mark(colour)].position
    if hand.near(place, 0.025) and hand.closed_on(HALF):
        return Goal(np.array([mark[0], mark[1], HALF + 0.003]), open=False)
    yaw = (block.yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
    return Goal(place, yaw, open=not hand.near(place, 0.012))


def _side(view: View, colour: str) -> str:
    """Which hand brings a block: that of its mark, and of the middle one that which is nearer."""
    fixed = {"red": "left", "blue": "right"}
    if colour in fixed:
        return fixed[colour]
    return "left" if view.bodies[colour].position[0] < 0 else "right"


def _done(view: View, colour: str) -> bool:
    block = view.bodies[colour].position
    near = flat(block, view.bodies[_mark(colour)].position) <= ON_MARK
    return bool(near and block[2] < HALF + 0.008)
