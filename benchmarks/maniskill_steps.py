"""Simulation speed without pictures: ManiSkillEnv against ManiSkill's own environment of a task.

The baseline is stepped as a single environment is: `gymnasium.make(..., obs_mode="state")`, whose
every control step gives an observation. ManiSkillEnv plays chunks of five and observes once a
chunk, with a control step of its own (`envs.maniskill.control`); `each_step` observes it at every
step too. All start from the same state and get the same random actions; resets are not part of it.
They take turns in one process; ratios are of processor time, taken within a round.

It runs in ManiSkill's environment (`pushcut sims install maniskill`).
The last line is one JSON object. Run: python benchmarks/maniskill_steps.py [--task NAME]
"""

from __future__ import annotations

import numpy as np

from simpler_steps import Step, main

TASK = "StackCube-v1"


def ours(task: str, *, chunk: int) -> Step:
    """ManiSkillEnv, one observation in ``chunk`` steps."""
    from pushcut.envs.maniskill.env import ManiSkillConfig
    from pushcut.types import InitState

    env = ManiSkillConfig((task,), max_steps=10**9, scenes=1).build()
    env.reset(InitState(task, 0))

    def play(actions: np.ndarray) -> None:
        for part in actions.reshape(-1, chunk, 7):
            env.observe()
            if env.step_chunk(part).success:  # random actions hardly ever are
                env.reset(InitState(task, 0))

    return play


def stock(task: str) -> Step:
    """ManiSkill's environment, with its state after each step."""
    import gymnasium

    env = gymnasium.make(
        task,
        obs_mode="state",
        control_mode="pd_ee_delta_pose",
        sim_backend="physx_cpu",
        render_backend="none",
        num_envs=1,
    ).unwrapped
    env.reset(seed=0)

    def play(actions: np.ndarray) -> None:
        for action in actions:
            env.step(action)

    return play


def kinds_of(task: str) -> dict[str, Step]:
    """What is compared; the stock one is the baseline."""
    return {"chunks": ours(task, chunk=5), "each_step": ours(task, chunk=1), "stock": stock(task)}


RATIOS = {"chunks": ("stock", "chunks"), "each_step": ("stock", "each_step")}

if __name__ == "__main__":
    main(__file__, __doc__ or "", TASK, kinds_of, RATIOS)
