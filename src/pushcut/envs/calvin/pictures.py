"""What the cameras see: one client of pybullet per scene and process, with all that is drawn.

Episodes have no looks; their poses are copied here for a picture. This module imports pybullet, so
it is itself imported late.
"""

# pybullet may be in an environment of its own.
# pyright: reportMissingImports=false

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np
import pybullet as p
from jaxtyping import UInt8

from pushcut.envs.calvin.bodies import CAMERA, Bodies, load
from pushcut.envs.calvin.scenes import CAMERAS, STATIC_EYE, STATIC_TARGET, STATIC_UP
from pushcut.envs.calvin.world import World
from pushcut.errors import UserError

Renderer = Literal["tiny", "egl"]

WHITE, YELLOW, GREEN = (1, 1, 1, 1), (1, 1, 0, 1), (0, 1, 0, 1)


class Pictures:
    """A scene as it is drawn."""

    def __init__(self, folder: Path, letter: str, renderer: Renderer) -> None:
        """``renderer``: tiny (pybullet's own, on the CPU) or egl (OpenGL without a window)."""
        self._client: int = p.connect(p.DIRECT)
        if renderer == "egl":
            self._load_egl()
        self._bodies = load(self._client, folder, letter, visible=True)
        self._links = {name: number for number, name in self._bodies.links.items()}
        self._renderer = p.ER_BULLET_HARDWARE_OPENGL if renderer == "egl" else p.ER_TINY_RENDERER
        self._lights: tuple[int, int] | None = None

    def draw(self, world: World, camera: str, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """A picture of a world, row 0 at the top."""
        self._copy(world)
        facts = CAMERAS[camera]
        view = _static_view() if camera == "static" else _gripper_view(world)
        lens = p.computeProjectionMatrixFOV(facts.fov, 1.0, facts.near, facts.far)
        pixels = p.getCameraImage(
            size, size, view, lens, renderer=self._renderer, physicsClientId=self._client
        )[2]
        return np.array(pixels, np.uint8).reshape(size, size, 4)[..., :3].copy()

    def close(self) -> None:
        """Releases the client."""
        p.disconnect(physicsClientId=self._client)

    def _load_egl(self) -> None:
        found = importlib.util.find_spec("eglRenderer")
        name = found.origin if found and found.origin else "eglRendererPlugin"
        if p.loadPlugin(name, "_eglRendererPlugin", physicsClientId=self._client) < 0:
            raise UserError("pybullet cannot draw by EGL here; --env.renderer tiny draws anywhere")

    def _copy(self, world: World) -> None:
        """Poses and lights; bodies have the same numbers in both clients."""
        bodies: Bodies = self._bodies
        for body in (bodies.robot, bodies.table):
            count = range(p.getNumJoints(body, physicsClientId=self._client))
            states = p.getJointStates(body, count, physicsClientId=world.client)
            for joint, state in zip(count, states, strict=True):
                p.resetJointState(body, joint, state[0], physicsClientId=self._client)
        for body in bodies.blocks.values():
            pose = p.getBasePositionAndOrientation(body, physicsClientId=world.client)
            p.resetBasePositionAndOrientation(body, *pose, physicsClientId=self._client)
        lights = (world.lightbulb, world.led)
        if lights != self._lights:
            self._colour("light_link", YELLOW if world.lightbulb else WHITE)
            self._colour("led_link", GREEN if world.led else WHITE)
            self._lights = lights

    def _colour(self, link: str, colour: tuple[int, ...]) -> None:
        p.changeVisualShape(
            self._bodies.table, self._links[link], rgbaColor=colour, physicsClientId=self._client
        )


def _static_view() -> tuple[float, ...]:
    return p.computeViewMatrix(STATIC_EYE, STATIC_TARGET, STATIC_UP)


def _gripper_view(world: World) -> tuple[float, ...]:
    """From the hand's camera along its link's y, with its z downwards."""
    eye, turn = p.getLinkState(world.bodies.robot, CAMERA, physicsClientId=world.client)[:2]
    axes = np.array(p.getMatrixFromQuaternion(turn)).reshape(3, 3)
    return p.computeViewMatrix(eye, np.array(eye) + axes[:, 1], -axes[:, 2])
