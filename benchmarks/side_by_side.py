"""What a simulator step costs in processor time: as the published programs step, and as we do.

The baseline is a plain version of how the environments of RLinf step MetaWorld: one process per
environment, one stock picture of 480 pixels after every step, chunks of five. Ours play the same
tasks in two processes and look once a chunk: at the same picture, at a cheaper one, at the small
one of our presets, and at that with coarser meshes (`mesh_detail`). Random actions; resets are
part of it.

Processor time is that of the whole tree of processes, from idle to idle. Contestants take turns;
ratios are taken within a round, medians over rounds. On a machine that draws with a GPU pictures
cost far less, and so do the ratios.

The last line is one JSON object. Run: python benchmarks/side_by_side.py [--rounds 4]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import psutil
from gymnasium.vector import AsyncVectorEnv

from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.mujoco.gl import choose_gl
from pushcut.envs.pool.pool import EnvPool
from pushcut.runs.run import provenance
from rollout import CHUNK, MAX_STEPS, TASKS, PoolPlayer, StockWithImages

PIXELS = 480
CHEAP = MetaWorldConfig(tasks=TASKS, image_size=PIXELS, max_steps=MAX_STEPS)
OURS = {
    "same picture": replace(CHEAP, render="stock"),
    "cheap picture": CHEAP,
    "64 pixels": replace(CHEAP, image_size=64),
    "64 pixels, 4 mm": replace(CHEAP, image_size=64, mesh_detail=0.004),
}
BASELINE = "one process each"

Play = Callable[[float], int]
"""Plays for about so many seconds; simulator steps. Nothing goes on when it returns."""


def cpu_seconds() -> float:
    """User and system time of this process and all below it so far."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(each.user + each.system for each in times)


@contextmanager
def processes(environments: int) -> Iterator[Play]:
    """A process for each stock environment; a chunk is five steps of all, each with pictures."""
    tasks = [TASKS[i % len(TASKS)] for i in range(environments)]
    makers = [partial(StockWithImages, task, "stock", PIXELS) for task in tasks]
    vector = AsyncVectorEnv(makers, shared_memory=True, context="spawn")
    rng = np.random.default_rng(0)
    vector.reset()

    def play(seconds: float) -> int:
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            for actions in rng.uniform(-1, 1, (CHUNK, environments, 4)).astype(np.float32):
                vector.step(actions)
            steps += CHUNK * environments
        return steps

    try:
        yield play
    finally:
        vector.close()


@contextmanager
def pool(config: MetaWorldConfig, slots: int) -> Iterator[Play]:
    with EnvPool(config, slots=slots, workers=2) as envs:
        player = PoolPlayer(envs)
        player.touch_every_task()
        yield player.play


def measured(play: Play, seconds: float) -> dict[str, float]:
    """Steps per processor second and per second of a turn."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    steps = play(seconds)
    wall = time.perf_counter() - wall
    return {"per_cpu_second": steps / (cpu_seconds() - cpu), "per_second": steps / wall}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    choose_gl()
    os.environ.setdefault("LP_NUM_THREADS", "0")
    rounds: list[dict[str, dict[str, float]]] = []
    with ExitStack() as stack:
        players = {BASELINE: stack.enter_context(processes(options.environments))}
        for name, config in OURS.items():
            players[name] = stack.enter_context(pool(config, options.environments))
        for number in range(options.rounds + 1):
            turn = {name: measured(play, options.seconds) for name, play in players.items()}
            print({name: round(x["per_cpu_second"], 1) for name, x in turn.items()}, flush=True)
            if number:  # the first one warms up
                rounds.append(turn)
    print(json.dumps(record(rounds) | vars(options) | {"tasks": TASKS} | provenance()))


def record(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    def median(name: str, what: str, over: str | None = None) -> float:
        values = [r[name][what] / (r[over][what] if over else 1.0) for r in rounds]
        return round(statistics.median(values), 2)

    names = [BASELINE, *OURS]
    return {
        "steps_per_cpu_second": {name: median(name, "per_cpu_second") for name in names},
        "steps_per_second": {name: median(name, "per_second") for name in names},
        "ratio_cpu": {name: median(name, "per_cpu_second", BASELINE) for name in OURS},
        "ratio_wall": {name: median(name, "per_second", BASELINE) for name in OURS},
        "turns": rounds,
        "baseline": "one process and one stock 480-pixel picture a step for each environment",
    }


if __name__ == "__main__":
    main()
