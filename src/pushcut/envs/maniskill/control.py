"""Moves an arm of ManiSkill's and judges its grip as ManiSkill does, without tensors.

ManiSkill computes with tensors for many scenes at once. For a single one on a CPU that takes
several times as long as PhysX: a control step of the Panda 4.0 ms, of which PhysX takes 0.5. Here
it takes 0.7: the same numbers (to float32's rounding) from SAPIEN's own poses and numpy.

This module imports the simulator, so it is itself imported late, by the simulators.
"""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import sapien
from jaxtyping import Float32, Float64
from mani_skill.utils.common import to_tensor

from pushcut.envs.contacts import OPENS, WIDEST_ANGLE
from pushcut.envs.maniskill.contacts import ContactReader
from pushcut.envs.maniskill.sapien_process import sapien_pose

LEAST_FORCE = 0.5
"""What a finger must press with to hold a thing, newtons."""
IK_ITERATIONS = 100


class HandControl:
    """Control steps of one environment's arm: displacements of its hand, and its two fingers.

    It is for one episode, since a scene that is made anew has a new robot.
    """

    def __init__(self, env: Any) -> None:
        """``env``: one of ManiSkill's, just reset, with its arm moved by differences of poses."""
        self._env = env
        self._robot = env.agent.robot._objs[0]
        moved, fingers = (env.agent.controller.controllers[name] for name in ("arm", "gripper"))
        self._scaled = moved.config.normalize_action
        self._reach = np.asarray(moved.config.pos_upper, np.float64)
        self._turn = np.asarray(moved.config.rot_lower, np.float64)
        self._base, self._hand = moved.root_link, moved.ee_link
        self._aimed = self._hand_in_base() if moved.config.use_target else None
        """Where the hand was last sent, if displacements are from there, else None."""
        self._kinematics, self._ik = moved.kinematics, _Order(moved)
        self._joints = [joint._objs[0] for joint in moved.joints]
        self._fingers = [joint._objs[0] for joint in fingers.joints]
        self._opening = (float(fingers.config.lower), float(fingers.config.upper))
        self.grip = Grip(env)
        # The tasks' own judgement asks the robot, at every step.
        env.agent.is_grasping = lambda thing: to_tensor(np.array([self.grip.holds(thing)]))

    @cached_property
    def contacts(self) -> ContactReader:
        """Tells where the objects are and what touches them."""
        return ContactReader(self._env)

    def step(self, action: Float32[np.ndarray, " 7"]) -> None:
        """One control step: displacement and turn of the hand, and the gripper (1: open)."""
        self._send_hand(action[:6].astype(np.float64))
        low, high = self._opening
        opening = (low + high) / 2 + (high - low) / 2 * float(np.clip(action[6], -1, 1))
        for joint in self._fingers:
            joint.set_drive_target(opening)
        physics = self._env.scene.px
        for _ in range(self._env._sim_steps_per_control):
            physics.step()

    def _send_hand(self, motion: Float64[np.ndarray, " 6"]) -> None:
        way, turn = self._physical(motion)
        now = self._aimed or self._hand_in_base()
        turned = sapien.Pose(q=quaternion(turn)) * sapien.Pose(q=now.q)
        goal = sapien.Pose(now.p + way, turned.q)
        if self._aimed is not None:
            self._aimed = goal
        positions = self._robot.qpos
        found, reached, _ = self._kinematics.pmodel.compute_inverse_kinematics(
            self._kinematics.end_link_idx,
            goal,
            initial_qpos=positions[self._ik.given],
            active_qmask=self._ik.moved,
            max_iterations=IK_ITERATIONS,
        )
        # Where no joints lead there, the arm is to stay.
        targets = found[self._ik.found] if reached else positions[self._ik.own]
        for joint, target in zip(self._joints, targets, strict=True):
            joint.set_drive_target(float(target))

    def _physical(
        self, motion: Float64[np.ndarray, " 6"]
    ) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
        """Metres, and angles about x, y and z."""
        way, turn = motion[:3], motion[3:]
        if not self._scaled:
            return way, turn
        length = float(np.linalg.norm(turn))
        return np.clip(way, -1, 1) * self._reach, turn / max(length, 1.0) * self._turn

    def _hand_in_base(self) -> Any:
        return sapien_pose(self._base).inv() * sapien_pose(self._hand)


class _Order:
    """Indices between the joints of the robot and those that the inverse kinematics knows."""

    def __init__(self, moved: Any) -> None:
        kinematics = moved.kinematics
        self.given = kinematics.pmodel_active_joint_indices.numpy()
        self.found = kinematics.pmodel_controlled_joint_indices.numpy()
        self.moved = kinematics.qmask.numpy()
        self.own = moved.active_joint_indices.numpy()


class Grip:
    """What the two fingers of an environment's robot hold, and how hard things touch."""

    def __init__(self, env: Any) -> None:
        self._physics = env.scene.px
        agent = env.agent
        self._fingers = tuple(zip((agent.finger1_link, agent.finger2_link), OPENS, strict=True))

    def holds(self, thing: Any) -> bool:
        """Whether each finger presses an actor, about in the direction in which it closes."""
        return all(self._presses(finger, sign, thing) for finger, sign in self._fingers)

    def force(self, one: Any, other: Any) -> float:
        """How hard two actors push each other, newtons."""
        return float(np.linalg.norm(self._push(one, other)))

    def _presses(self, finger: Any, sign: float, thing: Any) -> bool:
        push = self._push(finger, thing)
        strength = float(np.linalg.norm(push))
        if strength < LEAST_FORCE:
            return False
        opens = sign * sapien_pose(finger).to_transformation_matrix()[:3, 1]
        cosine = float(push @ opens) / strength
        return math.acos(min(max(cosine, -1.0), 1.0)) <= WIDEST_ANGLE

    def _push(self, pushed: Any, by: Any) -> Float64[np.ndarray, " 3"]:
        """What an actor or link is pushed with by another, newtons."""
        pair = pushed._bodies[0].entity, by._bodies[0].entity
        total = np.zeros(3)
        for contact in self._physics.get_contacts():
            first, second = (body.entity for body in contact.bodies)
            if (first, second) == pair:
                total += sum(point.impulse for point in contact.points)
            elif (second, first) == pair:
                total -= sum(point.impulse for point in contact.points)
        return total / self._physics.timestep


def quaternion(turn: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 4"]:
    """Turns about x, then the new y, then the new z, radians, as one quaternion, w first."""
    (a, b, c), (sa, sb, sc) = np.cos(turn / 2), np.sin(turn / 2)
    return np.array(
        [
            a * b * c - sa * sb * sc,
            sa * b * c + a * sb * sc,
            a * sb * c - sa * b * sc,
            a * b * sc + sa * sb * c,
        ]
    )
