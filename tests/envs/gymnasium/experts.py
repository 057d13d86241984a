"""Demonstrators of gymnasium's environments, as a user would write them."""

from typing import Any

import numpy as np


def reach(env: Any, observation: np.ndarray) -> np.ndarray:
    """Turns Reacher's joints so that its fingertip goes straight to the target."""
    import mujoco

    model, data = env.unwrapped.model, env.unwrapped.data
    jacobian = np.zeros((3, model.nv))
    mujoco.mj_jacBody(model, data, jacobian, None, model.body("fingertip").id)  # pyright: ignore
    to_target = data.body("target").xpos[:2] - data.body("fingertip").xpos[:2]
    arm = jacobian[:2, :2]
    turn = np.linalg.solve(arm.T @ arm + 1e-4 * np.eye(2), arm.T @ to_target)
    return np.clip(2 * turn - 0.2 * data.qvel[:2], -1, 1)
