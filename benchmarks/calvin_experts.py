"""How often CALVIN's scripted experts succeed: in each sub-task, and in whole chains.

Each of the 34 sub-tasks is played from the first demonstration seeds in a scene, with at most 200
control steps; then the benchmark's first chains, each sub-task by its expert, with 360 steps for
each. No picture is drawn. It needs pybullet in this interpreter and the benchmark's files
(docs/how-to/calvin.md).

The last line is one JSON object. Run: python -m benchmarks.calvin_experts [--scene D] [--starts N]
[--chains N]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import UTC, datetime
from typing import Any

from benchmarks.expert_rates import all_together, expert_rates

from pushcut.envs.calvin.chains import LENGTH
from pushcut.envs.calvin.env import CalvinConfig, CalvinEnv
from pushcut.envs.calvin.scenes import SCENES
from pushcut.envs.calvin.starts import CHAIN
from pushcut.envs.calvin.tasks import TASKS
from pushcut.evaluation.results import LedgerLine
from pushcut.evaluation.stages import Chains
from pushcut.system.progress import bar
from pushcut.types import InitState

LIMIT = 200
"""Control steps for a sub-task alone."""


def sub_tasks(scene: str, starts: int) -> dict[str, Any]:
    """Successes of each sub-task, and how many control steps they took."""
    env = CalvinConfig(tuple(TASKS), scene, cameras=(), scenes=1, max_steps=LIMIT).build()
    found = expert_rates(env, starts)
    env.close()
    return found


def chain(env: CalvinEnv, seed: int) -> int:
    """Sub-tasks of a chain that the experts do before one takes too long."""
    env.reset(InitState(CHAIN, seed))
    done = 0
    while True:
        result = env.step_chunk(env.expert_action()[None])
        done += int(result.reward.sum())
        if result.done:
            return done


def chains(scene: str, count: int) -> dict[str, Any]:
    """Len-1 to Len-5 and the average over the benchmark's first chains."""
    env = CalvinConfig(scene=scene, cameras=(), scenes=1).build()
    lines = []
    with bar("playing chains", count) as shown:
        for seed in range(count):
            done = chain(env, seed)
            lines.append(LedgerLine(CHAIN, seed, done == LENGTH, 0, 0, stage=done))
            shown.advance()
    env.close()
    return Chains.of(lines, LENGTH).to_json()


def main() -> None:
    """Plays and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scene", default="D", choices=tuple(SCENES))
    parser.add_argument("--starts", type=int, default=16, help="of each sub-task")
    parser.add_argument("--chains", type=int, default=100)
    options = parser.parse_args()
    began = time.perf_counter()
    alone = sub_tasks(options.scene, options.starts)
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "scene": options.scene,
        "sub_tasks": alone,
        "all_sub_tasks": all_together(alone),
        "chains": chains(options.scene, options.chains),
        "wall_seconds": round(time.perf_counter() - began, 1),
        "load": os.getloadavg(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
