"""Stack two bowls on the mark: each hand brings one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pushcut.envs.bimanual.scene import OBJECT, free_body, pad
from pushcut.envs.bimanual.tasks.base import (
    Goal,
    Place,
    Pose,
    Task,
    Vector,
    View,
    flat,
    let_go,
    resting,
)

FOOT, FLOOR, RIM = 0.024, 0.030, 0.052
"""Heights at which a bowl's foot ends, its floor ends and its wall ends; metres. The foot of one
bowl fits into another, so that it stands ``FLOOR`` higher."""
RADIUS, FOOT_RADIUS = 0.050, 0.028
"""How wide a bowl is in the middle of its wall, and at its foot; metres."""
WALL = 0.004
"""Half of the wall's thickness, metres."""
GRIP_HEIGHT = 0.046
"""Where a hand takes the wall, metres."""
ON_MARK, INSIDE = 0.045, 0.022
"""How far the lower bowl may be from the mark, and the upper one from the lower; metres."""
BOWLS = {"left": "left_bowl", "right": "right_bowl"}


def bowl(name: str, rgba: str) -> str:
    """A foot, a floor and eight walls."""
    half = 0.5 * (RIM - FOOT)
    geoms = [
        f'<geom {OBJECT} type="cylinder" size="{FOOT_RADIUS} {FOOT / 2}" pos="0 0 {FOOT / 2}" '
        f'mass="0.03" rgba="{rgba}"/>',
        f'<geom {OBJECT} type="cylinder" size="{RADIUS} {(FLOOR - FOOT) / 2}" '
        f'pos="0 0 {(FLOOR + FOOT) / 2}" mass="0.02" rgba="{rgba}"/>',
    ]
    for turn in np.arange(8) * np.pi / 4:
        x, y = RADIUS * np.sin(turn), -RADIUS * np.cos(turn)
        geoms.append(
            f'<geom {OBJECT} type="box" size="{0.4142 * (RADIUS + WALL):.5f} {WALL} {half}" '
            f'pos="{x:.5f} {y:.5f} {FOOT + half}" euler="0 0 {turn:.5f}" mass="0.004" '
            f'rgba="{rgba}"/>'
        )
    return free_body(name, "".join(geoms))


class StackBowls(Task):
    """Solved when one bowl stands on the mark and the other in it, both hands open."""

    instruction = "stack the two bowls on the mark"
    max_steps = 300
    bodies = ("left_bowl", "right_bowl", "mark")
    objects = (
        pad("mark", 0.05, "0.25 0.55 0.3 1")
        + bowl("left_bowl", "0.25 0.45 0.85 1")
        + bowl("right_bowl", "0.9 0.55 0.2 1")
    )

    def start(self, rng: np.random.Generator) -> Mapping[str, Place]:
        left = rng.uniform((-0.26, 0.05), (-0.17, 0.15))
        right = rng.uniform((0.17, 0.05), (0.26, 0.15))
        return {
            "left_bowl": Place(left[0], left[1], 0.0),
            "right_bowl": Place(right[0], right[1], 0.0),
            "mark": Place(0.0, 0.12, 0.001),
        }

    def solved(self, view: View) -> bool:
        mark = view.bodies["mark"].position
        low, high = sorted((view.bodies[name] for name in BOWLS.values()), key=_height)
        there = flat(low.position, mark) <= ON_MARK and low.position[2] < 0.01
        released = all(hand.is_open for hand in view.hands.values())
        return bool(there and _inside(high, low) and released)

    def goals(self, view: View) -> Mapping[str, Goal]:
        mark = view.bodies["mark"].position
        goals = resting()
        below, above = view.bodies["left_bowl"], view.bodies["right_bowl"]
        placed = bool(flat(below.position, mark) < 0.03 and below.position[2] < 0.006)
        goals["left"] = self._bring(view, "left", mark, placed=placed)
        stacked = _inside(above, below)
        ready = placed and view.hands["left"].position[0] < -0.15
        target = below.position + (0, 0, FLOOR + 0.002) if ready else np.array([0.2, mark[1], 0.1])
        goals["right"] = self._bring(view, "right", target, placed=stacked)
        return goals

    def _bring(self, view: View, side: str, target: Vector, *, placed: bool) -> Goal:
        """Takes a bowl by its rim and puts it on ``target``."""
        hand, one = view.hands[side], view.bodies[BOWLS[side]]
        rim = one.point(0.0, -RADIUS, GRIP_HEIGHT)
        if placed:
            return let_go(hand, side)
        if hand.near(rim, 0.025) and hand.closed_on(2 * WALL):
            # What counts is where the bowl goes, and it is not held at its middle.
            offset = hand.position - one.position
            return Goal(target + (offset[0], offset[1], GRIP_HEIGHT), open=False)
        return Goal(rim, open=not hand.near(rim, 0.012))


def _inside(high: Pose, low: Pose) -> bool:
    """Whether one bowl stands in another."""
    upright = low.tilt < 0.1 and high.tilt < 0.15
    raised = float(high.position[2] - low.position[2])
    near = flat(high.position, low.position) <= INSIDE
    return bool(upright and near and abs(raised - FLOOR) < 0.006)


def _height(pose: Pose) -> float:
    return float(pose.position[2])
