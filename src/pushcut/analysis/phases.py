"""Rules that turn the events of an episode into phases: reach, contact, push, grasp, lift, ….

At each control step one object counts: of those that are touched one that both fingers touch, else
the one with the greatest force. The phase is

==========  ===============================================================================
reach       nothing is touched, and nothing was held since the last contact
contact     the object is touched and stays where it is
push        it is touched, not held, and moves
grasp       both fingers touch it, and it stays where it is
drag        both fingers touch it, and it moves while something else carries it
lift        both fingers touch it, nothing else does, and it rises faster than it goes sideways
transport   both fingers touch it, nothing else does, otherwise
release     nothing is touched after something was held
==========  ===============================================================================

Interruptions shorter than ``SHORTEST_S`` are none. What pushes an object by less than ``PUSHED_M``
and ``PUSHED_RAD`` in all is a contact, what drags it by less a grasp.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pushcut.envs.events import Events

SHORTEST_S = 0.05
"""Shortest phase, and longest gap of a contact that flickers, seconds."""
MOVES_M_PER_S = 0.02
TURNS_RAD_PER_S = 0.2
"""What is faster moves."""
LIFTED_M = 0.01
"""How far an object that the gripper alone carries must get above where it began, or below where it
began in the hand, before something else touches it again or it is let go."""
PUSHED_M, PUSHED_RAD = 0.01, 0.1
"""Least that a push or drag moves or turns an object by."""
NOBODY = ""

CARRIED = ("lift", "transport")
"""Phases that a strategy calls carry: which comes first depends on how steep the way is."""

SILENT = ("reach", "contact", "grasp")
"""Phases in which no object moves: no part of a strategy."""


@dataclass(frozen=True)
class Phase:
    """What was done to an object from row ``start`` to the row before ``stop`` of the events."""

    name: str
    object: str
    start: int
    stop: int


def phases_of(events: Events, control_hz: float) -> list[Phase]:
    """The phases of an episode, one after another, from row 1 on."""
    shortest = max(1, round(SHORTEST_S * control_hz))
    if len(events) < 2:
        return []
    if not events.objects:
        return [Phase("reach", NOBODY, 1, len(events))]
    labels = _labels(events, control_hz, shortest)
    found = _without_short(_runs(labels, events.objects), shortest)
    return _joined(_moved_enough(phase, events) for phase in found)


def strategy_of(phases: Iterable[Phase]) -> tuple[tuple[str, str], ...]:
    """What happens to objects (push, drag, carry, release), in the order of first occurrence.

    Without ``SILENT`` phases; one that comes again (a second push) makes no other strategy.
    """
    found = (
        ("carry" if phase.name in CARRIED else phase.name, phase.object)
        for phase in phases
        if phase.name not in SILENT
    )
    return tuple(dict.fromkeys(found))


def _labels(events: Events, hz: float, shortest: int) -> list[tuple[str, int]]:
    """Phase and object (-1: none) of each row from 1 on."""
    touched = _closed(events.touched, shortest)
    held = _closed(events.fingers == 2, shortest)
    moves, rises = _motion(events, hz, shortest)
    height = events.pose[:, :, 2] - events.pose[:1, :, 2]
    carried = _reaching(held & ~_closed(events.resting, shortest), np.abs(height) > LIFTED_M)
    force = np.nan_to_num(events.touch) + np.where(held, 1e9, 0.0)
    which = np.where(touched, force, -1.0).argmax(1)
    labels: list[tuple[str, int]] = []
    last = -1
    """The object that was held last and not let go for anything else since."""
    for row in range(1, len(events)):
        i = int(which[row])
        if not touched[row, i]:
            labels.append(("release", last) if last >= 0 else ("reach", -1))
            continue
        last = i if held[row, i] else -1 if last != i else last
        if carried[row, i]:
            labels.append(("lift" if rises[row, i] else "transport", i))
        elif held[row, i]:
            labels.append(("drag" if moves[row, i] else "grasp", i))
        else:
            labels.append(("push" if moves[row, i] else "contact", i))
    return labels


def _motion(
    events: Events, hz: float, window: int
) -> tuple[Bool[np.ndarray, "t n"], Bool[np.ndarray, "t n"]]:
    """Whether each object moves, and whether mostly upwards, over the last ``window`` steps."""
    before = np.maximum(np.arange(len(events)) - window, 0)
    seconds = np.maximum(np.arange(len(events)) - before, 1)[:, None] / hz
    change = events.pose[:, :, :3] - events.pose[before, :, :3]
    turn = _angle(events.pose[:, :, 3:], events.pose[before, :, 3:])
    fast = np.linalg.norm(change, axis=-1) / seconds > MOVES_M_PER_S
    sideways = np.linalg.norm(change[..., :2], axis=-1)
    return fast | (turn / seconds > TURNS_RAD_PER_S), change[..., 2] > sideways


def _angle(
    one: Float[np.ndarray, "*b 4"], other: Float[np.ndarray, "*#b 4"]
) -> Float[np.ndarray, "*b"]:
    """Angle between orientations, radians."""
    return 2 * np.arccos(np.clip(np.abs((one * other).sum(-1)), 0, 1))


def _closed(contact: Bool[np.ndarray, "t n"], longest: int) -> Bool[np.ndarray, "t n"]:
    """Fills gaps of at most ``longest`` rows between two contacts."""
    rows = np.arange(len(contact))[:, None]
    last = np.maximum.accumulate(np.where(contact, rows, -np.inf), axis=0)
    following = np.where(contact, rows, np.inf)[::-1]
    following = np.minimum.accumulate(following, axis=0)[::-1]
    return following - last - 1 <= longest


def _reaching(
    free: Bool[np.ndarray, "t n"], high: Bool[np.ndarray, "t n"]
) -> Bool[np.ndarray, "t n"]:
    """The stretches of ``free`` in which something is ``high`` at some time."""
    found = np.zeros_like(free)
    for i in range(free.shape[1]):
        edges = np.flatnonzero(np.diff(free[:, i].astype(np.int8), prepend=0, append=0))
        for start, stop in edges.reshape(-1, 2):
            found[start:stop, i] = high[start:stop, i].any()
    return found


def _runs(labels: list[tuple[str, int]], objects: tuple[str, ...]) -> list[Phase]:
    names = (*objects, NOBODY)
    return _joined(
        Phase(name, names[which], row, row + 1) for row, (name, which) in enumerate(labels, 1)
    )


def _without_short(phases: list[Phase], shortest: int) -> list[Phase]:
    """Gives phases that are too short to the one before, the first to the one after."""
    kept: list[Phase] = []
    for number, phase in enumerate(phases):
        last = number == len(phases) - 1  # it was cut off by the end
        if kept and phase.stop - phase.start < shortest and not last:
            kept[-1] = Phase(kept[-1].name, kept[-1].object, kept[-1].start, phase.stop)
        else:
            kept.append(phase)
    return _joined(kept)


def _moved_enough(phase: Phase, events: Events) -> Phase:
    less = {"push": "contact", "drag": "grasp"}.get(phase.name)
    if less is None:
        return phase
    course = events.pose[phase.start - 1 : phase.stop, events.objects.index(phase.object)]
    far = np.linalg.norm(course[:, :3] - course[0, :3], axis=-1).max() >= PUSHED_M
    if far or _angle(course[:, 3:], course[:1, 3:]).max() >= PUSHED_RAD:
        return phase
    return Phase(less, phase.object, phase.start, phase.stop)


def _joined(phases: Iterable[Phase]) -> list[Phase]:
    """Neighbours of the same name and object made one."""
    found: list[Phase] = []
    for phase in phases:
        if found and (found[-1].name, found[-1].object) == (phase.name, phase.object):
            found[-1] = Phase(phase.name, phase.object, found[-1].start, phase.stop)
        else:
            found.append(phase)
    return found
