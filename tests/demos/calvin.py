"""Made-up recordings in CALVIN's own layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

RECORDINGS = [(3, 12), (20, 25)]
"""First and last steps."""
TOLD = [
    (3, 6, "pull the handle to open the drawer", "open_drawer"),
    (5, 9, "press the button", "turn_on_led"),  # stretches may share steps
    (20, 22, "open the drawer", "open_drawer"),
]
"""First and last step, sentence and sub-task of each stretch."""


def step_of(number: int, *, static: int = 10, gripper: int = 8) -> dict[str, np.ndarray]:
    """What the file of a step holds: its number and a place, added."""
    action = np.linspace(-0.6, 0.6, 7)
    action[6] = 1 if number % 2 else -1
    return {
        "actions": np.zeros(7),
        "rel_actions": action + np.append(np.full(6, number / 1000), 0),
        "robot_obs": 100 * number + np.arange(15.0),
        "scene_obs": -100 * number - np.arange(24.0),
        "rgb_static": np.full((static, static, 3), number, np.uint8),
        "rgb_gripper": np.full((gripper, gripper, 3), 2 * number, np.uint8),
        "rgb_tactile": np.zeros((4, 4, 6), np.uint8),
        "depth_static": np.zeros((static, static), np.float32),
    }


def told_in(told: list[tuple[int, int, str, str]]) -> dict[str, Any]:
    """What is in ``auto_lang_ann.npy``."""
    return {
        "language": {
            "ann": [text for _, _, text, _ in told],
            "task": [task for *_, task in told],
            "emb": np.zeros((len(told), 1, 4), np.float32),
        },
        "info": {"episodes": [], "indx": [(first, last) for first, last, _, _ in told]},
    }


def write_calvin(folder: Path, told: list[tuple[int, int, str, str]] | None = None) -> Path:
    """A folder ``training``."""
    (folder / "lang_annotations").mkdir(parents=True)
    np.save(folder / "ep_start_end_ids.npy", np.array(RECORDINGS))
    content: Any = told_in(TOLD if told is None else told)
    np.save(folder / "lang_annotations/auto_lang_ann.npy", content)
    for first, last in RECORDINGS:
        for number in range(first, last + 1):
            arrays: dict[str, Any] = step_of(number)
            np.savez_compressed(folder / f"episode_{number:07d}.npz", **arrays)
    return folder
