"""How often the two-arm environment's scripted experts succeed, and how fast it steps.

Each task is played from the first demonstration seeds, without pictures; then the actions of one
episode of each are played again, in chunks of 25, to time the simulator without the expert.

The last line is one JSON object. Run: python -m benchmarks.bimanual_experts [--starts N]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import UTC, datetime

import numpy as np
from benchmarks.expert_rates import all_together, expert_rates

from pushcut.envs.bimanual.env import BimanualConfig, BimanualEnv
from pushcut.envs.bimanual.tasks import TASKS
from pushcut.envs.init_states import demo_inits
from pushcut.envs.pool.expert import run_expert

CHUNK, REPEATS = 25, 10


def steps_per_cpu_second(env: BimanualEnv, task: str) -> float:
    """Control steps of an expert's episode that is played again and again."""
    init = demo_inits(task, 0, 1)[0]
    actions = run_expert(env, init, noise=0.0, rng=np.random.default_rng(0)).action
    began = time.process_time()
    for _ in range(REPEATS):
        env.reset(init)
        for first in range(0, len(actions), CHUNK):
            env.step_chunk(actions[first : first + CHUNK])
    return REPEATS * len(actions) / (time.process_time() - began)


def main() -> None:
    """Plays and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=100, help="of each task")
    options = parser.parse_args()
    began = time.perf_counter()
    env = BimanualConfig(cameras=()).build()
    rates = expert_rates(env, options.starts)
    speed = {task: round(steps_per_cpu_second(env, task)) for task in TASKS}
    env.close()
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "tasks": rates,
        "all_tasks": all_together(rates),
        "steps_per_cpu_second": speed,
        "wall_seconds": round(time.perf_counter() - began, 1),
        "load": os.getloadavg(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
