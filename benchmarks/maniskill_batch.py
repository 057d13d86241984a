"""Simulation speed of ManiSkill's scenes in one process: in turns, or stepping together.

In turns is what a worker does without `--env.batch`: one environment, whose episodes are put aside
and taken up again chunk by chunk. The batch holds the same episodes in scenes that step together
(`--env.batch cpu`). Both keep a scene for each episode, play the same actions and observe once a
chunk. A step here is a control step of all episodes; resets are not part of it. Ratios are of
processor time, taken within a round. A batch on a GPU has not been measured.

It runs in ManiSkill's environment (`pushcut sims install maniskill`).
The last line is one JSON object. Run: python benchmarks/maniskill_batch.py [--task NAME]
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simpler_steps import Step, main

TASK = "StackCube-v1"
EPISODES = 8


def in_turns(task: str) -> Step:
    """One environment, which takes up one episode after the other."""
    from pushcut.envs.maniskill.env import ManiSkillConfig
    from pushcut.types import InitState

    env = ManiSkillConfig((task,), max_steps=10**9, scenes=EPISODES).build()
    parked = []
    for seed in range(EPISODES):
        env.reset(InitState(task, seed))
        parked.append(env.snapshot())

    def play(actions: np.ndarray) -> None:
        for number, snapshot in enumerate(parked):
            env.restore(snapshot)
            if env.step_chunk(actions).success:  # random actions hardly ever are
                env.reset(InitState(task, number))
            env.observe()
            parked[number] = env.snapshot()

    return play


def batch(task: str) -> Step:
    """Scenes that step together."""
    from pushcut.envs.batched import Lockstep
    from pushcut.envs.maniskill.env import ManiSkillConfig
    from pushcut.types import InitState

    config = replace(ManiSkillConfig((task,), max_steps=10**9), batch="cpu")
    lockstep = Lockstep(config.build_batch(EPISODES))
    inits = {scene: InitState(task, scene) for scene in range(EPISODES)}
    lockstep.start(inits)

    def play(actions: np.ndarray) -> None:
        for scene in range(EPISODES):
            lockstep.give(scene, actions)
        results = lockstep.play()
        lockstep.env.observe(list(results))
        if over := {scene: inits[scene] for scene, result in results.items() if result.done}:
            lockstep.start(over)

    return play


if __name__ == "__main__":
    main(
        __file__,
        __doc__ or "",
        TASK,
        lambda task: {"in_turns": in_turns(task), "batch": batch(task)},
        {"batch": ("in_turns", "batch")},
    )
