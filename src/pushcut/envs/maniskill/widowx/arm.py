"""The WidowX 250 S of the BridgeData scenes in SAPIEN: its joints, its grip and its camera.

Everything here is asked of an environment of ManiSkill's that holds one such arm.
"""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Integer, UInt8

from pushcut.envs.maniskill.sapien_process import positions_of, sapien_pose
from pushcut.envs.maniskill.widowx.env import CAMERA

FOCAL, CENTRE_X, CENTRE_Y = 623.588, 319.501, 239.545
"""The camera's, in pixels of a picture of 640 x 480."""

FINGER = 0.044
"""From the fingers' origins to their tips, metres."""


def joints(env: Any) -> Float32[np.ndarray, " 8"]:
    """Positions of the six joints, radians, and of the two fingers, metres."""
    return positions_of(env)


def grip(env: Any) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
    """The point between the finger tips, and the direction from finger to finger, of length 1."""
    links = env.agent.robot.links_map
    left, right = (matrix(links[f"{side}_finger_link"]) for side in ("left", "right"))
    return (left[:3, 3] + right[:3, 3]) / 2 + FINGER * left[:3, 0], left[:3, 1]


def seen(
    env: Any, kept: Integer[np.ndarray, " ids"]
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w 1"]]:
    """Draws what the camera sees, and tells where it is one of the things that are ``kept``."""
    env.scene.update_render(update_sensors=True, update_human_render_cameras=False)
    sensor = env.scene.sensors[CAMERA]
    sensor.capture()
    drawn = sensor.get_obs(rgb=True, depth=False, position=False, segmentation=True)
    own = np.isin(drawn["segmentation"][0, :, :, :1].cpu().numpy(), kept)
    return drawn["rgb"][0].cpu().numpy(), own


def square(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "w w 3"]:
    """A picture between black bars above and below, as high as it is wide."""
    bar = (image.shape[1] - image.shape[0]) // 2
    return np.pad(image, ((bar, bar), (0, 0), (0, 0)))


def camera(width: int, height: int, shader: str) -> dict[str, Any]:
    """The published camera for pictures of another size, which show the same."""
    x, y = width / 640, height / 480
    # A pixel's centre is half a pixel from its edge, whatever its size.
    across, down = (CENTRE_X + 0.5) * x - 0.5, (CENTRE_Y + 0.5) * y - 0.5
    intrinsic = np.array([[FOCAL * x, 0, across], [0, FOCAL * y, down], [0, 0, 1]])
    return {"width": width, "height": height, "intrinsic": intrinsic, "shader_pack": shader}


def matrix(thing: Any) -> Float64[np.ndarray, "4 4"]:
    """Pose of an actor or link."""
    return sapien_pose(thing).to_transformation_matrix().astype(np.float64)
