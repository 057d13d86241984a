"""Holding a robot still after an episode, as experts do at the end of demonstrations."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from pushcut.envs.base import Env
from pushcut.errors import UserError
from pushcut.types import EnvSpec

_MOTION = ("dx", "dy", "dz", "rx", "ry", "rz")
"""Names of displacements: 0 is no motion."""
_KEPT = ("gripper",)
"""Names of commands that hold while they stay as they are."""


def still_action(spec: EnvSpec, last: Float32[np.ndarray, " a"]) -> Float32[np.ndarray, " a"]:
    """The action after ``last`` that moves nothing and keeps the gripper.

    UserError where the names of an action's numbers do not say which one that is.
    """
    if unknown := [name for name in spec.action_names if name not in (*_MOTION, *_KEPT)]:
        raise UserError(
            f"--hold-frames: what holds still is not known of actions like {unknown[0]!r}, only of "
            f"{', '.join((*_MOTION, *_KEPT))}"
        )
    if len(spec.action_names) != len(last):
        raise UserError("--hold-frames: the environment does not name the numbers of its actions")
    kept = np.array([name in _KEPT for name in spec.action_names])
    return np.where(kept, last, 0).astype(np.float32)


def stay_with(env: Env, action: Float32[np.ndarray, " a"]) -> None:
    """Executes one more control step, also of an episode that is over.

    UserError for an environment that cannot.
    """
    stay = getattr(env, "stay", None)
    if stay is None:
        raise UserError("--hold-frames: this environment has no method stay(action)")
    stay(action)
