"""Joints that bring a hand to a pose: damped least squares on MuJoCo's Jacobians.

This module imports mujoco, so it is itself imported late, by ``simulator``.
"""

# mujoco has no type stubs for its compiled part.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import mujoco
import numpy as np
from jaxtyping import Float64

from pushcut.envs.bimanual.arms import JOINT_HIGH, JOINT_LOW, JOINTS, numbers

LAMBDA = 0.03
"""Damping of the least squares."""
ITERATIONS, ENOUGH = 12, 2e-4
"""Most steps, and the error (metres, radians) at which they end."""


class ArmKinematics:
    """One arm, moved in a copy of the simulator's data that nothing else looks at."""

    def __init__(self, model: mujoco.MjModel, side: str) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        joints = [model.joint(name) for name in numbers(side)[:JOINTS]]
        self._qpos = np.array([int(joint.qposadr[0]) for joint in joints])
        self._dofs = np.array([int(joint.dofadr[0]) for joint in joints])
        self._site = int(model.site(f"{side}_grasp").id)
        self._jacobian = np.zeros((6, model.nv))

    def pose(
        self, joints: Float64[np.ndarray, " 6"]
    ) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, "3 3"]]:
        """Position of the hand and its axes, one in each column."""
        self._data.qpos[self._qpos] = joints
        mujoco.mj_kinematics(self._model, self._data)
        axes = self._data.site_xmat[self._site].reshape(3, 3)
        return self._data.site_xpos[self._site].copy(), axes.copy()

    def solve(
        self,
        joints: Float64[np.ndarray, " 6"],
        position: Float64[np.ndarray, " 3"],
        yaw: float,
    ) -> Float64[np.ndarray, " 6"]:
        """Joints within their limits at which the hand is there and points down, from others."""
        joints, wanted = joints.copy(), pointing_down(yaw)
        for _ in range(ITERATIONS):
            at, axes = self.pose(joints)
            turn = 0.5 * np.cross(axes.T, wanted.T).sum(axis=0)
            error = np.concatenate([position - at, turn])
            if np.abs(error).max() < ENOUGH:
                break
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_jacSite(
                self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._site
            )
            jacobian = self._jacobian[:, self._dofs]
            square = jacobian @ jacobian.T + LAMBDA**2 * np.eye(6)
            joints += jacobian.T @ np.linalg.solve(square, error)
            np.clip(joints, JOINT_LOW, JOINT_HIGH, out=joints)
        return joints


def pointing_down(yaw: float) -> Float64[np.ndarray, "3 3"]:
    """Axes of a hand that points down: its y is -z, its z is the table's y turned by ``yaw``."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, 0, -sin], [sin, 0, cos], [0, -1, 0]])
