"""Where things are in a LIBERO scene, for scripted experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


def _grid(*axes: tuple[float | int, ...]) -> np.ndarray:
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(axes))


CORNERS = _grid((-1, 1), (-1, 1), (-1, 1))
OPEN_HAND = np.concatenate(
    [
        _grid((-0.058, -0.045, 0.045, 0.058), (-0.01, 0.01), (-0.01, 0.01, 0.03)),
        _grid(
            (-0.1, -0.075, -0.05, -0.025, 0, 0.025, 0.05, 0.075, 0.1),
            (-0.03, 0, 0.03),
            (0.04, 0.06, 0.08, 0.1, 0.12),
        ),
    ]
)
"""Points of fingers and palm, metres: along the fingers' axis, across, and up from the grip."""
HAND_RADIUS = float(np.linalg.norm(OPEN_HAND, axis=1).max())


@dataclass(frozen=True)
class Hand:
    """The gripper: z of ``rotation`` points out of the palm, the fingers slide along its x."""

    position: np.ndarray
    rotation: np.ndarray
    opening: float
    """Distance of the fingers, metres: 0.08 is wide open."""
    finger_speed: float
    """Metres per second, of the distance."""
    speed: float
    """Largest speed of an arm's joint, radians per second."""


class Scene:
    """Poses of hand and objects, computed from positions in a scratch copy of the simulator.

    The simulator's own derived numbers lag behind its positions by a part of a step and depend
    on how the state was reached; these do not.
    """

    def __init__(self, env: Any) -> None:
        import mujoco

        self.env = env
        self._mujoco: Any = mujoco
        self._model: Any = None

    def update(self) -> None:
        """Follows the simulator."""
        if self.env.sim.model._model is not self._model:
            self._bind()
        source = self.env.sim.data._data
        self._data.qpos[:] = source.qpos
        self._data.qvel[:] = source.qvel
        self._mujoco.mj_kinematics(self._model, self._data)

    def hand(self) -> Hand:
        """Pose of the hand and distance of the fingers."""
        data = self._data
        positions, speeds = data.qpos[self._finger_positions], data.qvel[self._finger_speeds]
        return Hand(
            position=data.site_xpos[self._hand].copy(),
            rotation=data.site_xmat[self._hand].reshape(3, 3).copy(),
            opening=float(positions[0] - positions[1]),
            finger_speed=float(speeds[0] - speeds[1]),
            speed=float(np.abs(data.qvel[self._arm_speeds]).max()),
        )

    def pose(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Origin and rotation matrix of an object's body."""
        body = self.env.obj_body_id[name]
        return self._data.xpos[body].copy(), self._data.xmat[body].reshape(3, 3).copy()

    def position(self, name: str) -> np.ndarray:
        """Origin of an object's body."""
        return self.pose(name)[0]

    def site(self, name: str) -> np.ndarray:
        """Centre of a site."""
        return self._data.site_xpos[self.env.sim.model.site_name2id(name)].copy()

    def corners(self, name: str) -> np.ndarray:
        """Corners [n, 3] of an object's collision boxes, in world coordinates."""
        geoms = self._geoms[name]
        rotation = self._data.geom_xmat[geoms].reshape(-1, 3, 3)
        offsets = (CORNERS * self._model.geom_size[geoms][:, None]) @ rotation.swapaxes(1, 2)
        return (self._data.geom_xpos[geoms][:, None] + offsets).reshape(-1, 3)

    def height(
        self, start: np.ndarray, end: np.ndarray, radius: float, without: str | None
    ) -> float:
        """Least height at ``start`` of what goes to ``end``, climbs at 45 degrees and hits nothing.

        Args:
            start: Where it is, x and y.
            end: Where it goes.
            radius: How wide it is.
            without: An object that is no obstacle.
        """
        geoms = self._obstacles(without)
        rotation = np.abs(self._data.geom_xmat[geoms].reshape(-1, 3, 3))
        half = (rotation @ self._model.geom_size[geoms][..., None])[..., 0]
        centre = self._data.geom_xpos[geoms]
        points = start + np.linspace(0, 1, 16)[:, None] * (end - start)
        away = np.linalg.norm(points - start, axis=1)
        under = (np.abs(points[:, None] - centre[:, :2]) < half[:, :2] + radius).all(-1)
        needed = np.where(under, (centre + half)[:, 2], -np.inf)
        return float((needed.max(1) - np.maximum(away - 0.03, 0)).max())

    def free(self, position: np.ndarray, axis: np.ndarray, margin: float, without: str) -> bool:
        """Whether the open hand, pointing down, would touch nothing but one object.

        Args:
            position: Where the hand would be.
            axis: Horizontal unit vector along which its fingers would lie.
            margin: How far it must stay away, metres.
            without: The object that it may touch.
        """
        frame = np.stack([axis, [-axis[1], axis[0], 0.0], [0.0, 0.0, 1.0]])
        points = position + OPEN_HAND @ frame
        geoms = self._obstacles(without)
        distance = np.linalg.norm(self._data.geom_xpos[geoms] - position, axis=1)
        geoms = geoms[distance < self._model.geom_rbound[geoms] + HAND_RADIUS + margin]
        away = points[:, None] - self._data.geom_xpos[geoms]
        rotation = self._data.geom_xmat[geoms].reshape(-1, 3, 3)
        local = np.abs(np.einsum("pgi,gij->pgj", away, rotation))
        return not (local < self._model.geom_size[geoms] + margin).all(-1).any()

    def _obstacles(self, without: str | None) -> np.ndarray:
        return np.array([g for name, gs in self._geoms.items() if name != without for g in gs])

    def _bind(self) -> None:
        sim = self.env.sim
        model = self._model = sim.model._model
        self._data = self._mujoco.MjData(model)
        self._hand = sim.model.site_name2id("gripper0_grip_site")
        fingers = [sim.model.joint_name2id(f"gripper0_finger_joint{n}") for n in (1, 2)]
        self._finger_positions = model.jnt_qposadr[fingers]
        self._finger_speeds = model.jnt_dofadr[fingers]
        self._arm_speeds = model.jnt_dofadr[
            [sim.model.joint_name2id(name) for name in self.env.robots[0].robot_joints]
        ]
        self._geoms = {
            name: [
                geom
                for geom in range(model.ngeom)
                if model.geom_contype[geom]
                and self._belongs(int(model.geom_bodyid[geom]), int(body))
            ]
            for name, body in self.env.obj_body_id.items()
        }

    def _belongs(self, body: int, root: int) -> bool:
        while body not in (0, root):
            body = int(self._model.body_parentid[body])
        return body == root
