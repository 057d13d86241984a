"""Simulation speed: SimplerEnv against ManiSkill's own environment of the same task.

The baseline is stepped as the published programs step it: every control step gives a picture of
640 x 480, cut out and put before the photograph. SimplerEnv plays chunks of five control steps
(pi_RL, table 12) and observes once a chunk: with the published picture, with ManiSkill's minimal
shader, for both of them, and with the small pictures of the preset. All start from the first
published state of the task and get the same random actions; resets are not part of it. They take
turns in one process, so that a busy moment of the machine falls on all of them; ratios are of
processor time, taken within a round.

It runs in ManiSkill's environment (`pushcut sims install maniskill`), with the files of the task.
The last line is one JSON object. Run: python benchmarks/simpler_steps.py [--task NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).resolve().parents[1] / "src"
CHUNK = 5
CARROT = "PutCarrotOnPlateInScene-v1"

Step = Callable[[np.ndarray], object]
"""Plays a chunk of actions [5, 7]."""

SMALL = {"image_size": 128, "aspect": "squeeze", "shader": "minimal"}
"""The preset's pictures."""


def ours(task: str, **looks: Any) -> Step:
    """SimplerEnv, one observation a chunk."""
    from pushcut.envs.maniskill.simpler.env import SimplerConfig
    from pushcut.types import InitState

    config: Any = SimplerConfig
    env = config((task,), max_steps=10**9, stand_ins=True, scenes=1, **looks).build()
    env.reset(InitState(task, 0))

    def play(actions: np.ndarray) -> None:
        env.observe()
        if env.step_chunk(actions).success:  # random actions hardly ever are
            env.reset(InitState(task, 0))

    return play


def stock(task: str, *, shader: str) -> Step:
    """ManiSkill's environment, a picture every control step; after ``ours``, which imports it."""
    import gymnasium

    env = gymnasium.make(
        task,
        obs_mode="rgb+segmentation",
        sim_backend="physx_cpu",
        render_backend="cpu",
        sensor_configs={"shader_pack": shader},
    ).unwrapped
    env.reset(seed=0, options={"reconfigure": True, "episode_id": 0})

    def play(actions: np.ndarray) -> None:
        for action in actions:
            obs = env.step(action)[0]
            assert obs["sensor_data"]["3rd_view_camera"]["rgb"].shape == (1, 480, 640, 3)

    return play


def kinds_of(task: str) -> dict[str, Step]:
    """What is compared; the stock ones are the baselines."""
    return {
        "published_picture": ours(task),
        "minimal_shader": ours(task, shader="minimal"),
        "preset": ours(task, **SMALL),
        "stock": stock(task, shader="default"),
        "stock_minimal_shader": stock(task, shader="minimal"),
    }


def measure(
    kinds: Mapping[str, Step], *, chunks: int, rounds: int, spread: float = 0.01
) -> dict[str, list[float]]:
    """Milliseconds of processor time of a control step, by kind and round.

    ``spread``: standard deviation of the random actions.
    """
    rng = np.random.default_rng(0)
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds + 1):
        actions = rng.normal(0, spread, (chunks, CHUNK, 7)).astype(np.float32)
        for kind, play in kinds.items():
            start = time.process_time()
            for chunk in actions:
                play(chunk)
            if number:  # the first round warms up
                steps = chunks * CHUNK
                spent[kind].append(1e3 * (time.process_time() - start) / steps)
    return spent


def times_faster(spent: Mapping[str, list[float]], baseline: str, kind: str) -> float:
    """How many times less processor time a step of ``kind`` takes, the median over rounds."""
    ratios = [a / b for a, b in zip(spent[baseline], spent[kind], strict=True)]
    return round(statistics.median(ratios), 2)


RATIOS = {
    "published_picture": ("stock", "published_picture"),
    "minimal_shader, stock too": ("stock_minimal_shader", "minimal_shader"),
    "preset": ("stock", "preset"),
}
"""Name of a ratio -> its baseline and what is compared with it."""


def inside(
    task: str,
    kinds: Mapping[str, Step],
    ratios: Mapping[str, tuple[str, str]],
    chunks: int,
    rounds: int,
) -> None:
    """In ManiSkill's interpreter: prints what was measured."""
    spent = measure(kinds, chunks=chunks, rounds=rounds)
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "task": task,
        "cpu_ms_per_step": {k: round(statistics.median(ms), 2) for k, ms in spent.items()},
        "times_less_processor_time": {
            name: times_faster(spent, *pair) for name, pair in ratios.items()
        },
        "rounds": rounds,
        "load": os.getloadavg(),
    }
    print(json.dumps(result))


def main(
    file: str = __file__,
    about: str = __doc__ or "",
    task: str = CARROT,
    kinds: Callable[[str], Mapping[str, Step]] = kinds_of,
    ratios: Mapping[str, tuple[str, str]] = RATIOS,
) -> None:
    """Starts a script where ManiSkill is."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--task", default=task)
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        sys.path.insert(0, str(SOURCE))
        inside(options.task, kinds(options.task), ratios, options.chunks, options.rounds)
        return
    from pushcut.envs.isolated.simulators import installed, isolated_launch

    found = installed("maniskill")
    if found is None:
        raise SystemExit("ManiSkill is not installed; type: pushcut sims install maniskill")
    command = [str(found.python), file, "--inside", "--task", options.task]
    command += ["--chunks", str(options.chunks), "--rounds", str(options.rounds)]
    environment = dict(isolated_launch(found.python).environment)
    raise SystemExit(subprocess.run(command, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
