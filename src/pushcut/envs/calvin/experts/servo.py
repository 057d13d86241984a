"""What experts see, and how they move: waypoints, reached by the hand's kept target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from pushcut.envs.calvin.oracles import Block, Info
from pushcut.envs.calvin.scenes import STEP_POSITION, STEP_TURN, SceneFacts

OPEN, CLOSED = 1.0, -1.0
YAW = np.pi / 2
"""The hand's yaw at rest: its fingers then close along x."""
SAFE = 0.56
"""Height at which the hand travels above blocks, metres."""
NEAR = 0.015
"""Distance at which a waypoint counts as reached, metres."""
LAG = 0.05
"""How far behind its target an arm hangs at most, metres."""
SWING = 0.2
"""Angle at which a turn counts as done, radians."""

Point = tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """What an expert looks at."""

    scene: SceneFacts
    """Where things are in this scene."""
    hand: Float64[np.ndarray, " 6"]
    """Where the finger tips are, and the hand's Euler angles."""
    target: Float64[np.ndarray, " 6"]
    """Where actions so far want them to be."""
    opening: float
    """Distance of the fingers, metres."""
    button: float
    switch: float
    begun: Info
    """What held when the sub-task began."""
    now: Info

    @property
    def tip(self) -> Float64[np.ndarray, " 3"]:
        """Where the finger tips are."""
        return self.hand[:3]

    def block(self, colour: str) -> Block:
        """A block."""
        return self.now.blocks[colour]

    def turns(self, wanted: Point) -> float:
        """Largest angle between the hand's Euler angles and the ``wanted`` ones, radians."""
        return float(np.abs(wrapped(np.array(wanted) - self.hand[3:])).max())


def wrapped(angle: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
    """Angles in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def down(yaw: float = YAW, pitch: float = 0.0) -> Point:
    """Euler angles of a hand that points down; a negative pitch tilts the tips away from us."""
    return np.pi, pitch, yaw


def approach(turn: Point) -> Float64[np.ndarray, " 3"]:
    """Where the tips of a hand point to, of which ``down`` gave the angles."""
    _, pitch, yaw = turn
    out = -np.sin(pitch)
    return np.array((out * np.cos(yaw), out * np.sin(yaw), -np.cos(pitch)))


def go(
    view: View, point: Point | Float64[np.ndarray, " 3"], turn: Point, gripper: float
) -> Float32[np.ndarray, " 7"]:
    """The action that brings the hand's target as near to a pose as one step can."""
    move = (np.asarray(point, np.float64) - view.target[:3]) / STEP_POSITION
    swing = wrapped(np.array(turn) - view.target[3:]) / STEP_TURN
    return np.concatenate([np.clip(move, -1, 1), np.clip(swing, -1, 1), [gripper]]).astype(
        np.float32
    )


def shifted(view: View, move: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """Where the target has to be so that the hand moves by ``move``.

    A far arm hangs behind its target by centimetres; near the end the target goes on by itself.
    """
    if np.linalg.norm(move) > LAG:
        return view.tip + move
    return view.target[:3] + 0.3 * move


def above(
    view: View, point: Point, turn: Point, gripper: float, safe: float = SAFE
) -> Float32[np.ndarray, " 7"] | None:
    """A step towards the place above a point; None where the hand is over it, turned as wanted."""
    x, y, _ = point
    off = float(np.hypot(view.tip[0] - x, view.tip[1] - y))
    if off < NEAR and view.turns(turn) < SWING:
        return None
    if off > 2 * NEAR and view.tip[2] < safe - 0.03:
        return go(view, (*view.tip[:2], safe), turn, gripper)
    return go(view, (x, y, safe), turn, gripper)


def onto(
    view: View, point: Point, turn: Point, gripper: float, safe: float = SAFE
) -> Float32[np.ndarray, " 7"]:
    """A step towards a point from above it."""
    step = above(view, point, turn, gripper, safe)
    return go(view, point, turn, gripper) if step is None else step
