"""Simulation speed: LiberoEnv against the stock LIBERO environment, one process each.

The baseline is the package's OffScreenRenderEnv as SimpleVLA-RL and RLinf step it: every control
step returns an observation with two cameras of 256 pixels. LiberoEnv plays chunks of eight
control steps and observes both cameras once a chunk: drawn with the stock settings, with the
cheap ones, as small as the presets do, and that with coarser meshes. Then both step without any
image. All start from the benchmark's first initial state of the task, settled, and get the same
random actions; resets are not part of it. The processes
are measured in turns, so that a busy moment of the machine falls on all of them, and ratios
are taken within a round.

The last line is one JSON object. Run: python benchmarks/libero_steps.py [--task libero_object/0]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.libero.package import init_states_file, problem_file
from pushcut.envs.libero.tasks import expand_tasks
from pushcut.envs.mujoco.gl import choose_gl
from pushcut.types import InitState

CHUNK = 8
PIXELS = 256
"""What the published programs draw."""
SETTLE_STEPS = 10
CAMERAS = ("agentview", "wrist")

Step = Callable[[np.ndarray], object]
"""Plays a chunk of LIBERO's own actions [8, 7]."""


@dataclass(frozen=True)
class Task:
    name: str
    problem: Path
    inits: Path


def stock(task: Task, *, images: bool) -> Step:
    """The package's environment, an observation every control step."""
    from libero.libero.envs.env_wrapper import ControlEnv  # OffScreenRenderEnv with images

    env: Any = ControlEnv(
        bddl_file_name=str(task.problem),
        use_camera_obs=images,
        has_offscreen_renderer=images,
        camera_heights=PIXELS,
        camera_widths=PIXELS,
        ignore_done=True,
    )
    env.seed(0)
    env.reset()
    env.set_init_state(np.load(task.inits)["states"][0])
    for _ in range(SETTLE_STEPS):
        env.step([0, 0, 0, 0, 0, 0, -1])

    def play(actions: np.ndarray) -> None:
        for action in actions:
            obs, _, _, _ = env.step(action)
            assert ("agentview_image" in obs) == images

    return play


def ours(task: Task, *, images: bool, **looks: Any) -> Step:
    """LiberoEnv, one observation a chunk."""
    config: Any = LiberoConfig
    env = config(
        (task.name,),
        cameras=CAMERAS,
        settle_steps=SETTLE_STEPS,
        max_steps=10**9,
        **looks,
    ).build()
    env.reset(InitState(task.name, 0))

    def play(actions: np.ndarray) -> None:
        if images:
            env.observe()
        # LIBERO closes the gripper at +1, pushcut opens it.
        result = env.step_chunk(actions * np.array([1, 1, 1, 1, 1, 1, -1], dtype=np.float32))
        assert result.steps == CHUNK

    return play


SMALL: dict[str, Any] = {"image_size": 64, "texture_size": 256}
"""The presets' pictures."""

KINDS: dict[str, Callable[[Task], Step]] = {
    "stock": partial(stock, images=True),
    "same_render": partial(ours, images=True, image_size=PIXELS, render="stock"),
    "cheap_render": partial(ours, images=True, image_size=PIXELS),
    "small": partial(ours, images=True, **SMALL),
    "small_2_mm": partial(ours, images=True, mesh_detail=0.002, **SMALL),
    "small_4_mm": partial(ours, images=True, mesh_detail=0.004, **SMALL),
    "stock_control": partial(stock, images=False),
    "fast_control": partial(ours, images=False),
}

BASELINES = {
    kind: "stock" for kind in ("same_render", "cheap_render", "small", "small_2_mm", "small_4_mm")
} | {"fast_control": "stock_control"}
"""Kind of ours -> what it is compared with."""

PACE = {
    "stock": 1, "same_render": 6, "cheap_render": 12, "small": 14, "small_2_mm": 18,
    "small_4_mm": 20, "stock_control": 8, "fast_control": 24,
}  # fmt: skip
"""How many steps each plays for one of the stock environment: all play for about as long."""


def serve(kind: str, task: Task, connection: Connection) -> None:
    """Runs in a process of its own: plays as many chunks as asked, and says how long it took."""
    step = KINDS[kind](task)
    rng = np.random.default_rng(0)

    def chunk() -> np.ndarray:
        return rng.uniform(-1, 1, (CHUNK, 7)).astype(np.float32)

    step(chunk())
    connection.send(None)
    while (chunks := connection.recv()) is not None:
        start, cpu_start = time.perf_counter(), time.process_time()
        for _ in range(chunks):
            step(chunk())
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        steps = CHUNK * chunks
        connection.send((steps / seconds, 1e3 * cpu_seconds / steps, resident_mb()))
    os._exit(0)  # robosuite's clean-up fails after OpenGL's


def resident_mb() -> float:
    """Memory of this process that is in use now, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["VmRSS"].split()[0]) / 1024


@contextmanager
def player(kind: str, task: Task) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    connection, remote = context.Pipe()
    process = context.Process(target=serve, args=(kind, task, remote))
    process.start()
    remote.close()
    try:
        connection.recv()  # until it is ready
        yield connection
        connection.send(None)
        process.join()
    finally:
        process.terminate()


@dataclass
class Measured:
    """What a kind of environment did in each round."""

    rates: list[float] = field(default_factory=list)
    """Control steps per second."""
    cpu_ms: list[float] = field(default_factory=list)
    """Processor time of a control step: on a busy machine steadier than the rates."""
    megabytes: float = 0.0


def measure(task: Task, *, steps: int, rounds: int) -> dict[str, Measured]:
    results = {kind: Measured() for kind in KINDS}
    with ExitStack() as stack:
        players = {kind: stack.enter_context(player(kind, task)) for kind in KINDS}
        for _ in range(rounds):
            for kind, connection in players.items():
                connection.send(max(1, PACE[kind] * steps // CHUNK))
                rate, cpu_ms, results[kind].megabytes = connection.recv()
                results[kind].rates.append(rate)
                results[kind].cpu_ms.append(cpu_ms)
            print({kind: round(got.rates[-1], 1) for kind, got in results.items()}, flush=True)
    return results


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulation speed of LiberoEnv and LIBERO.")
    parser.add_argument("--task", default="libero_object/0", help="a task or suite/index")
    parser.add_argument("--steps", type=int, default=16, help="stock control steps of a round")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    (name,) = expand_tasks((options.task,))
    # Here, because asking for them imports the package, and not as its users do.
    task = Task(name, problem_file(name), init_states_file(name))
    choose_gl()
    # Ours by default; the stock environment is given it too, which makes it faster.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    results = measure(task, steps=options.steps, rounds=options.rounds)
    rates = {kind: got.rates for kind, got in results.items()}
    cpu_ms = {kind: got.cpu_ms for kind, got in results.items()}
    from pushcut.runs.run import provenance  # imports torch, which the players must not

    record = {
        "ratio": {kind: median_ratio(rates[kind], rates[than]) for kind, than in BASELINES.items()},
        "cpu_ratio": {
            kind: median_ratio(cpu_ms[than], cpu_ms[kind]) for kind, than in BASELINES.items()
        },
        "steps_per_second": {
            kind: round(statistics.median(values), 1) for kind, values in rates.items()
        },
        "cpu_ms_per_step": {
            kind: round(statistics.median(values), 2) for kind, values in cpu_ms.items()
        },
        "process_mb": {kind: round(got.megabytes) for kind, got in results.items()},
        "task": name,
        "processes": 1,
        "chunk": CHUNK,
        "image_size": PIXELS,
        "cameras": CAMERAS,
        "cpus": os.cpu_count(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    print(json.dumps(record | provenance()))


if __name__ == "__main__":
    main()
