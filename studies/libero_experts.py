"""Success of LIBERO's scripted experts, on the benchmark's initial states and on drawn ones.

The last line is one JSON object. Run: python studies/libero_experts.py
[--tasks libero_object libero_spatial libero_goal] [--episodes 10]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

from pushcut.envs.libero.env import LiberoConfig, LiberoEnv
from pushcut.envs.libero.tasks import FIXED_INITS, expand_tasks
from pushcut.runs.run import provenance
from pushcut.types import InitState

SUITES = ("libero_object", "libero_spatial", "libero_goal")
MAX_STEPS = 240


def main() -> None:
    """Plays all tasks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=SUITES, help="suites or tasks")
    parser.add_argument("--episodes", type=int, default=10, help="of each kind, for each task")
    options = parser.parse_args()
    start = time.perf_counter()
    results = {}
    for suite_or_task in options.tasks:
        for task in expand_tasks((suite_or_task,)):
            results[task] = measure(task, options.episodes)
            print(task, results[task], flush=True)
    played = [result for result in results.values() if result is not None]
    summary = {
        "tasks": results,
        "successes": sum(result[kind]["successes"] for result in played for kind in result),
        "episodes": sum(result[kind]["episodes"] for result in played for kind in result),
        "max_steps": MAX_STEPS,
        "wall_seconds": round(time.perf_counter() - start, 1),
        "provenance": provenance(),
    }
    print(json.dumps(summary))


def measure(task: str, episodes: int) -> dict[str, Any] | None:
    """Counts successes on both kinds of initial states; none where there is no expert."""
    env = LiberoConfig(tasks=(task,), max_steps=MAX_STEPS).build()
    try:
        return {
            "benchmark": play(env, task, range(episodes)),
            "drawn": play(env, task, range(FIXED_INITS, FIXED_INITS + episodes)),
        }
    except NotImplementedError:
        return None
    finally:
        env.close()


def play(env: LiberoEnv, task: str, seeds: range) -> dict[str, Any]:
    """Plays an episode from each seed; lengths are those of the successful ones."""
    lengths = [length for seed in seeds if (length := episode(env, InitState(task, seed)))]
    return {
        "successes": len(lengths),
        "episodes": len(seeds),
        "median_length": statistics.median(lengths) if lengths else None,
    }


def episode(env: LiberoEnv, init: InitState) -> int | None:
    """Control steps until success, none without success."""
    env.reset(init)
    for length in range(1, MAX_STEPS + 1):
        result = env.step_chunk(env.expert_action()[None])
        if result.success:
            return length
        if result.done:
            break
    return None


if __name__ == "__main__":
    main()
