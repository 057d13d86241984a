"""A MuJoCo scene drawn differently: lights, colours and cameras, for the moment of a picture.

This module imports MuJoCo, so it is itself imported late.
"""

# mujoco has no type stubs for its compiled part.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float64

from pushcut.envs.randomised.scene import CameraChange, Colour, Distractor, Scene

WIDEST = 170.0
"""Largest angle of view, degrees."""
UNSET = (0.5, 0.5, 0.5, 1.0)
"""MuJoCo's colour of a geom that leaves it to its material."""

Vector = Float64[np.ndarray, "3"]


@dataclass(frozen=True)
class Surfaces:
    """What of a model is table and what is background, by patterns for BODY/GEOM/MATERIAL."""

    table: str
    background: str = "$never"
    top: tuple[float, float, float, float, float] | None = None
    """Where objects can be drawn: from x to x, from y to y, at height z, metres; None: nowhere."""


@contextmanager
def drawn_as(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    scene: Scene,
    surfaces: Surfaces,
    cameras: Mapping[str, str],
    *,
    raised: float = 0.0,
) -> Iterator[None]:
    """Inside, what is drawn looks as ``scene`` says; afterwards all is as it was, to the bit.

    Physics is never computed inside, so it never sees the difference.

    Args:
        model: The model.
        data: Its bodies, lights and cameras where the state has them.
        scene: What is changed.
        surfaces: Where its colours go.
        cameras: Camera as the scene names it -> as the model does.
        raised: How far cameras that stand in the world go down, as the robot's base did, metres.
    """
    head = model.vis.headlight
    strengths = (model.light_diffuse, model.light_specular, model.light_ambient,
                 head.diffuse, head.specular, head.ambient)  # fmt: skip
    places = (data.light_xpos, data.light_xdir, data.cam_xpos, data.cam_xmat)
    changed = (*strengths, *places, model.cam_fovy, model.geom_rgba)
    before = [values.copy() for values in changed]
    try:
        for values in strengths:
            values[:] *= scene.light
        _turn_lights(model, data, np.array(scene.light_turn))
        for pattern, (share, colour) in (
            (surfaces.table, scene.table),
            (surfaces.background, scene.background),
        ):
            _tint(model, pattern, share, colour)
        data.cam_xpos[model.cam_bodyid == 0, 2] -= raised
        for name, change in scene.cameras:
            _move(model, data, model.camera(cameras.get(name, name)).id, change)
        yield
    finally:
        for values, old in zip(changed, before, strict=True):
            values[:] = old


def add_objects(target: mujoco.MjvScene, objects: Sequence[Distractor], top: Any) -> None:
    """Adds objects to what is drawn, on the ``top`` of ``Surfaces``."""
    x0, x1, y0, y1, z = top
    kinds = {name: getattr(mujoco.mjtGeom, f"mjGEOM_{name.upper()}") for name in
             ("box", "sphere", "cylinder")}  # fmt: skip
    for each in objects:
        x, y = each.place
        mujoco.mjv_initGeom(
            target.geoms[target.ngeom],
            kinds[each.shape],
            np.full(3, each.size),
            np.array([x0 + x * (x1 - x0), y0 + y * (y1 - y0), z + each.size]),
            np.eye(3).ravel(),
            np.array([*each.colour, 1], np.float32),
        )
        target.ngeom += 1


def _turn_lights(model: mujoco.MjModel, data: mujoco.MjData, turn: Vector) -> None:
    """Turns positions and directions around the middle of the model."""
    if turn.any():
        matrix = rotation(turn)
        middle = model.stat.center
        data.light_xpos[:] = middle + (data.light_xpos - middle) @ matrix.T
        data.light_xdir[:] = data.light_xdir @ matrix.T


def _tint(model: mujoco.MjModel, pattern: str, share: float, colour: Colour) -> None:
    """Replaces a share of the colour of geoms; a texture is multiplied by what comes out."""
    for geom in surface_geoms(model, pattern) if share else ():
        material = int(model.geom_matid[geom])
        own = model.geom_rgba[geom]
        if material >= 0 and np.array_equal(own, np.array(UNSET, np.float32)):
            own = model.mat_rgba[material]
        mixed = (1 - share) * own[:3] + share * np.array(colour)
        model.geom_rgba[geom, :3] = mixed
        model.geom_rgba[geom, 3] = own[3]


def surface_geoms(model: mujoco.MjModel, pattern: str) -> list[int]:
    """Geoms whose BODY/GEOM/MATERIAL a pattern is found in."""
    found = []
    for geom in range(model.ngeom):
        material = int(model.geom_matid[geom])
        body = model.body(int(model.geom_bodyid[geom])).name
        last = model.mat(material).name if material >= 0 else ""
        if re.search(pattern, f"{body}/{model.geom(geom).name}/{last}"):
            found.append(geom)
    return found


def _move(model: mujoco.MjModel, data: mujoco.MjData, camera: int, change: CameraChange) -> None:
    data.cam_xpos[camera] += change.shift
    if any(change.turn):
        axes = data.cam_xmat[camera].reshape(3, 3) @ rotation(np.array(change.turn))
        data.cam_xmat[camera] = axes.ravel()
    model.cam_fovy[camera] = min(model.cam_fovy[camera] * change.view, WIDEST)


def rotation(turn: Vector) -> Float64[np.ndarray, "3 3"]:
    """The matrix of a rotation by axis times angle, radians."""
    quaternion, matrix = np.empty(4), np.empty(9)
    angle = float(np.linalg.norm(turn))
    axis = turn / angle if angle else np.array([0.0, 0.0, 1.0])
    mujoco.mju_axisAngle2Quat(quaternion, axis, angle)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)
