"""What simulators of MuJoCo tasks share: exact physics states, and looking without changing them.

This module imports mujoco, so it is itself imported late, by those simulators.
"""

# mujoco has no type stubs for its compiled part.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import mujoco
import numpy as np

from pushcut.envs.mujoco.contacts import ContactReader, GripperBodies

PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION
"""All that MuJoCo's next step depends on, the solver's warm start included."""


class MuJoCoSimulator:
    """A MuJoCo model and its data; ``_stale`` says that positions lag behind the state."""

    gripper: ClassVar[GripperBodies]
    base: ClassVar[str] = ""
    """The body that carries the robot, where tables can be raised: it goes down instead."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self.model, self.data = model, data
        # Named access costs as much as a physics step; a view of the same memory costs nothing.
        self._base = model.body(self.base).pos if self.base else np.zeros(3)
        self._base_height = float(self._base[2])
        self._stale = True

    @cached_property
    def contacts(self) -> ContactReader:
        """Tells where the objects are and what touches them."""
        return ContactReader(self.model, self.data, self.gripper)

    @property
    def raised(self) -> float:
        """How much higher than usual the table stands, seen from the robot, metres."""
        return self._base_height - float(self._base[2])

    def _raise_table(self, metres: float) -> None:
        """Lowers the robot, which to robot and cameras is the same: no rule of a task changes."""
        self._base[2] = self._base_height - metres

    def sync(self) -> None:
        """Moves bodies, sites, cameras and lights to where the state has them.

        Unlike ``mj_forward`` this leaves the solver's warm start alone, so that looking
        changes nothing. Contacts are not looked for.
        """
        if self._stale:
            mujoco.mj_kinematics(self.model, self.data)
            mujoco.mj_comPos(self.model, self.data)
            mujoco.mj_camlight(self.model, self.data)
            self._stale = False

    def _physics(self) -> np.ndarray:
        physics = np.empty(mujoco.mj_stateSize(self.model, PHYSICS))
        mujoco.mj_getState(self.model, self.data, physics, PHYSICS)
        return physics

    def _set_physics(self, physics: np.ndarray) -> None:
        mujoco.mj_setState(self.model, self.data, physics, PHYSICS)
        self._stale = True


def frozen(value: Any) -> Any:
    """A copy that nobody can change: snapshots are shared by all episodes of a group."""
    if isinstance(value, np.ndarray):
        value = value.copy()
        value.setflags(write=False)
    elif isinstance(value, list):
        value = list(value)
    return value
