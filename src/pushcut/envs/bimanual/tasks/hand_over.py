"""Hand a block over: the left hand takes it, the right hand gets it and puts it on the mark."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pushcut.envs.bimanual.scene import OBJECT, free_body, pad
from pushcut.envs.bimanual.tasks.base import Goal, Place, Pose, Task, View, flat, let_go, resting

HALF_LENGTH, HALF_WIDTH = 0.10, 0.018
GRIP = 0.06
"""How far from the block's middle the hands take it, metres."""
MEETING = np.array([0.0, 0.08, 0.16])
"""Where the block's middle is while it changes hands."""
ON_MARK = 0.045
"""How far the block's middle may be from that of the mark, metres."""
CLEAR = 0.15
"""How far the left hand must be from the block, metres."""


class HandOver(Task):
    """Solved when the block lies on the mark, the right hand open at it, the left one away."""

    instruction = "hand the block from the left hand to the right hand and put it on the mark"
    max_steps = 250
    bodies = ("block", "mark")
    objects = pad("mark", 0.05, "0.2 0.35 0.8 1") + free_body(
        "block",
        f"""
      <geom {OBJECT} type="box" size="{HALF_LENGTH / 2} {HALF_WIDTH} {HALF_WIDTH}"
        pos="{-HALF_LENGTH / 2} 0 0" mass="0.05" rgba="0.85 0.2 0.15 1"/>
      <geom {OBJECT} type="box" size="{HALF_LENGTH / 2} {HALF_WIDTH} {HALF_WIDTH}"
        pos="{HALF_LENGTH / 2} 0 0" mass="0.05" rgba="0.95 0.6 0.15 1"/>""",
    )

    def start(self, rng: np.random.Generator) -> Mapping[str, Place]:
        x, y, yaw = rng.uniform((-0.25, 0.03, -0.25), (-0.15, 0.13, 0.25))
        mark_x, mark_y = rng.uniform((0.17, 0.04), (0.23, 0.12))
        return {
            "block": Place(x, y, HALF_WIDTH, yaw),
            "mark": Place(mark_x, mark_y, 0.001),
        }

    def solved(self, view: View) -> bool:
        block, left, right = view.bodies["block"], view.hands["left"], view.hands["right"]
        given = right.near(block.position, HALF_LENGTH) and right.is_open
        away = not left.near(block.position, CLEAR)
        return bool(_on_mark(view) and given and away)

    def goals(self, view: View) -> Mapping[str, Goal]:
        block, left, right = view.bodies["block"], view.hands["left"], view.hands["right"]
        left_grip, right_grip = block.point(-GRIP, 0.0, 0.0), block.point(GRIP, 0.0, 0.0)
        goals = resting()
        left_has = left.near(left_grip, 0.02) and left.closed_on(HALF_WIDTH)
        right_has = right.near(right_grip, 0.02) and right.closed_on(HALF_WIDTH)
        if right_has or (right.near(right_grip, 0.03) and _on_mark(view)):
            goals["left"] = let_go(left, "left")
            goals["right"] = self._deliver(view, left_has=left_has)
        elif left_has:
            goals["left"] = Goal(MEETING - (GRIP, 0, 0), open=False)
            arrived = flat(block.position, MEETING) < 0.02 and abs(block.yaw) < 0.1
            high = block.position[2] > MEETING[2] - 0.02
            close = right.near(right_grip, 0.012)
            waiting = MEETING + (GRIP, 0, 0.09)
            take = arrived and high
            goals["right"] = Goal(right_grip if take else waiting, open=not (take and close))
        else:
            goals["left"] = Goal(left_grip, block.yaw, open=not left.near(left_grip, 0.012))
        return goals

    @staticmethod
    def _deliver(view: View, *, left_has: bool) -> Goal:
        right, mark = view.hands["right"], view.bodies["mark"].position
        if _on_mark(view):
            return Goal(right.wanted)
        # Not before the other hand has let go and left.
        if left_has or right.near(view.hands["left"].position, 0.17):
            return Goal(MEETING + (GRIP, 0, 0), open=False)
        return Goal(np.array([mark[0] + GRIP, mark[1], HALF_WIDTH + 0.003]), open=False)


def _on_mark(view: View) -> bool:
    block: Pose = view.bodies["block"]
    near = flat(block.position, view.bodies["mark"].position) <= ON_MARK
    return bool(near and block.position[2] <= HALF_WIDTH + 0.01 and block.tilt < 0.1)
