"""Hand-made events: one object, whose course a test writes down step by step."""

from collections.abc import Sequence

import numpy as np

from pushcut.envs.events import Events


def events_of(
    *,
    height: Sequence,
    x: Sequence | None = None,
    touch: Sequence | None = None,
    fingers: Sequence | None = None,
    rest: Sequence | None = None,
    opening: Sequence | None = None,
    hand: list[Sequence] | None = None,
    name: str = "puck",
) -> Events:
    """An episode with one object at (x, 0, height), lying on the table where nothing is said."""
    count = len(height)
    position = np.stack([x or [0.0] * count, np.zeros(count), height], -1)
    pose = np.concatenate([position, np.tile([1.0, 0, 0, 0], (count, 1))], -1)[:, None]
    touched = touch or [np.nan] * count
    lying = np.where(rest if rest is not None else [True] * count, 1.0, np.nan)
    return Events(
        objects=(name,),
        hand=np.array(hand or np.zeros((count, 3)), np.float32),
        opening=np.array(opening or [0.1] * count, np.float32),
        pose=pose.astype(np.float32),
        touch=np.array(touched, np.float32)[:, None],
        fingers=np.array(fingers or [0] * count, np.uint8)[:, None],
        rest=lying.astype(np.float32)[:, None],
        action=np.zeros((count, 4), np.float32),
    )
