"""Scripted experts for scene D: from state alone, without a planner and without memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32

from pushcut.envs.calvin.experts import table
from pushcut.envs.calvin.experts.servo import View

Expert = Callable[[View], Float32[np.ndarray, " 7"]]

EXPERTS: Mapping[str, Expert] = MappingProxyType(
    {
        "open_drawer": table.open_drawer,
        "close_drawer": table.close_drawer,
        "turn_on_led": table.press_button,
        "turn_off_led": table.press_button,
        "turn_on_lightbulb": table.switch_on,
        "turn_off_lightbulb": table.switch_off,
        "move_slider_left": table.slide_left,
        "move_slider_right": table.slide_right,
    }
)
"""Sub-task -> its expert."""
