"""Plays the same actions by ManiSkill's own control step and by ours, and prints what came out.

It runs where ManiSkill is installed: ``python steps_of_both.py panda`` or ``widowx``.
"""

# pyright: reportMissingImports=false

import json
import sys
from typing import Any

import numpy as np

from pushcut.envs.maniskill import sapien_process

STEPS = 20


def environment(robot: str) -> Any:
    """One of ManiSkill's with that robot, which needs no files of others for the Panda."""
    sapien_process.prepare(images=False)
    kind = {"control_mode": "pd_ee_delta_pose"} if robot == "panda" else {}
    task = "StackCube-v1" if robot == "panda" else "PutCarrotOnPlateInScene-v1"
    if robot == "widowx":
        from mani_skill.envs.tasks.digital_twins.bridge_dataset_eval.base_env import BaseBridgeEnv

        BaseBridgeEnv.SUPPORTED_OBS_MODES = ["none"]
        BaseBridgeEnv.rgb_overlay_mode = "none"
    return sapien_process.made(task, draws=False, render_device="auto", **kind)


def played(robot: str, env: Any, *, ours: bool) -> list[list[float]]:
    """After each step: the joints' positions, whether the fingers hold the object, and success."""
    from pushcut.envs.maniskill.control import HandControl

    env.reset(seed=3, options={"reconfigure": True})
    thing = env.cubeA if robot == "panda" else env.objs[env.source_obj_name]
    control = HandControl(env) if ours else None
    rng, seen = np.random.default_rng(0), []
    scale = 1.5 if robot == "panda" else 0.03  # beyond the limits; metres and radians
    for _ in range(STEPS):
        action = rng.uniform(-1, 1, 7).astype(np.float32)
        action[:6] *= scale
        if control is None:
            success = env.step(action)[4]["success"]
        else:
            control.step(action)
            success = env.evaluate()["success"]
        held = bool(env.agent.is_grasping(thing)[0])
        seen.append([*sapien_process.positions_of(env).tolist(), float(held), float(success)])
    return seen


def main() -> None:
    """Both ways, from the same start."""
    robot = sys.argv[1]
    env = environment(robot)
    print(json.dumps({k: played(robot, env, ours=k == "ours") for k in ("theirs", "ours")}))


if __name__ == "__main__":
    main()
