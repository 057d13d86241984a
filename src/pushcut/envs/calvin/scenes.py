"""The benchmark's facts: scenes A to D, the arm, the cameras (mees/calvin_env, its configuration).

Lengths in metres, angles in radians, axes of the world: x to the right, y away from the viewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

COLOURS = ("red", "blue", "pink")
"""The blocks, in the order of ``scene_obs``."""

Size = Literal["small", "middle", "big"]
Range = tuple[float, float]

SCALE = 0.8
"""How much smaller table and blocks are than their files, joints' limits included."""

LENGTHS: Mapping[Size, float] = MappingProxyType(
    {"small": 0.05 * SCALE, "middle": 0.07 * SCALE, "big": 0.1 * SCALE}
)
"""Longest edge of a block."""
EDGE = 0.05 * SCALE
"""The two other edges of a block."""

DRAWER_OPEN = 0.22
"""How far an open drawer is out."""
SWITCH_ON = 0.088
"""The switch's position with the bulb on."""

TABLE_Y: Range = (-0.15, -0.03)
SHELF_Y: Range = (0.05, 0.12)
BUTTON_Y = -0.12
SURFACE_Z = 0.46
"""Centre of a block that stands on the table or the shelf."""


@dataclass(frozen=True)
class SceneFacts:
    """What differs between the scenes."""

    blocks: Mapping[str, Size]
    """Colour -> size."""
    table_x: Range
    """Where blocks may be put on the table."""
    shelf_left_x: Range
    shelf_right_x: Range
    slide_limit: float
    """Position of the sliding door at its left end; 0 is its right end."""
    button_x: float
    switch_x: float
    drawer_x: float
    slide_x: float
    """Middle of the door at its right end."""
    official_starts: bool
    """Whether the benchmark's start states fit. They were made for D: in B and C some of their
    blocks would lie beside the shelf."""

    def shelf_x(self, side: str) -> Range:
        """Where blocks may be put on the shelf: ``slider_left`` or ``slider_right``."""
        return self.shelf_left_x if side == "slider_left" else self.shelf_right_x


def _sizes(red: Size, blue: Size, pink: Size) -> Mapping[str, Size]:
    return MappingProxyType({"red": red, "blue": blue, "pink": pink})


_LEFT, _RIGHT = (-0.32, -0.16), (-0.05, 0.13)

SCENES: Mapping[str, SceneFacts] = MappingProxyType(
    {
        "A": SceneFacts(
            _sizes("middle", "big", "small"),
            (-0.2, 0.35), _LEFT, _RIGHT, 0.28,
            -0.35 * SCALE, 0.375 * SCALE, 0.125 * SCALE, -0.125 * SCALE, official_starts=True,
        ),
        "B": SceneFacts(
            _sizes("small", "big", "middle"),
            (-0.35, 0.15), (-0.12, 0.06), (0.15, 0.33), 0.304,
            0.35 * SCALE, -0.4 * SCALE, 0.225 * SCALE, 0.11 * SCALE, official_starts=False,
        ),
        "C": SceneFacts(
            _sizes("big", "small", "middle"),
            (-0.2, 0.35), (-0.12, 0.06), (0.15, 0.3), 0.24,
            -0.15 * SCALE, -0.4 * SCALE, 0.125 * SCALE, 0.075 * SCALE, official_starts=False,
        ),
        "D": SceneFacts(
            _sizes("middle", "small", "big"),
            (0.0, 0.35), _LEFT, _RIGHT, 0.28,
            -0.15 * SCALE, 0.375 * SCALE, 0.225 * SCALE, -0.125 * SCALE, official_starts=True,
        ),
    }
)  # fmt: skip

BASE = (-0.34, -0.46, 0.24)
"""Where the arm stands."""
HOME = (
    -1.21779206, 1.03987646, 2.11978261, -2.34205014, -0.87015947, 1.64119353, 0.55344866,
)  # fmt: skip
"""The arm's joints that inverse kinematics prefers."""
START_JOINTS = (
    -1.21779124, 1.03987629, 2.11978254, -2.34205014, -0.87015899, 1.64119093, 0.55344928,
)  # fmt: skip
"""The arm's joints at the start of every chain, as the benchmark's evaluation has them."""
START_OPENING = 0.07999963
"""Distance of the fingers at the start of every chain."""
FINGER_OPEN = 0.04
"""Position of an open finger, metres."""
JOINT_LOW = (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973)
JOINT_HIGH = (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973)

STEP_POSITION = 0.02
"""Displacement of the hand's target by an action of 1."""
STEP_TURN = 0.05
"""Turn of the hand's target by an action of 1."""

CONTROL_HZ = 30.0
SUBSTEPS = 8
"""Steps of the physics, at 240 Hz, in a control step."""


@dataclass(frozen=True)
class CameraFacts:
    """A camera of the benchmark."""

    size: int
    """Height and width, pixels."""
    fov: float
    """Field of view, degrees."""
    near: float
    far: float


CAMERAS: Mapping[str, CameraFacts] = MappingProxyType(
    {"static": CameraFacts(200, 10.0, 0.01, 10.0), "gripper": CameraFacts(84, 75.0, 0.01, 2.0)}
)

STATIC_EYE = (2.871459009488717, -2.166602199425597, 2.555159848480571)
STATIC_TARGET = (-0.026242351159453392, -0.0302329882979393, 0.3920000493526459)
STATIC_UP = (0.4041403970338857, 0.22629790978217404, 0.8862616969685161)

SCENE_OBS = 24
"""Numbers of a scene's state: door, drawer, button, switch, bulb, LED, and position and Euler
angles of each block."""
ROBOT_NAMES = (
    "x", "y", "z", "roll", "pitch", "yaw", "opening",
    "joint_1", "joint_2", "joint_3", "joint_4", "joint_5", "joint_6", "joint_7", "gripper_action",
)  # fmt: skip
"""What the robot's state consists of: ``robot_obs``."""
SCENE_NAMES = (
    "door", "drawer", "button", "switch", "bulb", "led",
    *(f"{colour}_{part}" for colour in COLOURS for part in ("x", "y", "z", "roll", "pitch", "yaw")),
)  # fmt: skip
"""What a scene's state consists of: ``scene_obs``."""
