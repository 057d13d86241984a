"""Experts for what belongs to the table: drawer, button, switch, sliding door."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from pushcut.envs.calvin.experts.servo import CLOSED, SAFE, SWING, View, down, go, onto
from pushcut.envs.calvin.scenes import BUTTON_Y

PRESSED = 0.0105
"""Way of the button beyond which it has done what it does, metres."""

HOOK_Y, HOOK_Z = -0.207, 0.355
"""Between the closed drawer and its handle."""
IN_FRONT_Y = -0.3
"""Before the closed drawer's handle."""
DRAWER_HOVER = 0.46

BUTTON_Z = 0.43

HANDLE_X, HANDLE_Y, HANDLE_Z = 0.14, 0.0, 0.56
"""The handle of the sliding door; its x is from ``slide_x`` on, and it moves with the door."""
BESIDE = 0.06
"""Distance of the hand from the middle of the handle before it pushes."""
DOOR_Y = -0.08
"""Before the handle."""

LEVER_Y, LEVER_Z = 0.061, 0.495
"""The switch's lever where the bulb is off."""
LEVER_WAY = np.array((0.0, 0.5, 0.866))
LEVER_OUT = np.array((0.0, -0.866, 0.5))
LEVER_GRIP = 0.045
"""How far from the table the lever is touched."""
LEVER_PITCH = -0.7


def open_drawer(view: View) -> Float32[np.ndarray, " 7"]:
    """Hooks the finger tips behind the handle and pulls."""
    hook = (view.scene.drawer_x, HOOK_Y - view.now.drawer, HOOK_Z)
    x, y, z = view.tip
    if abs(x - hook[0]) < 0.06 and abs(y - hook[1]) < 0.04 and z < HOOK_Z + 0.02:
        return go(view, (hook[0], y - 0.06, HOOK_Z), down(), CLOSED)
    return onto(view, hook, down(), CLOSED, DRAWER_HOVER)


def close_drawer(view: View) -> Float32[np.ndarray, " 7"]:
    """Pushes the handle from before it."""
    before = (view.scene.drawer_x, IN_FRONT_Y - view.now.drawer, HOOK_Z)
    x, y, z = view.tip
    if abs(x - before[0]) < 0.06 and y < before[1] + 0.06 and z < HOOK_Z + 0.02:
        return go(view, (before[0], y + 0.06, HOOK_Z), down(), CLOSED)
    return onto(view, before, down(), CLOSED, DRAWER_HOVER)


def press_button(view: View) -> Float32[np.ndarray, " 7"]:
    """Presses the button from above; lets it come up first where it is down."""
    if view.button > PRESSED:
        return go(view, (view.scene.button_x, BUTTON_Y, SAFE), down(), CLOSED)
    return onto(view, (view.scene.button_x, BUTTON_Y, BUTTON_Z), down(), CLOSED)


def slide_left(view: View) -> Float32[np.ndarray, " 7"]:
    """Pushes the sliding door's handle to the left."""
    return _slide(view, -1)


def slide_right(view: View) -> Float32[np.ndarray, " 7"]:
    """Pushes the sliding door's handle to the right."""
    return _slide(view, 1)


def _slide(view: View, sign: int) -> Float32[np.ndarray, " 7"]:
    """From the handle's other side: beside it in front of the door, in, then along."""
    handle = view.scene.slide_x + HANDLE_X - view.now.slide
    x, y, z = view.tip
    beside = handle - sign * BESIDE
    level = abs(z - HANDLE_Z) < 0.04
    if level and y > HANDLE_Y - 0.03 and 0 < sign * (handle - x) < 1.6 * BESIDE:
        return go(view, (x + sign * 0.06, HANDLE_Y, HANDLE_Z), down(), CLOSED)
    if level and abs(x - beside) < 0.02:
        return go(view, (beside, HANDLE_Y, HANDLE_Z), down(), CLOSED)
    if y > DOOR_Y + 0.03 and abs(x - beside) > 0.02:
        return go(view, (x, DOOR_Y, max(z, HANDLE_Z)), down(), CLOSED)
    return go(view, (beside, DOOR_Y, HANDLE_Z), down(), CLOSED)


def switch_on(view: View) -> Float32[np.ndarray, " 7"]:
    """Pushes the switch's lever up."""
    return _switch(view, 1)


def switch_off(view: View) -> Float32[np.ndarray, " 7"]:
    """Pushes the switch's lever down."""
    return _switch(view, -1)


def _switch(view: View, sign: int) -> Float32[np.ndarray, " 7"]:
    """From the lever's other end of the way: out in front of the table, in, then along."""
    turn = down(pitch=LEVER_PITCH)
    rest = np.array((view.scene.switch_x, LEVER_Y, LEVER_Z))
    lever = rest + view.switch * LEVER_WAY + LEVER_GRIP * LEVER_OUT
    apart = view.tip - lever
    along, out = float(apart @ LEVER_WAY), float(apart @ LEVER_OUT)
    aside = abs(float(apart[0]))
    if aside < 0.03 and abs(out) < 0.03 and -0.08 < sign * along < 0:
        return go(view, view.tip + LEVER_WAY * sign * 0.06 - apart * (1, 0, 0), turn, CLOSED)
    beside = lever - sign * 0.05 * LEVER_WAY
    if np.linalg.norm(view.tip - (beside + 0.06 * LEVER_OUT)) > 0.03 and out > 0.03:
        return go(view, beside + 0.06 * LEVER_OUT, turn, CLOSED)
    if out > 0.02 and view.turns(turn) < SWING:
        return go(view, beside, turn, CLOSED)
    return go(view, beside + 0.06 * LEVER_OUT, turn, CLOSED)
