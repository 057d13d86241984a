"""Scripted experts for LIBERO's pick-and-place tasks, on OSC actions from privileged state.

An expert is a function of the simulator's positions and velocities alone: it keeps no phase, so
it can be asked in any state, after a restore as well. Which object goes where is read from the
task's goal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pushcut.envs.libero.scene import Hand, Scene

SUITES = ("libero_object", "libero_spatial", "libero_goal")
"""Where the experts were measured; the same goals in other scenes may need more care."""
POSITION_SCALE = 0.05
"""Displacement of the hand's target for an action of 1, metres."""
ROTATION_SCALE = 0.5
"""Rotation of the hand's target for an action of 1, radians."""
POSITION_GAIN = 2.0
"""Part of the remaining way that an action asks for."""
IDLE_ANGLE = 0.1
"""Error in the hand's orientation that is left alone, radians."""
OPEN, CLOSED = 1.0, -1.0
WIDE = 0.07
"""Fingers further apart than this count as open, metres."""
CLEARANCE = 0.02
"""Height at which obstacles are passed, metres."""
RIM_RADIUS, RIM_HEIGHT = 0.049, 0.04
"""Where the wall of a black bowl is held, from the origin of its body, metres."""
SIDEWAYS = np.array([0.0, 1.0, 0.0])
FINGERTIP = 0.01
"""How far the fingers reach below the grip, metres."""
DOWN = np.array([0.0, 0.0, -1.0])


@dataclass(frozen=True)
class Grasp:
    """Where to hold an object."""

    position: np.ndarray
    axis: np.ndarray
    """Unit vector along which the fingers close; its sign means nothing."""
    reach: float
    """How far from ``position`` an object that was moved by the fingers may still be held."""


@dataclass(frozen=True)
class Place:
    """Where an object goes: heights are those of its lowest point."""

    xy: np.ndarray
    """Where the origin of the object's body should be."""
    enter: float
    """Not lower than this before it is above ``xy``."""
    release: float
    """The fingers open below this."""
    lowest: float
    """Until they are open, it goes on down to this."""


def make_expert(env: Any) -> Callable[[], np.ndarray]:
    """The expert of a robosuite environment's task: a function that returns the next action.

    Raises NotImplementedError where there is none.
    """
    goal = env.parsed_problem["goal_state"]
    if can_play(Path(env.bddl_file_name).parent.name, goal):
        _, obj, target = goal[0]
        scene = Scene(env)
        return _PickPlace(scene, obj, partial(PLACES[_kind(target)], scene, target, obj))
    raise NotImplementedError(
        f"no scripted expert for the goal {goal}; libero_object and libero_spatial have experts "
        "for all tasks, libero_goal for those that put one thing somewhere, but not on the rack"
    )


def can_play(suite: str, goal: Sequence[Sequence[str]]) -> bool:
    """Whether there is an expert for a goal; ``tasks.EXPERTS`` names those tasks."""
    if suite not in SUITES or len(goal) != 1 or len(goal[0]) != 3:
        return False
    return _kind(goal[0][1]) in GRASPS and _kind(goal[0][2]) in PLACES


def _kind(name: str) -> str:
    """The name of an object or region without the number of the object."""
    return re.sub(r"_\d+", "", name)


def into_basket(scene: Scene, region: str, obj: str) -> Place:
    """Objects fall into a basket."""
    centre = scene.site(region)
    edge = centre[2] + 0.07
    return Place(centre[:2], enter=edge + 0.03, release=edge, lowest=edge - 0.06)


def onto_object(scene: Scene, target: str, obj: str) -> Place:
    """Put down on the middle of another object."""
    return _down(scene, scene.position(target), obj)


def onto_region(scene: Scene, region: str, obj: str) -> Place:
    """Put down on the middle of a fixture's surface."""
    return _down(scene, scene.site(region), obj)


def _down(scene: Scene, position: np.ndarray, obj: str) -> Place:
    xy = position[:2]
    surface = scene.height(xy, xy, 0.0, obj)
    return Place(xy, enter=surface + 0.04, release=surface + 0.005, lowest=surface - 0.01)


def top_grasp(scene: Scene, obj: str, hand: Hand, way: np.ndarray) -> Grasp:
    """From above, fingers along world y; off the middle if the hand would hit a neighbour."""
    corners = scene.corners(obj)
    low, high = corners.min(0), corners.max(0)
    middle = (low + high) / 2
    middle[2] = max(low[2] + 0.011, high[2] - 0.025)
    room = max(0.0, (high - low)[0] / 2 - 0.015)
    grasps = [
        Grasp(middle + [share * room, 0, 0], SIDEWAYS, reach=0.03)
        for share in (0.0, 0.5, -0.5, 1.0, -1.0)
    ]
    return first_free(scene, obj, grasps)


def rim_grasp(scene: Scene, bowl: str, hand: Hand, way: np.ndarray) -> Grasp:
    """At the wall of a bowl: where the fingers closed, else on the near side.

    On another side if the hand would hit something there, or at its goal, ``way`` from here.
    """
    position, rotation = scene.pose(bowl)
    local = (hand.position - position) @ rotation
    if hand.opening < WIDE:
        nearest = rim(position, rotation, np.arctan2(local[1], local[0]), 0.0)
        if np.linalg.norm(nearest.position - hand.position) < 0.03:
            return nearest
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
    near = 1.0 if hand.position[1] - position[1] > 0.03 else -1.0  # between them always the same
    angles = np.deg2rad([90, -90, 60, 120, -60, -120, 30, 150, -30, -150, 0, 180]) * near - yaw
    grasps = [
        rim(position, rotation, angle, inset) for inset in (0.0, 0.012, 0.022) for angle in angles
    ]
    return first_free(scene, bowl, grasps, way)


def rim(position: np.ndarray, rotation: np.ndarray, angle: float, inset: float) -> Grasp:
    """The grasp of a bowl's wall at an angle in the bowl's frame, ``inset`` inside of it."""
    direction = np.array([np.cos(angle), np.sin(angle), 0.0])
    point = direction * (RIM_RADIUS - inset) + [0, 0, RIM_HEIGHT]
    outwards = rotation @ direction * [1, 1, 0]
    axis = outwards / np.linalg.norm(outwards)
    return Grasp(position + rotation @ point, axis, reach=0.02)


def first_free(scene: Scene, obj: str, grasps: list[Grasp], *ways: np.ndarray) -> Grasp:
    """The first grasp at which the open hand hits nothing else, here and after each way."""
    for margin in (0.012, 0.004):
        for grasp in grasps:
            hands = [grasp.position + way for way in (np.zeros(3), *ways)]
            if all(scene.free(hand, grasp.axis, margin, obj) for hand in hands):
                return grasp
    return grasps[0]


GRASPS = {
    "alphabet_soup": top_grasp,
    "cream_cheese": top_grasp,
    "salad_dressing": top_grasp,
    "bbq_sauce": top_grasp,
    "ketchup": top_grasp,
    "tomato_sauce": top_grasp,
    "butter": top_grasp,
    "milk": top_grasp,
    "chocolate_pudding": top_grasp,
    "orange_juice": top_grasp,
    "wine_bottle": top_grasp,
    "akita_black_bowl": rim_grasp,
}
"""How to hold an object."""
PLACES = {
    "basket_contain_region": into_basket,
    "plate": onto_object,
    "akita_black_bowl": onto_object,
    "flat_stove_cook_region": onto_region,
    "wooden_cabinet_top_side": onto_region,
}
"""How to put something there."""


class _PickPlace:
    """Takes an object from above, carries it to its place and lets it go."""

    def __init__(self, scene: Scene, obj: str, place: Callable[[], Place]) -> None:
        self.scene = scene
        self.obj = obj
        self._place = place
        self._grasp = GRASPS[_kind(obj)]

    def __call__(self) -> np.ndarray:
        """The action for the simulator's current state."""
        scene = self.scene
        scene.update()
        hand = scene.hand()
        place = self._place()
        low = scene.corners(self.obj).min(0)[2]
        way = np.array([*(place.xy - scene.position(self.obj)[:2]), place.release - low])
        grasp = self._grasp(scene, self.obj, hand, way)
        way[2] = 0.0
        over = float(np.linalg.norm(way)) < 0.02
        axis = hand.rotation[:, 0]
        if over and low < place.release:
            way[2] = max(place.lowest - low, -0.05) if hand.opening < WIDE else 0.05
            return move(hand, hand.position + way, axis, OPEN)
        if not held(hand, grasp):
            return self._approach(hand, grasp)
        way[2] = (place.lowest if over else self._height(place, way)) - low
        return move(hand, hand.position + funnel(way), axis, CLOSED)

    def _height(self, place: Place, way: np.ndarray) -> float:
        """How high the lowest point of the held object should be on its way."""
        start = self.scene.position(self.obj)[:2]
        obstacles = self.scene.height(start, start + way[:2], 0.07, self.obj)
        return max(place.enter, obstacles + CLEARANCE)

    def _approach(self, hand: Hand, grasp: Grasp) -> np.ndarray:
        way = grasp.position - hand.position
        distance = float(np.linalg.norm(way[:2]))
        closing = hand.opening < WIDE
        aligned = abs(hand.rotation[:, 0] @ grasp.axis) > 0.95
        # Near a stretched arm's limits the hand comes to rest a little beside its goal.
        settled = closing or hand.speed < 0.02
        near = (grasp.reach, 0.02) if settled else (0.01, 0.006)
        if distance < near[0] and abs(way[2]) < near[1] and aligned:
            return move(hand, grasp.position, grasp.axis, CLOSED)
        if closing:
            return move(hand, hand.position + [0, 0, 0.05], grasp.axis, OPEN)
        # Once on its way down, the hand is not sent up again by a little drift.
        off_course = distance > np.interp(-way[2], [0.05, 0.1], [0.02, 0.01])
        if off_course or not aligned:
            hover = 0.1 * max(np.clip((distance - 0.01) / 0.05, 0, 1), not aligned)
            start, end = hand.position[:2], grasp.position[:2]
            height = self.scene.height(start, end, 0.06, None) + CLEARANCE + FINGERTIP
            way[2] = max(grasp.position[2] + hover, height) - hand.position[2]
        return move(hand, hand.position + funnel(way), grasp.axis, OPEN)


def held(hand: Hand, grasp: Grasp) -> bool:
    """Whether the object is between fingers that have come to rest."""
    away = grasp.position - hand.position
    near = np.linalg.norm(away[:2]) < grasp.reach and abs(away[2]) < 0.03
    return bool(near and 0.001 < hand.opening < WIDE and abs(hand.finger_speed) < 0.01)


def funnel(way: np.ndarray) -> np.ndarray:
    """Holds sideways motion back while the hand is too low for it."""
    sideways = np.clip(1 - way[2] / 0.03, 0, 1)
    return way * [sideways, sideways, 1]


def move(hand: Hand, position: np.ndarray, axis: np.ndarray, gripper: float) -> np.ndarray:
    """An action that moves the hand straight to a position, pointing down, fingers along axis."""
    translation = POSITION_GAIN * (position - hand.position) / POSITION_SCALE
    translation[:2] /= max(1.0, np.abs(translation[:2]).max())
    translation[2] = np.clip(translation[2], -1, 1)
    x = np.array([axis[0], axis[1], 0.0]) * np.sign(hand.rotation[:, 0] @ axis)
    x /= np.linalg.norm(x)
    goal = np.stack([x, np.cross(DOWN, x), DOWN])
    turn = np.cross(hand.rotation.T, goal).sum(0) / 2
    turn *= max(0.0, 1 - IDLE_ANGLE / max(float(np.linalg.norm(turn)), 1e-6))
    rotation = np.clip(turn / ROTATION_SCALE, -1, 1)
    return np.concatenate([translation, rotation, [gripper]]).astype(np.float32)
