"""What ManiSkill's tasks of the Panda mean by actions and states; known without the simulator."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

TO_NATIVE = np.array([1, 1, 1, -1, -1, -1, 1], dtype=np.float32)
"""ManiSkill scales turns by the lower bound of their range, which is negative: it turns the
other way round. We turn by the right hand about the axes of the base."""

TARGETS = {
    "PickCube-v1": ("cube", "goal_site"),
    "StackCube-v1": ("cubeA", "cubeB"),
    "PushCube-v1": ("obj", "goal_region"),
    "PullCube-v1": ("obj", "goal_region"),
}
"""Task -> the attributes of ManiSkill's environment that hold the cube and the target."""


def state_rows(
    hand: Float[np.ndarray, "b 7"],
    cube: Float[np.ndarray, "b 7"],
    target: Float[np.ndarray, "b 7"],
    *,
    fingers: Float[np.ndarray, "b 2"],
    held: Bool[np.ndarray, " b"],
) -> Float32[np.ndarray, "b 29"]:
    """What a policy sees of some scenes, in the order of ``env.STATE_NAMES``.

    Args:
        hand: Position, metres, and quaternion, w first and >= 0; so are ``cube`` and ``target``.
        cube: What is to be moved.
        target: Where to.
        fingers: Positions of the two, metres; 0.04 each is fully open.
        held: Whether both press the cube.
    """
    opening = np.clip(fingers.sum(1, keepdims=True).astype(np.float64) / 0.08, 0.0, 1.0)
    ways = (cube[:, :3] - hand[:, :3], target[:, :3] - cube[:, :3])
    parts = (hand, opening, cube, target, *ways, held[:, None])
    return np.concatenate(parts, axis=1).astype(np.float32)
