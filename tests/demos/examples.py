"""Small demonstrations whose numbers are easy to foretell."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pushcut.demos.lerobot.layout import Storage
from pushcut.demos.lerobot.writer import DatasetWriter
from pushcut.types import Demonstration, EnvSpec, InitState, Observation

SPEC = EnvSpec(
    tasks={"push": "push the cube", "open": "open the drawer"},
    cameras={"front": (16, 24), "wrist": (8, 8)},
    state_size=3,
    action_size=2,
    action_low=(-1.0, -1.0),
    action_high=(1.0, 1.0),
    max_steps=20,
    sim_steps_per_control=1,
    control_hz=10.0,
    state_names=("x", "y", "z"),
    action_names=("dx", "dy"),
)


def demonstration(task: str, seed: int, length: int, success: bool = True) -> Demonstration:
    """State [seed, t, 0.5], action [t, -seed], images of one colour: 10 * seed + t."""
    t = np.arange(length)
    images = {
        name: np.broadcast_to(
            (10 * seed + t).astype(np.uint8)[:, None, None, None], (length, *size, 3)
        ).copy()
        for name, size in SPEC.cameras.items()
    }
    state = np.stack([np.full(length, seed), t, np.full(length, 0.5)], axis=1)
    return Demonstration(
        init=InitState(task, seed),
        observation=Observation(images, state.astype(np.float32), [SPEC.tasks[task]] * length),
        action=np.stack([t, np.full(length, -seed)], axis=1).astype(np.float32),
        success=success,
    )


def write_example(
    out: Path,
    storage: Storage = "image",
    *,
    data_file_mb: float = 100.0,
    video_file_mb: float = 200.0,
) -> Path:
    """Four episodes of 3, 4, 5 and 2 frames: push 0, open 1, push 2, open 3."""
    writer = DatasetWriter(
        out, SPEC, storage=storage, data_file_mb=data_file_mb, video_file_mb=video_file_mb
    )
    with writer:
        for seed, (task, length) in enumerate([("push", 3), ("open", 4), ("push", 5), ("open", 2)]):
            writer.add(demonstration(task, seed, length))
    return out
