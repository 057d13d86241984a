"""How datasets of others differ from the conventions at pushcut's border, as data.

The border wants images as the environment gives them and a gripper command that opens at
+1 (docs/decisions/0005).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from pushcut.demos.images import Flip
from pushcut.errors import UserError
from pushcut.types import OPPOSITE, TO_BORDER, Gripper


@dataclass(frozen=True)
class DataConfig:
    """Conventions of a dataset of others; None leaves them as its layout usually has them."""

    flip: Flip | None = None
    """How images are turned on reading; both is a rotation by 180 degrees."""
    gripper: Gripper | None = None
    """Meaning of the gripper command: which of ±1, or of 0 and 1, opens."""


@dataclass(frozen=True)
class Dialect:
    """The usual conventions of one source of datasets."""

    name: str
    flip: Flip = "none"
    """Turns its images to those of the environment."""
    gripper: Gripper | None = "plus_opens"
    """None: its range tells whether it is ``plus_closes`` or ``one_opens``."""
    cameras: Mapping[str, str] = field(default_factory=dict)
    """Name of a camera in the files -> the environment's name; others keep theirs."""
    fingers: bool = False
    """Whether the last two numbers of the state are the positions of the fingers (m)."""

    def adjusted(self, data: DataConfig) -> Dialect:
        """The dialect with the conventions that the user names; the fingers are then not asked."""
        return replace(
            self,
            flip=self.flip if data.flip is None else data.flip,
            gripper=self.gripper if data.gripper is None else data.gripper,
            fingers=self.fingers and data.gripper is None,
        )


PLAIN = Dialect("LeRobot")
"""Dialect of datasets that pushcut wrote, and of those of unknown origin."""

LIBERO_LEROBOT = Dialect(
    "LIBERO in LeRobot's layout",
    # physical-intelligence/libero and HuggingFaceVLA/libero come from OpenVLA's RLDS files,
    # which were rotated; the first keeps the simulator's gripper, IPEC-COMMUNITY's is 0 or 1.
    gripper=None,
    cameras={"image": "agentview", "image2": "wrist", "wrist_image": "wrist"},
    fingers=True,
)

LIBERO_HDF5 = Dialect(
    "LIBERO's HDF5",
    flip="both",
    gripper="plus_closes",
    cameras={"agentview_rgb": "agentview", "eye_in_hand_rgb": "wrist"},
    fingers=True,
)


def lerobot_dialect(cameras: Sequence[str], state_size: int, action_size: int) -> Dialect:
    """Recognises LIBERO datasets by the names and sizes that all of them share."""
    libero = "image" in cameras and (state_size, action_size) == (8, 7)
    return LIBERO_LEROBOT if libero else PLAIN


def open_at_plus_one(
    path: Path,
    dialect: Dialect,
    state: Float32[np.ndarray, "n s"],
    action: Float32[np.ndarray, "n a"],
    lengths: Sequence[int],
) -> str | None:
    """Converts the gripper commands in place and says what was done, if anything.

    Raises UserError where range or fingers contradict the dialect.
    """
    command = action[:, -1]
    gripper = dialect.gripper or _from_range(path, command)
    factor, offset = TO_BORDER[gripper]
    command *= factor
    command += offset
    if dialect.fingers and _agreement(command, state[:, -2] - state[:, -1], lengths) < 0:
        raise UserError(
            f"{path}: the fingers move against the gripper commands if these are read as "
            f"{gripper!r}: give --data.gripper {OPPOSITE[gripper]}"
        )
    return None if gripper == "plus_opens" else f"gripper commands converted from {gripper!r}"


def _from_range(path: Path, command: Float32[np.ndarray, " n"]) -> Gripper:
    lowest = command.min(initial=np.inf)
    if lowest < -0.01:
        return "plus_closes"
    if lowest <= 0.5:
        return "one_opens"
    raise UserError(
        f"{path}: every gripper command is {lowest:g} or more, which does not tell what it "
        f"means: give --data.gripper {'|'.join(TO_BORDER)}"
    )


def _agreement(
    command: Float32[np.ndarray, " n"], opening: Float32[np.ndarray, " n"], lengths: Sequence[int]
) -> float:
    """Whether fingers follow commands: 1 always, -1 always contrary, 0 if unclear.

    The sum of command times change of the opening over all steps, as a share of all change;
    steps from one episode to the next do not count.
    """
    change = np.diff(opening)
    starts = np.cumsum(lengths)[:-1]
    change[starts[(starts > 0) & (starts < len(opening))] - 1] = 0
    moved = np.abs(change).sum()
    share = float((command[:-1] * change).sum() / moved) if moved > 0.01 else 0.0  # metres
    return share if abs(share) > 0.2 else 0.0
