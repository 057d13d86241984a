"""What gripper commands mean, in datasets and checkpoints of others.

At pushcut's border a gripper opens at +1 and closes at -1 (docs/decisions/0005). LIBERO's
simulator closes at +1; programs that come from OpenVLA's RLDS files store 1 for open and 0 for
closed.
"""

from __future__ import annotations

from typing import Literal

Gripper = Literal["plus_opens", "plus_closes", "one_opens", "one_closes"]
"""Meaning of the last number of an action: in [-1, 1] (plus …) or in [0, 1] (one …)."""

TO_BORDER: dict[Gripper, tuple[float, float]] = {
    "plus_opens": (1, 0),
    "plus_closes": (-1, 0),
    "one_opens": (2, -1),
    "one_closes": (-2, 1),
}
"""Convention -> (factor, offset) after which +1 opens and -1 closes."""

OPPOSITE: dict[Gripper, Gripper] = {
    "plus_opens": "plus_closes",
    "plus_closes": "plus_opens",
    "one_opens": "one_closes",
    "one_closes": "one_opens",
}
