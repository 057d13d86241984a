"""Scripted experts for LIBERO's pick-and-place tasks, on OSC actions from privileged state.

An expert is a function of the simulator's positions and velocities alone: it keeps no phase, so
it can be asked in any state, after a restore as well. Which object goes where is read from the
task's goal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

POSITION_SCALE = 0.05
"""Displacement of the hand's target for an action of 1, metres."""
ROTATION_SCALE = 0.5
"""Rotation of the hand's target for an action of 1, radians."""
POSITION_GAIN = 1.5
ROTATION_GAIN = 1.0
"""Part of the remaining way that an action asks for."""
OPEN, CLOSED = 1.0, -1.0


@dataclass(frozen=True)
class Hand:
    """The gripper: z of ``rotation`` points out of the palm, the fingers slide along its y."""

    position: np.ndarray
    rotation: np.ndarray
    opening: float
    """Distance of the fingers, metres: 0.08 is wide open."""
    finger_speed: float
    """Metres per second, of the distance."""


class Scene:
    """Poses of hand and objects, computed from positions in a scratch copy of the simulator.

    The simulator's own derived numbers lag behind its positions by a part of a step and depend
    on how the state was reached; these do not.
    """

    def __init__(self, env: Any) -> None:
        import mujoco

        self.env = env
        self._kinematics = mujoco.mj_kinematics
        self._make_data = mujoco.MjData
        self._boxes: dict[str, tuple[int, np.ndarray]] = {}
        self._model: Any = None

    def update(self) -> None:
        """Follows the simulator."""
        model, source = self.env.sim.model._model, self.env.sim.data._data
        if model is not self._model:
            self._model, self._data = model, self._make_data(model)
            self._boxes.clear()
        self._data.qpos[:] = source.qpos
        self._data.qvel[:] = source.qvel
        self._kinematics(model, self._data)

    def hand(self) -> Hand:
        """Pose of hand and fingers."""
        site = self.env.sim.model.site_name2id("gripper0_grip_site")
        fingers = [
            self.env.sim.model.joint_name2id(f"gripper0_finger_joint{number}") for number in (1, 2)
        ]
        positions = self._data.qpos[self._model.jnt_qposadr[fingers]]
        speeds = self._data.qvel[self._model.jnt_dofadr[fingers]]
        return Hand(
            position=self._data.site_xpos[site].copy(),
            rotation=self._data.site_xmat[site].reshape(3, 3).copy(),
            opening=float(positions[0] - positions[1]),
            finger_speed=float(speeds[0] - speeds[1]),
        )

    def corners(self, name: str) -> np.ndarray:
        """Corners [n, 8, 3] of an object's collision boxes, in world coordinates."""
        body, local = self._box_corners(name)
        rotation = self._data.xmat[body].reshape(3, 3)
        return self._data.xpos[body] + local @ rotation.T

    def position(self, name: str) -> np.ndarray:
        """Origin of an object's body."""
        return self._data.xpos[self.env.obj_body_id[name]].copy()

    def site(self, name: str) -> np.ndarray:
        """Centre of a site."""
        return self._data.site_xpos[self.env.sim.model.site_name2id(name)].copy()

    def _box_corners(self, name: str) -> tuple[int, np.ndarray]:
        if name not in self._boxes:
            body, model, data = self.env.obj_body_id[name], self._model, self._data
            signs = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, 8).T
            geoms = [
                geom
                for geom in range(model.ngeom)
                if model.geom_bodyid[geom] == body and model.geom_contype[geom]
            ]
            world = np.array(
                [
                    data.geom_xpos[geom]
                    + (signs * model.geom_size[geom]) @ data.geom_xmat[geom].reshape(3, 3).T
                    for geom in geoms
                ]
            )
            local = (world - data.xpos[body]) @ data.xmat[body].reshape(3, 3)
            self._boxes[name] = (body, local)
        return self._boxes[name]


def make_expert(env: Any) -> Callable[[], np.ndarray]:
    """The expert of a robosuite environment's task: a function that returns the next action.

    Raises NotImplementedError where there is none.
    """
    goal = env.parsed_problem["goal_state"]
    scene = Scene(env)
    if len(goal) == 1 and goal[0][0] == "in" and "basket" in goal[0][2]:
        return PickPlace(scene, goal[0][1], goal[0][2])
    raise NotImplementedError(f"no scripted expert for the goal {goal}")


class PickPlace:
    """Takes an object from above and lets it go over its target."""

    def __init__(self, scene: Scene, obj: str, target: str) -> None:
        self.scene = scene
        self.obj = obj
        self.target = target

    def __call__(self) -> np.ndarray:
        """The action for the simulator's current state."""
        self.scene.update()
        hand = self.scene.hand()
        corners = self.scene.corners(self.obj).reshape(-1, 3)
        low, high = corners.min(0), corners.max(0)
        grasp = (low + high) / 2
        grasp[2] = max(low[2] + 0.008, high[2] - 0.03)
        target = self.scene.site(self.target)
        rim = target[2] + 0.07

        way = target - self.scene.position(self.obj)
        way[2] = 0.0
        over = np.linalg.norm(way) < 0.025
        if over and low[2] < rim:
            way[2] = max(rim - 0.06 - low[2], -0.05) if hand.opening < 0.07 else 0.05
            return move(hand, hand.position + way, OPEN)
        if self._held(hand, grasp):
            way[2] = rim + (-0.06 if over else 0.03) - low[2]
            return move(hand, hand.position + funnel(way), CLOSED)
        return self._approach(hand, grasp)

    def _approach(self, hand: Hand, grasp: np.ndarray) -> np.ndarray:
        way = grasp - hand.position
        distance = np.linalg.norm(way[:2])
        closing = hand.opening < 0.07
        if distance < (0.03 if closing else 0.008) and abs(way[2]) < (0.02 if closing else 0.006):
            return move(hand, grasp, CLOSED)
        if closing:
            return move(hand, hand.position + [0, 0, 0.05], OPEN)
        way[2] += 0.1 * np.clip((distance - 0.01) / 0.05, 0, 1)
        return move(hand, hand.position + funnel(way), OPEN)

    def _held(self, hand: Hand, grasp: np.ndarray) -> bool:
        near = np.linalg.norm((grasp - hand.position)[:2]) < 0.03
        near &= abs(grasp[2] - hand.position[2]) < 0.03
        return bool(near and 0.002 < hand.opening < 0.07 and abs(hand.finger_speed) < 0.01)


def funnel(way: np.ndarray) -> np.ndarray:
    """Holds sideways motion back while the hand is too low for it."""
    sideways = np.clip(1 - way[2] / 0.06, 0, 1)
    return way * [sideways, sideways, 1]


def move(hand: Hand, position: np.ndarray, gripper: float, yaw: float = 0.0) -> np.ndarray:
    """An action that moves the hand towards a position, straight, fingers along world y."""
    translation = POSITION_GAIN * (position - hand.position) / POSITION_SCALE
    translation /= max(1.0, np.abs(translation).max())
    goal = np.array([[np.sin(yaw), np.cos(yaw), 0], [np.cos(yaw), -np.sin(yaw), 0], [0, 0, -1]])
    turn = sum(np.cross(hand.rotation[:, k], goal[:, k]) for k in range(3)) / 2
    angle = np.linalg.norm(turn)
    turn *= max(0.0, 1 - 0.1 / max(angle, 1e-6))
    rotation = np.clip(ROTATION_GAIN * turn / ROTATION_SCALE, -1, 1)
    return np.concatenate([translation, rotation, [gripper]]).astype(np.float32)
