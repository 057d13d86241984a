"""The process behind ``probe``: makes an environment, compares its restarts, writes what it is."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pushcut.envs.gymnasium.making import Facts, Making
from pushcut.envs.gymnasium.simulator import TaskSimulator, registered_limit
from pushcut.envs.gymnasium.spaces import leaves, part_of
from pushcut.envs.gymnasium.success import SuccessRule
from pushcut.errors import UserError

USUAL_HZ = 30.0
"""Where an environment does not say how fast it is."""

SEED = 1
LOOK_EVERY = 10
"""Steps between drawings: they take most of the time."""


def measure(making: Making, success: SuccessRule, check_steps: int) -> Facts:
    """Makes the environment of a task here; UserError where it cannot be used."""
    simulator = TaskSimulator(making, success, instances=1)
    try:
        simulator.reset(SEED)
        for camera in making.cameras:
            simulator.image(camera)
        simulator.step((simulator.low + simulator.high) / 2)
        if check_steps:
            _check_restarts(simulator, TaskSimulator(making, success, instances=1), check_steps)
        return Facts(
            state_names=simulator.state_names,
            action_low=tuple(simulator.low.tolist()),
            action_high=tuple(simulator.high.tolist()),
            max_steps=registered_limit(making),
            control_hz=float(simulator.env.metadata.get("render_fps") or USUAL_HZ),
        )
    finally:
        simulator.close()


def _check_restarts(used: TaskSimulator, fresh: TaskSimulator, steps: int) -> None:
    """Raises UserError unless one seed and the same actions always lead to the same."""
    making = used.making
    alone = list(_play(fresh, steps, look=False))
    again = list(_play(fresh, steps, look=False))
    list(_play(used, steps, look=True, seed=SEED + 1))
    after_another = list(_play(used, steps, look=False))
    if difference := _difference(alone, again) or _difference(alone, after_another):
        if making.restart == "make" or _differs_when_new(fresh, alone, steps):
            raise UserError(
                f"{making.id} is not deterministic: after the same seed and actions {difference}; "
                "episodes must start again exactly, so it cannot be used"
            )
        raise UserError(
            f"{making.id} does not start anew with reset(seed=...): {difference}; make it anew for "
            "every episode with --env.restart make"
        )
    if difference := _difference(alone, list(_play(fresh, steps, look=True))):
        raise UserError(
            f"drawing {making.id} changes it: {difference}; draw after every step with "
            "--env.draw step"
        )
    fresh.close()


def _differs_when_new(simulator: TaskSimulator, alone: list[tuple], steps: int) -> bool:
    """Whether an environment that nobody used plays differently from another such one."""
    newer = TaskSimulator(simulator.making, simulator.success, instances=1)
    played = list(_play(newer, steps, look=False))
    newer.close()
    return bool(_difference(alone, played))


def _play(
    simulator: TaskSimulator, steps: int, *, look: bool, seed: int = SEED
) -> Iterator[tuple[Any, ...]]:
    """What each step of an episode of random actions led to, and what is seen at its end."""
    rng = np.random.default_rng(seed)
    cameras = simulator.making.cameras
    simulator.reset(seed)
    yield (_parts(simulator),)
    for step in range(steps):
        if look and step % LOOK_EVERY == 0:
            for camera in cameras:
                simulator.image(camera)
        outcome = simulator.step(rng.uniform(simulator.low, simulator.high))
        yield _parts(simulator), outcome
        if outcome.success or outcome.terminated or outcome.truncated:
            break
    yield ({camera: simulator.image(camera) for camera in cameras},)


def _parts(simulator: TaskSimulator) -> dict[str, Any]:
    seen = simulator.observation
    return {name: part_of(seen, name).copy() for name in leaves(simulator.env.observation_space)}


def _difference(wanted: list[tuple], got: list[tuple]) -> str:
    """The first thing that two episodes differ in, in words; empty if they are the same."""
    for step, (a, b) in enumerate(zip(wanted, got, strict=False)):
        last = step == min(len(wanted), len(got)) - 1
        for name in a[0]:
            if name not in b[0] or not np.array_equal(a[0][name], b[0][name]):
                what = f"the image {name!r}" if last else f"{name!r}"
                return f"{what} differs after {step - last} steps"
        if a[1:] != b[1:]:
            return f"reward, success or end differ after {step} steps"
    return "" if len(wanted) == len(got) else "one episode is shorter"


def main() -> None:
    """Reads what to make from stdin, writes facts or a message to the file that is named."""
    making, success, check_steps = pickle.load(sys.stdin.buffer)
    try:
        answer: Facts | str = measure(making, success, check_steps)
    except UserError as error:
        answer = str(error)
    except Exception as error:
        answer = f"cannot use {making.id}: {type(error).__name__}: {' '.join(str(error).split())}"
    Path(sys.argv[1]).write_bytes(pickle.dumps(answer))


if __name__ == "__main__":
    main()
