"""A scripted expert: over a thing, down, close, up, over the goal, down, open.

It has no memory: each action follows from where hand and objects are, so it works from any state,
also where noise or a policy has brought them. No planner is needed: the arm is free above the
table, and the tasks' own controller does the inverse kinematics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

OPEN, CLOSED = 1.0, -1.0
LARGEST_MOVE = 0.04
"""Metres per control step, of 0.2 s."""
LARGEST_TURN = 0.4
"""Radians per control step."""
HOVER = 0.06
"""Height over a place from which the hand comes down, metres."""
OVER = 0.01
"""Horizontal distance at which one thing is over another, metres."""
ALIGNED = 0.12
"""Angle at which the fingers close across the object, radians."""
TOUCH = 0.008
"""Height above the grasp at which the hand is there, metres."""
DEPTH = 0.012
"""How far below an object's centre the finger tips grasp, metres."""
CLEARANCE = 0.003
"""What the finger tips keep from the table, metres."""

Vector = Float64[np.ndarray, " 3"]


@dataclass(frozen=True)
class View:
    """What the expert looks at; metres, in the world's frame."""

    tip: Vector
    """Between the finger tips."""
    closing: Vector
    """Direction from finger to finger, of length 1."""
    source: Vector
    """Centre of what is to be moved."""
    grasp: Vector
    """Where the fingers close around it."""
    over: float
    """Height from which the finger tips come down to it."""
    long_axis: Vector
    """Longest axis of what is to be moved, of length 1."""
    target: Vector
    """Centre of where it is to be."""
    floor: float
    """Height of what it lies on, or under which the palm would touch it."""
    carry: float
    """Height of its centre on the way."""
    release: float
    """Height of its centre at which it is let go."""
    held: bool
    """Whether both fingers press it."""


def action(view: View) -> Float32[np.ndarray, " 7"]:
    """Displacement and turn of the hand in the robot's frame, and the gripper."""
    if view.held:
        return _carried(view)
    if _apart(view.source, view.target) < OVER and view.source[2] < view.release + TOUCH:
        return _motion(np.array([0.0, 0.0, HOVER]), 0.0, OPEN)
    return _fetched(view)


def _carried(view: View) -> Float32[np.ndarray, " 7"]:
    """Up, over the target, down, open."""
    way = view.target - view.source
    if math.hypot(way[0], way[1]) < OVER:
        down = view.release - view.source[2]
        if down > -TOUCH:
            return _motion(np.zeros(3), 0.0, OPEN)
        return _motion(np.array([way[0], way[1], down]), 0.0, CLOSED)
    up = view.carry - view.source[2]
    if up > HOVER / 3:
        return _motion(np.array([0.0, 0.0, up]), 0.0, CLOSED)
    return _motion(np.array([way[0], way[1], up]), 0.0, CLOSED)


def _fetched(view: View) -> Float32[np.ndarray, " 7"]:
    """Over what is to be moved, fingers across it, down, close."""
    way = view.grasp - view.tip
    turn = _turn_across(view.closing, view.long_axis)
    grasp = max(view.grasp[2] - DEPTH, view.floor + CLEARANCE)
    if math.hypot(way[0], way[1]) < OVER and abs(turn) < ALIGNED:
        down = grasp - view.tip[2]
        there = down > -TOUCH
        return _motion(np.array([way[0], way[1], down]), turn, CLOSED if there else OPEN)
    up = view.over - view.tip[2]
    if up > HOVER / 2:  # beside it: first out of its way
        return _motion(np.array([0.0, 0.0, up]), 0.0, OPEN)
    return _motion(np.array([way[0], way[1], up]), turn, OPEN)


def _apart(one: Vector, other: Vector) -> float:
    return math.hypot(one[0] - other[0], one[1] - other[1])


def _turn_across(closing: Vector, long_axis: Vector) -> float:
    """The smallest turn about the vertical after which the fingers close across an axis."""
    wanted = math.atan2(long_axis[1], long_axis[0]) + math.pi / 2
    now = math.atan2(closing[1], closing[0])
    return (wanted - now + math.pi / 2) % math.pi - math.pi / 2


def _motion(way: Vector, turn: float, gripper: float) -> Float32[np.ndarray, " 7"]:
    """The action for a displacement in the world's frame, no longer than the largest."""
    length = float(np.linalg.norm(way))
    x, y, z = way * min(1.0, LARGEST_MOVE / max(length, 1e-9))
    turn = min(max(turn, -LARGEST_TURN), LARGEST_TURN)
    # The robot's base is turned by 180 degrees about the vertical.
    return np.array([-x, -y, z, 0.0, 0.0, turn, gripper], np.float32)
