"""How far LIBERO's fast control step and robosuite's own come apart over expert episodes.

The scripted expert plays an episode with stock steps. Its actions are then replayed with fast
steps from the same start, and it also plays with fast steps itself: are the outcomes the same,
after the same number of steps? One step differs by 1e-15; contacts that hang by a rounding
error make more of it.

The last line is one JSON object. Run: python studies/libero_drift.py [--episodes 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable

import numpy as np

from pushcut.envs.libero.simulator import TaskSimulator
from pushcut.envs.libero.tasks import expand_tasks

FIRST_SEED = 1000
SETTLE_STEPS = 10
MAX_STEPS = 240


def play(
    simulator: TaskSimulator, choose: Callable[[int], np.ndarray]
) -> tuple[int | None, np.ndarray, np.ndarray]:
    """The step of success, the actions, and all positions after each step."""
    actions, positions = [], []
    for step in range(MAX_STEPS):
        actions.append(choose(step))
        success = simulator.step(actions[-1])
        positions.append(simulator.data.qpos.copy())
        if success:
            return step, np.array(actions), np.array(positions)
    return None, np.array(actions), np.array(positions)


def expert(simulator: TaskSimulator) -> Callable[[int], np.ndarray]:
    # The expert opens the gripper at +1, the simulator closes it.
    flip = np.array([1, 1, 1, 1, 1, 1, -1], dtype=np.float32)
    return lambda step: simulator.expert_action() * flip


def episode(fast: TaskSimulator, stock: TaskSimulator, seed: int) -> dict:
    stock.reset(seed, settle_steps=SETTLE_STEPS)
    start = stock.state()
    success, actions, expected = play(stock, expert(stock))
    fast.set_state(start)
    drift = []
    replayed = None
    for step, action in enumerate(actions):
        if fast.step(action):
            replayed = step
        drift.append(float(np.abs(fast.data.qpos - expected[step]).max()))
    fast.set_state(start)
    closed_loop, _, _ = play(fast, expert(fast))
    return {
        "seed": seed,
        "success_at": {"stock": success, "replayed": replayed, "fast": closed_loop},
        "drift_at_end": drift[-1],
        "drift_max": max(drift),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Drift of LIBERO's fast control step.")
    parser.add_argument(
        "--tasks", nargs="+", default=["libero_object/0", "libero_object/6", "libero_spatial/0"]
    )
    parser.add_argument("--episodes", type=int, default=5, help="of each task")
    options = parser.parse_args()
    episodes = []
    for task in expand_tasks(tuple(options.tasks)):
        fast, stock = TaskSimulator(task), TaskSimulator(task, control="stock")
        for seed in range(FIRST_SEED, FIRST_SEED + options.episodes):
            episodes.append({"task": task, **episode(fast, stock, seed)})
            print(json.dumps(episodes[-1]), flush=True)
    from pushcut.runs.run import provenance  # imports torch

    outcomes = [one["success_at"] for one in episodes]
    record = {
        "episodes": len(episodes),
        "successes": sum(one["stock"] is not None for one in outcomes),
        "same_outcome_replayed": sum(one["stock"] == one["replayed"] for one in outcomes),
        "same_outcome_fast": sum(one["stock"] == one["fast"] for one in outcomes),
        "drift_at_end_median": statistics.median(one["drift_at_end"] for one in episodes),
        "drift_at_end_max": max(one["drift_at_end"] for one in episodes),
        "drift_max": max(one["drift_max"] for one in episodes),
        "per_episode": episodes,
        "cpus": os.cpu_count(),
    }
    print(json.dumps(record | provenance()))


if __name__ == "__main__":
    main()
