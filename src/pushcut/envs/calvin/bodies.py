"""Loads the scene's bodies into a client of pybullet, and names their joints and links.

The order of loading and the poses meanwhile are fixed: they decide the order in which pairs of
bodies are looked at, and by it the last bits of what happens. This module imports pybullet, so it
is itself imported late.
"""

# pybullet may be in an environment of its own.
# pyright: reportMissingImports=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pybullet as p

from pushcut.envs.calvin import assets
from pushcut.envs.calvin.oracles import PLANE, ROBOT, TABLE
from pushcut.envs.calvin.scenes import BASE, COLOURS, FINGER_OPEN, HOME, SCALE

ARM = tuple(range(7))
FINGERS = (9, 11)
CAMERA = 14
"""Link of the gripper camera."""
TCP = 15
"""Link between the finger tips."""

LOAD_POSES = ((0.05, -0.12, 0.46), (0.23, -0.12, 0.46), (0.1, 0.08, 0.46))
"""Where blocks are while things are loaded."""


@dataclass(frozen=True)
class Bodies:
    """What is in a client, by its numbers."""

    robot: int
    blocks: dict[str, int]
    """By colour."""
    table: int
    names: dict[int, str]
    """Body -> name."""
    joints: dict[str, int]
    """The table's: slide, drawer, button, switch."""
    links: dict[int, str]
    """The table's, by number; -1 is its base."""


def load(client: int, folder: Path, letter: str, *, visible: bool) -> Bodies:
    """Empties a client and loads a scene; ``visible``: with what is drawn."""
    flags = 0 if visible else p.URDF_IGNORE_VISUAL_SHAPES
    p.setPhysicsEngineParameter(deterministicOverlappingPairs=1, physicsClientId=client)
    p.resetSimulation(physicsClientId=client)
    p.setGravity(0, 0, -9.8, physicsClientId=client)
    robot = p.loadURDF(
        str(folder / assets.ROBOT), BASE, useFixedBase=True, flags=flags, physicsClientId=client
    )
    _pedestal(client, visible=visible)
    gear = p.createConstraint(
        robot, FINGERS[0], robot, FINGERS[1], p.JOINT_GEAR, (1, 0, 0), (0, 0, 0), (0, 0, 0),
        physicsClientId=client,
    )  # fmt: skip
    p.changeConstraint(gear, gearRatio=-1, erp=0.1, maxForce=50, physicsClientId=client)
    for joint, value in zip((*ARM, *FINGERS), (*HOME, FINGER_OPEN, FINGER_OPEN), strict=True):
        p.resetJointState(robot, joint, value, physicsClientId=client)
    blocks = {
        colour: p.loadURDF(
            str(folder / assets.block(letter, colour)), at,
            globalScaling=SCALE, flags=flags, physicsClientId=client,
        )
        for colour, at in zip(COLOURS, LOAD_POSES, strict=True)
    }  # fmt: skip
    table = p.loadURDF(
        str(folder / assets.table(letter)),
        globalScaling=SCALE, flags=flags, physicsClientId=client,
    )  # fmt: skip
    plane = p.loadURDF(str(folder / assets.PLANE), flags=flags, physicsClientId=client)
    names = {robot: ROBOT, table: TABLE, plane: PLANE} | {i: c for c, i in blocks.items()}
    known = [
        p.getJointInfo(table, number, physicsClientId=client)
        for number in range(p.getNumJoints(table, physicsClientId=client))
    ]
    joints = {info[1].decode().removeprefix("base__"): info[0] for info in known}
    links = {-1: "base_link"} | {info[0]: info[12].decode() for info in known}
    return Bodies(robot, blocks, table, names, joints, links)


def _pedestal(client: int, *, visible: bool) -> None:
    """The white cylinder under the arm: seen, but never touched."""
    x, y, height = BASE
    shape = -1
    if visible:
        shape = p.createVisualShape(
            p.GEOM_CYLINDER,
            radius=0.13,
            length=height,
            rgbaColor=(1, 1, 1, 1),
            visualFramePosition=(x - 0.05, y, height / 2),
            physicsClientId=client,
        )
    p.createMultiBody(baseVisualShapeIndex=shape, physicsClientId=client)
