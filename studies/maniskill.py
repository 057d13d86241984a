"""ManiSkill in an environment of its own: success of its experts, speed and size.

Needs ``pushcut sims install maniskill``. The last line is one JSON object.
Run: python studies/maniskill.py [--episodes 50] [--seconds 20] [--workers 2]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import Any

import numpy as np

from processes import memory
from pushcut.envs.isolated.simulators import installed
from pushcut.envs.maniskill.env import INSTRUCTIONS, ManiSkillConfig
from pushcut.envs.pool.pool import EnvPool
from pushcut.evaluation.intervals import Rate
from pushcut.runs.run import provenance
from pushcut.types import InitState

CHUNK = 5


def main() -> None:
    """Plays every task and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=50, help="of each task's expert")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each speed")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    found = installed("maniskill")
    if found is None:
        parser.error("this needs `pushcut sims install maniskill`")
    start = time.perf_counter()
    experts = {}
    for task in INSTRUCTIONS:
        experts[task] = expert(task, options.episodes, options.workers)
        print(task, experts[task], flush=True)
    summary = {
        "experts": experts,
        "steps_per_second": {
            name: speed(slots, options.workers, options.seconds)
            for name, slots in (("slots = workers", options.workers), ("16 slots", 16))
        },
        "install": {
            "seconds": found.seconds,
            "size_mb": round(found.size_bytes / 2**20),
            "python": found.python_version,
            "packages": len(found.packages),
        },
        "load_average": os.getloadavg()[0],
        "wall_seconds": round(time.perf_counter() - start, 1),
        "provenance": provenance(),
    }
    print(json.dumps(summary))


def expert(task: str, episodes: int, workers: int) -> dict[str, Any]:
    """Success and length of the expert's episodes from seeds 0, 1, …, without noise."""
    config = ManiSkillConfig(tasks=(task,))
    lengths: list[int] = []
    started = ended = 0
    with EnvPool(config, slots=workers, workers=workers, timeout_s=300.0) as pool:
        idle = set(range(workers))
        while ended < episodes:
            while idle and started < episodes:
                pool.demonstrate(idle.pop(), InitState(task, started), noise=0.0, seed=0)
                started += 1
            for reply in pool.wait():
                assert reply.demonstration is not None, reply.reason
                idle.add(reply.slot)
                ended += 1
                if reply.demonstration.success:
                    lengths.append(len(reply.demonstration.action))
    return {
        **Rate(len(lengths), episodes).to_json(),
        "median_length": statistics.median(lengths),
        "longest": max(lengths),
    }


def speed(slots: int, workers: int, seconds: float) -> dict[str, float]:
    """Control steps per second of random chunks, new episodes included."""
    rng = np.random.default_rng(0)
    steps, seed = 0, 0
    with EnvPool(ManiSkillConfig(), slots=slots, workers=workers, timeout_s=300.0) as pool:
        for slot in range(slots):
            pool.reset(slot, InitState("PickCube-v1", seed := seed + 1))
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            for reply in pool.wait():
                if reply.result is not None:
                    steps += reply.result.steps
                if reply.result is not None and reply.result.done:
                    pool.reset(reply.slot, InitState("PickCube-v1", seed := seed + 1))
                else:
                    chunk = rng.uniform(-1, 1, (CHUNK, 7)).astype(np.float32)
                    pool.step(reply.slot, chunk)
        elapsed = time.perf_counter() - start
        found = [memory(pid) for pid in pool.worker_pids()]
        rss = max(each.rss for each in found if each is not None)
    return {"control_steps": round(steps / elapsed, 1), "worker_mb": round(rss)}


if __name__ == "__main__":
    main()
