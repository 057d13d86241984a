"""Host memory of simulator processes that play all tasks of a suite, few kept and all kept.

Short episodes (a few random chunks, an image after each) of random tasks, the images as a preset
has them. First one process plays one task and then a second: what a process and a simulator take.
Then several processes play many episodes, keeping --tasks-per-process tasks each, and at last as
many as they meet, until all of them together take --max-gb. Software rendering keeps in host
memory what a GPU's driver keeps in its own.

The last line is one JSON object. Run: python benchmarks/worker_memory.py
[--preset libero-long-openvla-oft] [--processes 8]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pushcut.envs.base import EnvConfig
from pushcut.envs.mujoco.gl import choose_gl
from pushcut.envs.pool.pool import EnvPool
from pushcut.presets import PRESETS
from pushcut.runs.run import provenance
from pushcut.types import InitState

CHUNK = 5
FIRST_SEED = 2**32
TIMEOUT_S = 600.0
"""Of a request: a machine that is busy makes a simulator slowly."""


@dataclass
class Played:
    """What processes took while they played."""

    episodes: list[int] = field(default_factory=list)
    mean_mb: list[float] = field(default_factory=list)
    most_mb: list[float] = field(default_factory=list)
    seconds: float = 0.0
    stopped_at_gb: float | None = None


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def play(
    config: EnvConfig,
    tasks: Sequence[str],
    processes: int,
    kept: int,
    *,
    chunks: int,
    max_gb: float,
) -> Played:
    """Plays one episode of each of ``tasks``, as many at a time as there are processes."""
    rng = np.random.default_rng(0)
    played, queue, left = Played(), list(enumerate(tasks)), {}
    start = time.monotonic()
    with EnvPool(
        config,
        slots=processes,
        workers=processes,
        tasks_per_process=kept,
        timeout_s=TIMEOUT_S,
    ) as pool:
        ended = 0
        while queue or left:
            for slot in range(processes):
                if queue and slot not in left:
                    number, task = queue.pop(0)
                    pool.reset(slot, InitState(task, FIRST_SEED + number))
                    left[slot] = chunks
            for reply in pool.wait():
                if reply.kind == "lost":
                    raise RuntimeError(f"lost: {reply.reason}")
                slot = reply.slot
                if left[slot]:
                    left[slot] -= 1
                    pool.step(slot, rng.uniform(-1, 1, (CHUNK, config.spec.action_size)))
                    continue
                pool.abandon(slot)
                del left[slot]
                ended += 1
                taken = [resident_mb(pid) for pid in pool.worker_pids()]
                played.episodes.append(ended)
                played.mean_mb.append(round(statistics.mean(taken)))
                played.most_mb.append(round(max(taken)))
                if sum(taken) > max_gb * 1e3:
                    played.stopped_at_gb = round(sum(taken) / 1e3, 1)
                    queue.clear()
    played.seconds = round(time.monotonic() - start, 1)
    return played


def one_process(config: EnvConfig, tasks: Sequence[str], chunks: int) -> dict[str, float]:
    """What a process takes with one task and with two."""
    played = play(config, tasks[:2], 1, 2, chunks=chunks, max_gb=1e3)
    one, two = played.most_mb
    return {"one_task_mb": one, "two_tasks_mb": two}


def summary(played: Played) -> dict[str, Any]:
    """The numbers of a record."""
    return {
        "episodes": played.episodes[-1],
        "seconds": played.seconds,
        "mean_mb_over_episodes": played.mean_mb,
        "most_mb_over_episodes": played.most_mb,
        "mean_mb_at_the_end": played.mean_mb[-1],
        "most_mb": max(played.most_mb),
        "stopped_at_gb": played.stopped_at_gb,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of processes that play a suite.")
    parser.add_argument("--preset", default="metaworld-pi0-flow-sde")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--tasks-per-process", type=int, default=2)
    parser.add_argument("--episodes", type=int, default=120)
    parser.add_argument("--chunks", type=int, default=2, help="of an episode")
    parser.add_argument("--max-gb", type=float, default=7.0, help="of all processes together")
    options = parser.parse_args()
    choose_gl()
    config = PRESETS[options.preset].train.env
    names = list(config.spec.tasks)
    rng = np.random.default_rng(1)
    tasks = [names[int(rng.integers(len(names)))] for _ in range(options.episodes)]
    how = {"chunks": options.chunks, "max_gb": options.max_gb}
    alone = one_process(config, sorted(set(tasks)), options.chunks)
    print(alone, flush=True)
    few = play(config, tasks, options.processes, options.tasks_per_process, **how)
    print(summary(few), flush=True)
    every = play(config, tasks, options.processes, len(names), **how)
    record = {
        "preset": options.preset,
        "tasks": len(names),
        "processes": options.processes,
        "tasks_per_process": options.tasks_per_process,
        "one_process": alone,
        "few_kept": summary(few),
        "all_kept": summary(every),
        "cpus": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()],
        **provenance(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
