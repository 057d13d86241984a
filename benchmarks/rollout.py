"""Simulation speed: EnvPool against gymnasium's vector environment over stock MetaWorld.

Both sides play random actions with two processes, resets included, episodes of 150 steps
that end at success. Gymnasium renders an image at every step, with MetaWorld's stock
settings or with ours; EnvPool renders one after every chunk of five, as a policy looks.
The rates are taken in turns, so that a busy moment of the machine falls on all of them.

The last line is one JSON object. Run: python benchmarks/rollout.py [--seconds 10]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv

from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.mujoco.gl import choose_gl
from pushcut.envs.pool.pool import EnvPool
from pushcut.envs.pool.slots import Reply
from pushcut.types import InitState

TASKS = ("button-press-topdown-v3", "coffee-button-v3", "handle-press-v3", "door-close-v3")
IMAGE_SIZE = 64
CHUNK = 5
MAX_STEPS = 150

OURS = MetaWorldConfig(tasks=TASKS, image_size=IMAGE_SIZE, max_steps=MAX_STEPS)

Measure = Callable[[float], float]
"""Plays for about so many seconds and returns environment steps per second."""


class StockWithImages(gymnasium.Env):
    """A stock MetaWorld environment that returns an image at each step."""

    def __init__(self, task: str, style: str, pixels: int = IMAGE_SIZE) -> None:
        import mujoco
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS

        size = {"width": pixels, "height": pixels}
        make: Any = ALL_V3_ENVIRONMENTS[task]
        self._env = make(render_mode="rgb_array", camera_name="corner2", **size)
        self._env._set_task_called = True
        self._env._freeze_rand_vec = False
        model = self._env.model
        model.camera("corner2").pos = (0.75, 0.075, 0.7)
        if style == "cheap":
            model.vis.quality.offsamples = 0
            model.vis.quality.shadowsize = 1
            flags = self._env.mujoco_renderer._get_viewer("rgb_array").scn.flags
            for name in ("SHADOW", "REFLECTION", "SKYBOX"):
                flags[getattr(mujoco.mjtRndFlag, f"mjRND_{name}")] = 0  # pyright: ignore
        self.observation_space = gymnasium.spaces.Box(0, 255, (pixels, pixels, 3), np.uint8)
        self.action_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self._env.reset()
        self._steps = 0
        return self._image(), {}

    def step(self, action: np.ndarray) -> tuple:
        _, reward, _, _, info = self._env.step(action)
        self._steps += 1
        success = bool(info["success"])
        return self._image(), reward, success, self._steps >= MAX_STEPS, {}

    def _image(self) -> np.ndarray:
        return self._env.render()[::-1, ::-1]


@contextmanager
def gymnasium_rate(style: str, workers: int) -> Iterator[Measure]:
    """All tasks, ``workers`` at a time, each in its process, one after the other."""
    groups = [TASKS[i : i + workers] for i in range(0, len(TASKS), workers)]
    vectors = [
        AsyncVectorEnv(
            [partial(StockWithImages, task, style) for task in group],
            shared_memory=True,
            context="spawn",
        )
        for group in groups
    ]
    rng = np.random.default_rng(0)
    for vector in vectors:
        vector.reset()

    def measure(seconds: float) -> float:
        steps, start = 0, time.perf_counter()
        for index, vector in enumerate(vectors, 1):
            until = start + seconds * index / len(vectors)
            while time.perf_counter() < until:
                actions = rng.uniform(-1, 1, (vector.num_envs, 4)).astype(np.float32)
                vector.step(actions)
                steps += vector.num_envs
        return steps / (time.perf_counter() - start)

    try:
        measure(1.0)
        yield measure
    finally:
        for vector in vectors:
            vector.close()


def steps_of(replies: list[Reply]) -> int:
    """Simulator steps that were played."""
    return sum(reply.result.steps for reply in replies if reply.result is not None)


class PoolPlayer:
    """Keeps every slot of a pool busy with random chunks."""

    def __init__(self, pool: EnvPool) -> None:
        self._pool = pool
        self._rng = np.random.default_rng(0)
        self._tasks = list(pool.spec.tasks)
        self._next_seed = 0
        self._held: list[Reply] = []
        for slot in range(pool.slots):
            self._start(slot)

    def measure(self, seconds: float) -> float:
        """Steps per second."""
        start = time.perf_counter()
        return self.play(seconds) / (time.perf_counter() - start)

    def play(self, seconds: float) -> int:
        """Steps; it waits in the end for what was begun, so that nothing goes on uncounted."""
        steps, start = 0, time.perf_counter()
        self._go_on(self._held)
        self._held = []
        while time.perf_counter() - start < seconds:
            replies = self._pool.wait()
            steps += steps_of(replies)
            self._go_on(replies)
        while len(self._held) < self._pool.slots:
            replies = self._pool.wait()
            steps += steps_of(replies)
            self._held += replies
        return steps

    def touch_every_task(self) -> None:
        """Makes every simulator and renderer: each slot begins an episode of each task."""
        begun = 0
        while begun < self._pool.slots * len(self._tasks):
            for reply in self._pool.wait():
                begun += 1
                self._start(reply.slot)

    def _go_on(self, replies: list[Reply]) -> None:
        looking = [reply.slot for reply in replies if reply.result is None or not reply.result.done]
        if looking:
            self._pool.observation(looking)
        for reply in replies:
            if reply.slot in looking:
                actions = self._rng.uniform(-1, 1, (CHUNK, 4)).astype(np.float32)
                self._pool.step(reply.slot, actions)
            else:
                self._start(reply.slot)

    def _start(self, slot: int) -> None:
        # Each episode its own placement: no start is shared. Workers serve about every
        # other slot, so tasks advance with the number of episodes, not with the slot.
        seed = self._next_seed
        self._next_seed += 1
        task = self._tasks[(seed + seed // self._pool.slots) % len(self._tasks)]
        self._pool.reset(slot, InitState(task, seed))


@contextmanager
def pool_rate(workers: int, slots: int, config: MetaWorldConfig = OURS) -> Iterator[PoolPlayer]:
    with EnvPool(config, slots=slots, workers=workers) as pool:
        player = PoolPlayer(pool)
        player.touch_every_task()
        player.measure(1.0)
        yield player


def worker_mb(tasks: tuple[str, ...], slots: int) -> float:
    """Resident memory of a worker after a while of play, MB."""
    config = MetaWorldConfig(tasks=tasks, image_size=IMAGE_SIZE, max_steps=MAX_STEPS)
    with EnvPool(config, slots=slots, workers=1) as pool:
        player = PoolPlayer(pool)
        player.touch_every_task()
        player.measure(3.0)
        (pid,) = pool.worker_pids()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Simulation speed of EnvPool and gymnasium on MetaWorld."
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=8)
    options = parser.parse_args()
    choose_gl()
    # Ours by default; the others are given it too, which makes them faster.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    rates: dict[str, list[float]] = {"pool": [], "same_render": [], "stock_render": []}
    with (
        pool_rate(options.workers, options.slots) as player,
        gymnasium_rate("cheap", options.workers) as same,
        gymnasium_rate("stock", options.workers) as stock,
    ):
        for _ in range(options.rounds):
            rates["pool"].append(player.measure(options.seconds))
            rates["same_render"].append(same(options.seconds))
            rates["stock_render"].append(stock(options.seconds))
            print({name: round(values[-1], 1) for name, values in rates.items()}, flush=True)
    pool, same_rate, stock_rate = (statistics.median(values) for values in rates.values())
    record = {
        "ratio_same_render": round(pool / same_rate, 2),
        "ratio_stock_render": round(pool / stock_rate, 1),
        "steps_per_second": round(pool, 1),
        "worker_mb": worker_mb(TASKS[:1], 4),
        "worker_mb_four_tasks": worker_mb(TASKS, 8),
        "steps_per_second_same_render": round(same_rate, 1),
        "steps_per_second_stock_render": round(stock_rate, 1),
        "workers": options.workers,
        "slots": options.slots,
        "tasks": TASKS,
        "image_size": IMAGE_SIZE,
        "chunk": CHUNK,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
    }
    print(json.dumps(record))


def commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
