"""Experts of ManiSkill's tasks: mplib plans a screw motion, the hand follows it.

They have no memory. Each action looks at the state, decides which pose of the hand comes next,
plans there from the current joints, and steers for a waypoint ahead on the plan. So they work
from any state, also where noise or a policy has brought the robot.
"""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mplib
import numpy as np
from jaxtyping import Float32
from transforms3d.quaternions import mat2quat, qinverse, qmult, quat2axangle, quat2mat

OPEN, CLOSED = 1.0, -1.0
AHEAD = 8
"""Waypoint of the plan that is steered for, control steps; the plan starts from rest."""
HOVER = 0.08
"""Height over a place from which the hand comes down, metres."""
OVER = 0.008
"""Horizontal distance at which one thing is over another, metres."""
TOUCH = 0.006
"""Distance at which the hand is there, metres."""
ALIGNED = 0.07
"""Angle at which the fingers are parallel to the cube's faces, radians."""
EDGE = 0.04
"""Half edge of a cube, metres."""
FINGER = 0.05
"""From the middle of the open hand to the middle of a finger, metres."""
ROOM_BEHIND = 0.055
"""From the middle of a cube to the hand that comes down to push it, metres."""
ASIDE = 0.012
"""How far beside the line of a push the hand may be, metres."""
ONTO_DISC = 0.085
"""From a disc's centre to where a cube is pushed, metres; it counts from 0.1 on."""
FINGER_ROOM = 0.045
"""From the middle of a cube to the middle of a finger beside its corner, metres."""

Vector = np.ndarray


@dataclass(frozen=True)
class Pose:
    """Pose of the point between the fingers, or of a cube."""

    p: Vector
    """Metres."""
    q: Vector
    """Quaternion, w first."""

    @property
    def axes(self) -> Vector:
        """The body's axes as columns."""
        return quat2mat(self.q)


@dataclass(frozen=True)
class Waypoint:
    """What the expert wants next."""

    p: Vector
    closing: Vector
    """Direction from finger to finger, a horizontal unit vector."""
    gripper: float


class Expert:
    """Plans for one robot; which scene it is in does not matter."""

    def __init__(self, env: Any, *, largest_move: float, largest_turn: float) -> None:
        """The hand's displacement (metres) and turn (radians) for which an action is 1."""
        agent = env.agent
        links = [link.get_name() for link in agent.robot.get_links()]
        self._planner = mplib.Planner(
            urdf=agent.urdf_path,
            srdf=agent.urdf_path.replace(".urdf", ".srdf"),
            user_link_names=links,
            user_joint_names=[joint.get_name() for joint in agent.robot.get_active_joints()],
            move_group="panda_hand_tcp",
        )
        base = agent.robot.pose.raw_pose[0].numpy().astype(float)
        self._planner.set_base_pose(base)
        self._base = base[:3]  # it is not turned
        self._hand_link = links.index("panda_hand_tcp")
        self._dt = env.control_timestep
        self._scale = np.array([largest_move] * 3 + [largest_turn] * 3)

    def action(
        self, task: str, *, qpos: Vector, hand: Vector, cube: Vector, target: Vector, held: bool
    ) -> Float32[np.ndarray, " 7"]:
        """The expert's action; poses are position and quaternion."""
        here, red, goal = (Pose(pose[:3], pose[3:]) for pose in (hand, cube, target))
        waypoint = WISHES[task](here, red, goal, held=held)
        there = self._ahead(qpos, here, waypoint)
        axis, angle = quat2axangle(qmult(there.q, qinverse(here.q)))
        if angle > np.pi:
            angle -= 2 * np.pi
        move = np.concatenate([there.p - here.p, axis * angle]) / self._scale
        turn = np.linalg.norm(move[3:])
        move[3:] /= max(1.0, float(turn))  # a turn is limited as a whole
        return np.array([*np.clip(move, -1, 1), waypoint.gripper], dtype=np.float32)

    def _ahead(self, qpos: Vector, here: Pose, waypoint: Waypoint) -> Pose:
        """Where the hand is ``AHEAD`` steps later on a planned motion."""
        down = np.array([0.0, 0.0, -1.0])
        axes = np.stack([np.cross(waypoint.closing, down), waypoint.closing, down], axis=1)
        goal = Pose(waypoint.p, mat2quat(axes))
        if np.linalg.norm(goal.p - here.p) < TOUCH / 2:
            return goal
        plan = self._planner.plan_screw(
            np.concatenate([goal.p, goal.q]), qpos.astype(float), time_step=self._dt
        )
        if plan["status"] != "Success":
            return goal  # beyond a joint's limit or in contact: try the straight line
        joints = plan["position"]
        full = np.concatenate([joints[min(AHEAD, len(joints) - 1)], qpos[len(joints[0]) :]])
        model = self._planner.pinocchio_model
        model.compute_forward_kinematics(full)
        pose = np.array(model.get_link_pose(self._hand_link))
        return Pose(pose[:3] + self._base, pose[3:])


def pick(here: Pose, red: Pose, goal: Pose, *, held: bool) -> Waypoint:
    """To the cube, and with it to the goal."""
    if held:
        return Waypoint(goal.p + (here.p - red.p), level(here.axes[:, 1]), CLOSED)
    return grasp(here, red, ())


def stack(here: Pose, red: Pose, green: Pose, *, held: bool) -> Waypoint:
    """The red cube on the green one, then let go."""
    closing = level(here.axes[:, 1])
    on_top = green.p + np.array([0.0, 0.0, EDGE])
    off = red.p - on_top
    over = float(np.linalg.norm(off[:2]))
    if over < OVER and abs(off[2]) < TOUCH:
        return Waypoint(here.p, closing, OPEN)
    if not held:
        return grasp(here, red, (green.p,))
    carry = here.p - red.p
    if over < OVER:
        return Waypoint(on_top + carry, closing, CLOSED)
    above = on_top + np.array([0.0, 0.0, EDGE])
    if red.p[2] < above[2] - OVER and over < 3 * EDGE:
        # Straight up first: the cubes may stand side by side.
        return Waypoint(np.array([*red.p[:2], above[2] + OVER]) + carry, closing, CLOSED)
    return Waypoint(above + carry, closing, CLOSED)


def shove(here: Pose, blue: Pose, disc: Pose, *, held: bool) -> Waypoint:
    """Behind the cube with closed fingers, and towards the disc."""
    along = level(disc.p - blue.p)
    closing = level(here.axes[:, 1])
    off = here.p - blue.p
    behind = -float(off @ along)
    aside = float(np.linalg.norm(off[:2] + behind * along[:2]))
    if behind > EDGE / 2 and aside < ASIDE and abs(off[2]) < OVER:
        # No further than it takes: the disc's far side is beyond the arm's reach.
        left = float((disc.p - blue.p) @ along) - ONTO_DISC
        return Waypoint(here.p + max(left, TOUCH) * along, closing, CLOSED)
    place = blue.p - ROOM_BEHIND * along
    if np.linalg.norm((here.p - place)[:2]) < OVER:
        return Waypoint(place, closing, CLOSED)
    high = place + np.array([0.0, 0.0, HOVER])
    if here.p[2] < blue.p[2] + EDGE:
        # Straight up first: the cube may be in the way.
        return Waypoint(np.array([*here.p[:2], high[2]]), closing, CLOSED)
    return Waypoint(high, closing, CLOSED)


WISHES = {
    "PickCube-v1": pick,
    "StackCube-v1": stack,
    "PushCube-v1": shove,
    "PullCube-v1": shove,
}
"""Task -> what its expert wants, from the poses of hand, cube and target."""


def grasp(here: Pose, red: Pose, obstacles: tuple[Vector, ...]) -> Waypoint:
    """Over the cube, turned so that the fingers fit; down to it; and close."""
    closing = grasp_direction(here, red, obstacles)
    off = red.p - here.p
    if np.linalg.norm(off) < TOUCH:
        return Waypoint(red.p, closing, CLOSED)
    turned = float(np.arccos(np.clip(closing @ level(here.axes[:, 1]), -1, 1))) < ALIGNED
    if np.linalg.norm(off[:2]) < OVER and turned:
        return Waypoint(red.p, closing, OPEN)
    return Waypoint(red.p + np.array([0.0, 0.0, HOVER]), closing, OPEN)


def grasp_direction(here: Pose, red: Pose, obstacles: tuple[Vector, ...]) -> Vector:
    """The nearest of a cube's four horizontal directions that leaves room for the fingers."""
    face = level(red.axes[:, int(np.argmax(np.linalg.norm(red.axes[:2], axis=0)))])
    other = np.array([-face[1], face[0], 0.0])
    now = level(here.axes[:, 1])

    def room(closing: Vector) -> float:
        fingers = (red.p + FINGER * closing, red.p - FINGER * closing)
        return min(
            (float(np.linalg.norm((f - o)[:2])) for f in fingers for o in obstacles),
            default=FINGER_ROOM,
        )

    return max(
        (face, -face, other, -other),
        key=lambda closing: (min(room(closing), FINGER_ROOM), closing @ now),
    )


def level(direction: Vector) -> Vector:
    """The horizontal part, of length 1."""
    flat = np.array([direction[0], direction[1], 0.0])
    return flat / np.linalg.norm(flat)
