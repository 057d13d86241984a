"""Simulation speed and memory: CalvinEnv against a plain loop that does as the published one.

The baseline is a re-implementation: one client of pybullet with everything that is drawn, in which
each control step is played and photographed by both cameras (200 and 84 pixels). CalvinEnv plays
chunks of five control steps (pi_RL, table 13) and observes once a chunk: with the same pictures,
with those of the presets for small policies (64 pixels), and without cameras, for policies from
states. All start from the benchmark's first chain in scene D and get the same random actions;
resets are not part of it. They take turns in one process, so that a busy moment of the machine
falls on all of them; ratios are of processor time, taken within a round.

Then one simulator process plays as many chains at a time as the preset keeps, with both cameras:
how much memory it takes.

It needs pybullet in this interpreter and the benchmark's files (docs/how-to/calvin.md). The last
line is one JSON object. Run: python benchmarks/calvin_steps.py [--rounds N]
"""

# pybullet may be in an environment of its own.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import json
import os
import statistics
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pybullet as p

from pushcut.envs.calvin import scenes
from pushcut.envs.calvin.assets import data_folder
from pushcut.envs.calvin.bodies import ARM, CAMERA, FINGERS, TCP, load
from pushcut.envs.calvin.env import CalvinConfig
from pushcut.envs.calvin.starts import CHAIN, start_of
from pushcut.envs.pool.pool import EnvPool
from pushcut.types import InitState
from simpler_steps import CHUNK, Step, measure, times_faster
from worker_memory import resident_mb

SPREAD = 0.3
"""Standard deviation of the random actions: 6 mm and 0.015 rad."""
TIMEOUT_S = 300.0


class Plain:
    """A scene of one client, written down as the benchmark describes it; without its oracles."""

    def __init__(self) -> None:
        self._client = p.connect(p.DIRECT)
        self._bodies = load(self._client, data_folder("", "D"), "D", visible=True)
        start = start_of(CHAIN, "D", 0)
        names = ("slide", "drawer", "button", "switch")
        for name, value in zip(names, start.scene_obs, strict=False):
            self._set(self._bodies.table, self._bodies.joints[name], value)
        for colour, pose in zip(scenes.COLOURS, start.blocks, strict=True):
            turn = p.getQuaternionFromEuler(pose[3:])
            block = self._bodies.blocks[colour]
            p.resetBasePositionAndOrientation(block, pose[:3], turn, physicsClientId=self._client)
        for joint, value in zip(ARM, scenes.START_JOINTS, strict=True):
            self._set(self._bodies.robot, joint, value)
        position, turn = self._link(TCP)
        self._target = np.array([*position, *p.getEulerFromQuaternion(turn)])

    def chunk(self, actions: np.ndarray) -> None:
        """Steps and photographs, each action."""
        for action in actions:
            self._step(action)
            self._state()
            assert self._picture("static").shape == (200, 200, 3)
            assert self._picture("gripper").shape == (84, 84, 3)

    def _step(self, action: np.ndarray) -> None:
        robot, client = self._bodies.robot, self._client
        self._target[:3] += scenes.STEP_POSITION * action[:3]
        self._target[3:] += scenes.STEP_TURN * action[3:6]
        count, turn = len(ARM) + len(FINGERS), p.getQuaternionFromEuler(self._target[3:])
        rest = [*scenes.HOME, scenes.FINGER_OPEN, scenes.FINGER_OPEN]
        joints = p.calculateInverseKinematics(
            robot, TCP, self._target[:3], turn,
            [-7] * count, [7] * count, [7] * count, rest, physicsClientId=client,
        )  # fmt: skip
        wanted = np.clip(joints[: len(ARM)], scenes.JOINT_LOW, scenes.JOINT_HIGH)
        for joint, value in zip(ARM, wanted, strict=True):
            self._drive(joint, value, 200, 2)
        for finger in FINGERS:
            self._drive(finger, scenes.FINGER_OPEN if action[6] >= 0 else 0.0, 200, 1)
        for _ in range(scenes.SUBSTEPS):
            p.stepSimulation(physicsClientId=client)

    def _drive(self, joint: int, value: float, force: float, speed: float) -> None:
        p.setJointMotorControl2(
            self._bodies.robot, joint, p.POSITION_CONTROL, targetPosition=value, force=force,
            maxVelocity=speed, physicsClientId=self._client,
        )  # fmt: skip

    def _state(self) -> np.ndarray:
        robot, client = self._bodies.robot, self._client
        joints = p.getJointStates(robot, (*ARM, *FINGERS), physicsClientId=client)
        position, turn = self._link(TCP)
        return np.array([*position, *p.getEulerFromQuaternion(turn), *(one[0] for one in joints)])

    def _picture(self, camera: str) -> np.ndarray:
        facts = scenes.CAMERAS[camera]
        if camera == "static":
            places = (scenes.STATIC_EYE, scenes.STATIC_TARGET, scenes.STATIC_UP)
        else:
            eye, turn = self._link(CAMERA)
            axes = np.array(p.getMatrixFromQuaternion(turn)).reshape(3, 3)
            places = (eye, np.array(eye) + axes[:, 1], -axes[:, 2])
        pixels = p.getCameraImage(
            facts.size, facts.size, p.computeViewMatrix(*places),
            p.computeProjectionMatrixFOV(facts.fov, 1.0, facts.near, facts.far),
            renderer=p.ER_TINY_RENDERER, physicsClientId=self._client,
        )[2]  # fmt: skip
        return np.array(pixels, np.uint8).reshape(facts.size, facts.size, 4)[..., :3]

    def _link(self, link: int) -> Any:
        return p.getLinkState(self._bodies.robot, link, physicsClientId=self._client)[:2]

    def _set(self, body: int, joint: int, value: float) -> None:
        p.resetJointState(body, joint, value, physicsClientId=self._client)


def ours(**looks: Any) -> Step:
    """CalvinEnv, one observation a chunk."""
    env = CalvinConfig(max_steps=10**9, subtask_steps=10**9, scenes=1, **looks).build()
    env.reset(InitState(CHAIN, 0))

    def play(actions: np.ndarray) -> None:
        env.observe()
        if env.step_chunk(actions).success:  # random actions hardly ever are
            env.reset(InitState(CHAIN, 0))

    return play


def memory(config: CalvinConfig, chunks: int) -> dict[str, float]:
    """Resident memory of one process that plays as many chains as it keeps, MB."""
    rng, slots = np.random.default_rng(0), config.scenes
    taken = []
    with EnvPool(config, slots=slots, workers=1, timeout_s=TIMEOUT_S) as pool:
        for number in range(slots):
            pool.reset(number, InitState(CHAIN, number))
        left = dict.fromkeys(range(slots), chunks)
        while left:
            for reply in pool.wait():
                if reply.kind == "lost":
                    raise RuntimeError(f"lost: {reply.reason}")
                left[reply.slot] -= 1
                if left[reply.slot]:
                    pool.step(reply.slot, rng.normal(0, SPREAD, (CHUNK, 7)))
                else:
                    del left[reply.slot]
            taken.append(max(map(resident_mb, pool.worker_pids())))
    return {"slots": slots, "image_size": config.image_size, "most_mb": round(max(taken), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    kinds: dict[str, Step] = {
        "same_pictures": ours(),
        "preset": ours(image_size=64),
        "states": ours(cameras=(), state="objects"),
        "plain": Plain().chunk,
    }
    spent = measure(kinds, chunks=options.chunks, rounds=options.rounds, spread=SPREAD)
    cost = {kind: statistics.median(ms) for kind, ms in spent.items()}
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu_ms_per_step": {kind: round(ms, 2) for kind, ms in cost.items()},
        "steps_per_cpu_second": {kind: round(1e3 / ms, 1) for kind, ms in cost.items()},
        "times_less_processor_time": {
            kind: times_faster(spent, "plain", kind) for kind in kinds if kind != "plain"
        },
        "process": memory(CalvinConfig(), options.chunks),
        "rounds": options.rounds,
        "load": os.getloadavg(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
