"""Experts of ManiSkill's tasks: mplib plans a screw motion, the hand follows it.

They have no memory. Each action looks at the state, decides which pose of the hand comes next,
plans there from the current joints, and steers for a waypoint ahead on the plan. So they work
from any state, also where noise or a policy has brought the robot.
"""

from __future__ import annotations

from typing import Any

import mplib
import numpy as np
from jaxtyping import Float32

OPEN, CLOSED = 1.0, -1.0
LARGEST_STEP = 0.1
"""Displacement for which an action is 1, metres."""
AHEAD = 6
"""Waypoint of the plan that is steered for, control steps; the plan starts from rest."""
HOVER = 0.08
"""Height over a place from which the hand comes down, metres."""
OVER = 0.008
"""Horizontal distance at which the hand is over something, metres."""
TOUCH = 0.006
"""Distance at which the hand is there, metres."""
EDGE = 0.04
"""Of a cube, metres."""

Vector = np.ndarray


class Expert:
    """Plans for one robot; which scene it is in does not matter."""

    def __init__(self, env: Any) -> None:
        agent = env.agent
        self._planner = mplib.Planner(
            urdf=agent.urdf_path,
            srdf=agent.urdf_path.replace(".urdf", ".srdf"),
            user_link_names=[link.get_name() for link in agent.robot.get_links()],
            user_joint_names=[joint.get_name() for joint in agent.robot.get_active_joints()],
            move_group="panda_hand_tcp",
        )
        base = agent.robot.pose.raw_pose[0].numpy()
        self._planner.set_base_pose(base)
        self._base = base[:3].astype(float)
        self._hand_link = self._planner.user_link_names.index("panda_hand_tcp")
        self._dt = env.control_timestep

    def action(
        self,
        task: str,
        *,
        qpos: Vector,
        hand: tuple[float, ...],
        cube: tuple[float, ...],
        target: tuple[float, ...],
        held: bool,
    ) -> Float32[np.ndarray, " 4"]:
        """The expert's action; poses are position and quaternion."""
        here, red, goal = (np.array(pose[:3]) for pose in (hand, cube, target))
        place = stack if task == "StackCube-v1" else pick
        there, gripper = place(here, red, goal, held=held)
        move = self._towards(qpos, np.array(hand), there) - here
        return np.array([*np.clip(move / LARGEST_STEP, -1, 1), gripper], dtype=np.float32)

    def _towards(self, qpos: Vector, hand: Vector, there: Vector) -> Vector:
        """Where the hand is ``AHEAD`` steps later on a planned motion, with its orientation."""
        if np.linalg.norm(there - hand[:3]) < TOUCH / 2:
            return there
        plan = self._planner.plan_screw(
            np.concatenate([there, hand[3:]]), qpos.astype(float), time_step=self._dt
        )
        if plan["status"] != "Success":
            return there  # beyond a joint's limit or through an obstacle: try the straight line
        joints = plan["position"]
        full = np.concatenate([joints[min(AHEAD, len(joints) - 1)], qpos[len(joints[0]) :]])
        model = self._planner.pinocchio_model
        model.compute_forward_kinematics(full)
        return np.array(model.get_link_pose(self._hand_link)[:3]) + self._base


def pick(here: Vector, red: Vector, goal: Vector, *, held: bool) -> tuple[Vector, float]:
    """Next position of the hand and the gripper: to the cube, and with it to the goal."""
    if held:
        return goal + (here - red), CLOSED
    return grasp(here, red)


def stack(here: Vector, red: Vector, green: Vector, *, held: bool) -> tuple[Vector, float]:
    """Next position of the hand and the gripper: the red cube on the green one, then let go."""
    on_top = green + (0.0, 0.0, EDGE)
    off = red - on_top
    there = np.linalg.norm(off[:2]) < OVER and abs(off[2]) < 0.004
    if there:
        return here + (0.0, 0.0, 0.0), OPEN
    if not held:
        return grasp(here, red)
    carry = here - red
    if np.linalg.norm(off[:2]) < OVER:
        return on_top + carry, CLOSED
    above = on_top + (0.0, 0.0, EDGE)
    if red[2] < above[2] - 0.01 and np.linalg.norm(off[:2]) < 2.5 * EDGE:
        return np.array([*red[:2], above[2] + 0.005]) + carry, CLOSED
    return above + carry, CLOSED


def grasp(here: Vector, red: Vector) -> tuple[Vector, float]:
    """Over the cube, down to it, and close."""
    off = red - here
    if np.linalg.norm(off) < TOUCH:
        return red, CLOSED
    if np.linalg.norm(off[:2]) < OVER:
        return red, OPEN
    return red + (0.0, 0.0, HOVER), OPEN
