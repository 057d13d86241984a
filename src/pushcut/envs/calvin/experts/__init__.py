"""Scripted experts for each of the 34 sub-tasks, made in scene D, for all scenes.

May import the rest of ``envs.calvin`` but what imports pybullet. Promises actions that are a
function of the state alone, without a planner and without memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32

from pushcut.envs.calvin.experts import blocks, carrying, table
from pushcut.envs.calvin.experts.servo import View
from pushcut.envs.calvin.scenes import COLOURS

Expert = Callable[[View], Float32[np.ndarray, " 7"]]


ANY_BLOCK = (
    "place_in_drawer", "place_in_slider", "stack_block", "unstack_block", "push_into_drawer",
)  # fmt: skip
"""Sub-tasks that do not say which block is to be at the hand."""


def action(task: str, view: View) -> Float32[np.ndarray, " 7"]:
    """The action of a sub-task's expert, which first leaves what the last sub-task had at hand."""
    wanted = next((colour for colour in COLOURS if f"_{colour}_" in task), "")
    step = None if task in ANY_BLOCK else blocks.let_go(view, wanted)
    return EXPERTS[task](view) if step is None else step


def _experts() -> dict[str, Expert]:
    found: dict[str, Expert] = {}
    for c in COLOURS:
        found[f"lift_{c}_block_table"] = partial(blocks.lift, colour=c)
        found[f"lift_{c}_block_drawer"] = partial(blocks.lift, colour=c)
        found[f"lift_{c}_block_slider"] = partial(carrying.lift_from_slider, colour=c)
        for side, sign in (("right", 1), ("left", -1)):
            found[f"push_{c}_block_{side}"] = partial(blocks.push, colour=c, sign=sign)
            found[f"rotate_{c}_block_{side}"] = partial(blocks.rotate, colour=c, sign=-sign)
    return found | {
        "open_drawer": table.open_drawer,
        "close_drawer": table.close_drawer,
        "place_in_drawer": carrying.place_in_drawer,
        "place_in_slider": carrying.place_in_slider,
        "push_into_drawer": carrying.push_into_drawer,
        "stack_block": carrying.stack,
        "unstack_block": carrying.unstack,
        "turn_on_led": table.press_button,
        "turn_off_led": table.press_button,
        "turn_on_lightbulb": table.switch_on,
        "turn_off_lightbulb": table.switch_off,
        "move_slider_left": table.slide_left,
        "move_slider_right": table.slide_right,
    }


EXPERTS: Mapping[str, Expert] = MappingProxyType(_experts())
"""Sub-task -> its expert."""
