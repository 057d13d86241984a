"""The play table's physics: one episode in a client of pybullet that is loaded anew for each.

This module imports pybullet, so it is itself imported late.
"""

# pybullet may be in an environment of its own.
# pyright: reportMissingImports=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import pybullet as p
from jaxtyping import Float32, Float64

from pushcut.envs.calvin.bodies import ARM, FINGERS, TCP, Bodies, load
from pushcut.envs.calvin.contacts import ContactReader, Watch
from pushcut.envs.calvin.oracles import Block, Contact, Info
from pushcut.envs.calvin.scenes import (
    COLOURS,
    EDGE,
    FINGER_OPEN,
    HOME,
    JOINT_HIGH,
    JOINT_LOW,
    START_JOINTS,
    START_OPENING,
    STEP_POSITION,
    STEP_TURN,
    SUBSTEPS,
)
from pushcut.envs.calvin.starts import Start

ARM_FORCE, ARM_SPEED = 200.0, 2.0
"""Limits of each of the arm's joints: N·m, rad/s."""
GRIP_FORCE, OPEN_FORCE, FINGER_SPEED = 200.0, 2.0, 1.0
"""Limits of each finger: N, N, m/s."""
TABLE_FORCE = 4.0
"""What moves or brakes door, drawer, button and switch, N."""
PRESSED = 0.01
"""Half of the button's way."""
SWITCHED = 0.044
"""Half of the switch's way."""
SETTLE = 40
"""Steps of the physics in which blocks come to rest, and the hand closes on one, where the start is
not the benchmark's own."""


class World:
    """An arm at a play table."""

    def __init__(self, folder: Path, watch: Watch | None = None) -> None:
        """``folder``: the benchmark's data folder."""
        self._folder, self._watch = folder, watch or Watch()
        self.client: int = p.connect(p.DIRECT)
        self.bodies: Bodies
        self.contacts: ContactReader
        self.lightbulb = self.led = 0
        self._switch_on = self._was_pressed = False
        self.gripper = 1.0
        """The gripper's last action."""
        self.target = np.zeros(6)
        """Where actions so far want the hand to be: position, Euler angles."""

    def start(self, start: Start) -> None:
        """Loads the scene and places everything."""
        self.bodies = load(self.client, self._folder, start.letter, visible=False)
        self.contacts = ContactReader(self.client, self.bodies, self._watch)
        self._brake_table()
        self._place_scene(start)
        self._place_robot()
        if start.held:
            self._put_into_hand(start.held)
        p.stepSimulation(physicsClientId=self.client)
        for _ in range(SETTLE if start.settle else 0):
            p.stepSimulation(physicsClientId=self.client)

    def step(self, action: Float32[np.ndarray, " 7"]) -> None:
        """One control step; the last number opens the gripper where it is not negative."""
        self.target[:3] += action[:3].astype(np.float64) * STEP_POSITION
        self.target[3:] += action[3:6].astype(np.float64) * STEP_TURN
        self.gripper = 1.0 if action[6] >= 0 else -1.0
        self._move_arm(self._inverse_kinematics())
        self._move_fingers()
        self.contacts.begin_step()
        for _ in range(SUBSTEPS):
            p.stepSimulation(physicsClientId=self.client)
            self.contacts.look()
        self._update_lights()

    def robot_obs(self) -> Float64[np.ndarray, " 15"]:
        """State of the robot: see ``scenes.ROBOT_NAMES``."""
        robot, client = self.bodies.robot, self.client
        position, orientation = p.getLinkState(robot, TCP, physicsClientId=client)[:2]
        joints = [state[0] for state in p.getJointStates(robot, ARM, physicsClientId=client)]
        fingers = [state[0] for state in p.getJointStates(robot, FINGERS, physicsClientId=client)]
        turn = p.getEulerFromQuaternion(orientation)
        return np.array([*position, *turn, sum(fingers), *joints, self.gripper])

    def scene_obs(self) -> Float64[np.ndarray, " 24"]:
        """State of the scene: door, drawer, button, switch, bulb, LED, and the blocks' poses."""
        numbers = [self._joint(name) for name in ("slide", "drawer", "button", "switch")]
        numbers += [self.lightbulb, self.led]
        for colour in COLOURS:
            position, orientation = self._pose(colour)
            numbers += [*position, *p.getEulerFromQuaternion(orientation)]
        return np.array(numbers, np.float64)

    def info(self) -> Info:
        """What the oracles look at."""
        return Info(
            slide=self._joint("slide"),
            drawer=self._joint("drawer"),
            lightbulb=self.lightbulb,
            led=self.led,
            blocks={colour: self._block(colour) for colour in COLOURS},
            touched=frozenset(body for body, _ in self._contacts(self.bodies.robot)),
        )

    def close(self) -> None:
        """Releases the client."""
        p.disconnect(physicsClientId=self.client)

    def _brake_table(self) -> None:
        """Door, drawer and switch stay where they are left; the button comes back."""
        table, joints = self.bodies.table, self.bodies.joints
        for name in ("slide", "drawer", "switch"):
            p.setJointMotorControl2(
                table, joints[name], p.VELOCITY_CONTROL,
                force=TABLE_FORCE, physicsClientId=self.client,
            )  # fmt: skip
        p.setJointMotorControl2(
            table, joints["button"], p.POSITION_CONTROL,
            targetPosition=0, force=TABLE_FORCE, physicsClientId=self.client,
        )  # fmt: skip

    def _place_scene(self, start: Start) -> None:
        obs = start.scene_obs
        for name, value in zip(("slide", "drawer", "button", "switch"), obs, strict=False):
            joint = self.bodies.joints[name]
            p.resetJointState(self.bodies.table, joint, value, physicsClientId=self.client)
        self.lightbulb, self.led = int(obs[4]), int(obs[5])
        # As in the benchmark, whose switch finds out in the first step that it is on.
        self._switch_on = self._was_pressed = False
        for colour, pose in zip(COLOURS, start.blocks, strict=True):
            turn = p.getQuaternionFromEuler(pose[3:])
            p.resetBasePositionAndOrientation(
                self.bodies.blocks[colour], pose[:3], turn, physicsClientId=self.client
            )

    def _place_robot(self) -> None:
        robot = self.bodies.robot
        for joint, value in zip(ARM, START_JOINTS, strict=True):
            p.resetJointState(robot, joint, value, physicsClientId=self.client)
        self._move_arm(START_JOINTS)
        self.gripper = 1.0
        for finger in FINGERS:
            p.resetJointState(robot, finger, START_OPENING / 2, physicsClientId=self.client)
            self._move_finger(finger, START_OPENING / 2, GRIP_FORCE)
        position, turn = p.getLinkState(robot, TCP, physicsClientId=self.client)[:2]
        self.target = np.array([*position, *p.getEulerFromQuaternion(turn)])

    def _put_into_hand(self, colour: str) -> None:
        """A block between the fingers, which close on it."""
        robot, client = self.bodies.robot, self.client
        position, turn = p.getLinkState(robot, TCP, physicsClientId=client)[:2]
        p.resetBasePositionAndOrientation(
            self.bodies.blocks[colour], position, turn, physicsClientId=client
        )
        self.gripper = -1.0
        for finger in FINGERS:
            p.resetJointState(robot, finger, EDGE / 2, physicsClientId=client)
        self._move_fingers()

    def _inverse_kinematics(self) -> Float64[np.ndarray, " 7"]:
        """Joints that bring the hand to its target, near to the home pose among all that do."""
        count = len(ARM) + len(FINGERS)
        turn = p.getQuaternionFromEuler(self.target[3:])
        joints = p.calculateInverseKinematics(
            self.bodies.robot, TCP, self.target[:3], turn,
            [-7] * count, [7] * count, [7] * count, [*HOME, FINGER_OPEN, FINGER_OPEN],
            physicsClientId=self.client,
        )  # fmt: skip
        return np.clip(joints[: len(ARM)], JOINT_LOW, JOINT_HIGH)

    def _move_arm(self, joints: tuple[float, ...] | Float64[np.ndarray, " 7"]) -> None:
        for joint, value in zip(ARM, joints, strict=True):
            p.setJointMotorControl2(
                self.bodies.robot, joint, p.POSITION_CONTROL, targetPosition=value,
                force=ARM_FORCE, maxVelocity=ARM_SPEED, physicsClientId=self.client,
            )  # fmt: skip

    def _move_fingers(self) -> None:
        opens = self.gripper > 0
        for finger in FINGERS:
            self._move_finger(
                finger, FINGER_OPEN if opens else 0.0, OPEN_FORCE if opens else GRIP_FORCE
            )

    def _move_finger(self, finger: int, position: float, force: float) -> None:
        p.setJointMotorControl2(
            self.bodies.robot, finger, p.POSITION_CONTROL, targetPosition=position,
            force=force, maxVelocity=FINGER_SPEED, physicsClientId=self.client,
        )  # fmt: skip

    def _update_lights(self) -> None:
        """The button toggles the LED each time it is pressed; the switch turns the bulb."""
        pressed = self._joint("button") > PRESSED
        if pressed and not self._was_pressed:
            self.led = 1 - self.led
        self._was_pressed = pressed
        on = self._joint("switch") > SWITCHED
        if on != self._switch_on:
            self.lightbulb = int(on)
        self._switch_on = on

    def _joint(self, name: str) -> float:
        joint = self.bodies.joints[name]
        return p.getJointState(self.bodies.table, joint, physicsClientId=self.client)[0]

    def _pose(self, colour: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return p.getBasePositionAndOrientation(
            self.bodies.blocks[colour], physicsClientId=self.client
        )

    def _block(self, colour: str) -> Block:
        position, orientation = self._pose(colour)
        body = self.bodies.blocks[colour]
        velocity, spin = p.getBaseVelocity(body, physicsClientId=self.client)
        return Block(
            position=np.array(position),
            orientation=np.array(orientation),
            velocity=np.array(velocity),
            spin=np.array(spin),
            contacts=frozenset(self._contacts(body)),
        )

    def _contacts(self, body: int) -> list[Contact]:
        """What a body touches: names of the other body and of its link."""
        names, links, table = self.bodies.names, self.bodies.links, self.bodies.table
        return [
            (names[point[2]], links[point[4]] if point[2] == table else str(point[4]))
            for point in p.getContactPoints(bodyA=body, physicsClientId=self.client)
        ]
