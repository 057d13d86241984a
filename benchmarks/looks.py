"""What simplified meshes change: the time of a look, faces, and how far pictures differ.

One task after the other is played in one process by two environments that differ in
``mesh_detail`` alone, side by side: the same actions (the expert's where there is one, else random
ones), a look of each after every chunk, in turns, in every size asked for. Processor time of a look
includes reading the state. Physics of the two must agree to the bit. Beside the differences of the
pictures stands how much one simulator step changes them.

The last line is one JSON object. Run: python benchmarks/looks.py [--env metaworld]
[--tasks mt50] [--sizes 64 224] [--detail 0.004]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import replace
from typing import Any

import numpy as np

from pushcut.envs import ENVS
from pushcut.envs.base import Env, EnvConfig
from pushcut.envs.mujoco.drawn import drawn_meshes
from pushcut.envs.mujoco.gl import choose_gl
from pushcut.runs.run import provenance
from pushcut.types import InitState

CHUNK = 5
FIRST_SEED = 2**32


def actions(env: Env, rng: np.random.Generator) -> np.ndarray:
    """The next action [1, a]: the expert's, or a random one."""
    try:
        return env.expert_action()[None]
    except NotImplementedError:
        return rng.uniform(-1, 1, (1, env.spec.action_size)).astype(np.float32)


def look(env: Env) -> tuple[np.ndarray, float]:
    """The pictures of all cameras as one row of numbers, and the milliseconds that they took."""
    start = time.process_time()
    images = env.observe().images
    ms = 1e3 * (time.process_time() - start)
    return np.concatenate([np.asarray(image).ravel() for image in images.values()]), ms


def faces_drawn(env: Any, task: str, detail: float) -> int:
    """Faces of the meshes in the task's scene that are uploaded."""
    model = env._simulator(task).model
    with drawn_meshes(model, detail):
        shown = [
            int(model.geom_dataid[geom])
            for geom in range(model.ngeom)
            if model.geom_type[geom] == 7  # mjGEOM_MESH
            and model.geom_group[geom] < 3
            and model.geom_group[geom] not in env._style.hidden_groups
        ]
        return int(model.mesh_facenum[shown].sum())


def play(
    task: str, full: Env, simple: Env, looks: int
) -> tuple[dict[str, float | int], list[tuple[float, ...]]]:
    """Plays both side by side; the row of the task, and the times of each look [looks, 2]."""
    rng = np.random.default_rng(0)
    for env in (full, simple):
        env.reset(InitState(task, FIRST_SEED))
        look(env)
    times, differences, motion = [], [], []
    for _ in range(looks):
        before, _ = look(full)
        done = False
        for step in range(CHUNK):
            action = actions(full, rng)
            results = [env.step_chunk(action) for env in (full, simple)]
            done = results[0].done
            assert done == results[1].done
            if step == 0:
                motion.append(np.abs(look(full)[0].astype(int) - before).mean())
            if done:
                break
        pictures, ms = zip(*(look(env) for env in (full, simple)), strict=True)
        times.append(ms)
        differences.append(np.abs(pictures[0].astype(int) - pictures[1]))
        states = [env.snapshot().state.physics for env in (full, simple)]
        np.testing.assert_array_equal(states[0], states[1])
        if done:
            break
    wide = np.stack(differences)
    row = {
        "mean_difference": round(float(wide.mean()), 3),
        "largest_difference": int(wide.max()),
        "share_over_16": round(float((wide > 16).mean()), 5),
        "motion_of_a_step": round(float(np.mean(motion)), 3),
    }
    return row, times


def measure(config: EnvConfig, task: str, detail: float, looks: int) -> dict[str, Any]:
    """The row of a task in one size."""
    changed: dict[str, Any] = {"tasks": (task,), "mesh_detail": 0.0}
    plain = replace(config, **changed)
    simplified: dict[str, Any] = {"mesh_detail": detail}
    full, simple = plain.build(), replace(plain, **simplified).build()
    try:
        row, times = play(task, full, simple, looks)
        ms = [statistics.median(column) for column in zip(*times, strict=True)]
        ratio = statistics.median(a / b for a, b in times)
        row |= {
            "ms": round(ms[0], 2),
            "ms_simplified": round(ms[1], 2),
            "times_as_fast": round(ratio, 2),
            "faces": faces_drawn(full, task, 0.0),
            "faces_simplified": faces_drawn(full, task, detail),
        }
    finally:
        full.close()
        simple.close()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and pictures of simplified meshes.")
    parser.add_argument("--env", default="metaworld", choices=("metaworld", "libero"))
    parser.add_argument("--tasks", nargs="+", default=["mt50"])
    parser.add_argument("--cameras", nargs="+", default=[])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 224])
    parser.add_argument("--detail", type=float, default=0.004)
    parser.add_argument("--looks", type=int, default=12, help="of each task and size")
    options = parser.parse_args()
    choose_gl()
    make: Any = ENVS[options.env]
    chosen = {"cameras": tuple(options.cameras)} if options.cameras else {}
    config: EnvConfig = make(tasks=tuple(options.tasks), **chosen)
    rows: dict[str, dict[str, Any]] = {}
    for task in config.spec.tasks:
        for size in options.sizes:
            sized: dict[str, Any] = {"image_size": size}
            row = measure(replace(config, **sized), task, options.detail, options.looks)
            rows[f"{task} {size}"] = row
            print(f"{task} {size}: {row}", flush=True)
    record = {
        "detail": options.detail,
        "looks": options.looks,
        "summary": {
            size: {
                name: statistics.median(row[name] for key, row in rows.items() if key.endswith(end))
                for name in next(iter(rows.values()))
            }
            for size in options.sizes
            for end in (f" {size}",)
        },
        "rows": rows,
        "cpus": os.cpu_count(),
    }
    print(json.dumps(record | provenance()), flush=True)
    os._exit(0)  # robosuite's clean-up fails after OpenGL's


if __name__ == "__main__":
    main()
