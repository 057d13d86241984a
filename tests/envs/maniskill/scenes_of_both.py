"""Plays the same actions by ManiSkillEnv and by the batch for GPUs, of one scene on the CPU.

It runs where ManiSkill is installed: ``python scenes_of_both.py TASK`` prints what was seen.
"""

import json
import sys
from dataclasses import replace

import numpy as np

from pushcut.envs.batched import OneScene
from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.envs.maniskill.many_scenes import ManyScenes
from pushcut.envs.protocol import Env
from pushcut.types import InitState

STEPS = 20


def played(env: Env, init: InitState) -> list[list[float]]:
    """The state at first and after each step, of random actions, most of which go down."""
    rng = np.random.default_rng(0)
    env.reset(init)
    seen = [env.observe().state[0].tolist()]
    for _ in range(STEPS):
        action = rng.uniform(-1, 1, 7).astype(np.float32)
        result = env.step_chunk(action[None])
        seen.append([*env.observe().state[0].tolist()])
        assert not result.done
    return seen


def main() -> None:
    """Both, from the same starts, one after the other."""
    task = sys.argv[1]
    config = ManiSkillConfig((task,))
    batch = ManyScenes(replace(config, batch="cuda"), 1, backend="physx_cpu")
    envs = {"single": config.build(), "batch": OneScene(batch)}
    inits = [InitState(task, seed) for seed in (3, 1 << 33)]
    print(json.dumps({name: [played(env, i) for i in inits] for name, env in envs.items()}))


if __name__ == "__main__":
    main()
