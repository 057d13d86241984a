"""A process that keeps one of MetaWorld's tasks plays what one that keeps all plays."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.pool.pool import EnvPool
from pushcut.envs.pool.worker import give_memory_back
from pushcut.types import InitState

pytestmark = pytest.mark.sim

TASKS = ("door-close-v3", "coffee-button-v3", "handle-press-v3")
CONFIG = MetaWorldConfig(tasks=TASKS, image_size=32)
INITS = [InitState(task, 2**32 + round_) for round_ in range(2) for task in TASKS]
WAIT_S = 600.0


def trails(kept: int, *, slots: int) -> dict[InitState, list[bytes]]:
    """What each episode sees, a chunk of every episode in turn."""
    seen: dict[InitState, list[bytes]] = {init: [] for init in INITS}
    with EnvPool(CONFIG, slots=slots, workers=1, tasks_per_process=kept, timeout_s=WAIT_S) as pool:
        for first in range(0, len(INITS), slots):
            inits = INITS[first : first + slots]
            for number in range(3):
                for slot, init in enumerate(inits):
                    if number:
                        rng = np.random.default_rng((init.seed, number))
                        pool.step(slot, rng.uniform(-1, 1, (4, 4)).astype(np.float32))
                    else:
                        pool.reset(slot, init)
                for slot, init in enumerate(inits):
                    while not pool._slots[slot].observed:
                        pool.wait(WAIT_S)
                    view = pool.observation([slot])
                    seen[init].append(view.images["corner2"].tobytes() + view.state.tobytes())
        assert pool.restarts == 0
    return seen


def test_episodes_do_not_depend_on_how_many_tasks_a_process_keeps():
    every = trails(3, slots=1)
    assert trails(1, slots=1) == every
    assert trails(1, slots=2) == every  # two tasks at a time: more than it keeps afterwards


def test_what_is_released_is_given_back_to_the_system():
    def resident_mb() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    env = MetaWorldConfig(tasks=TASKS, image_size=224, render="stock").build()
    taken = []
    for task in [*TASKS, *TASKS]:
        env.reset(InitState(task, 2**32))
        env.observe()
        env.release(task)
        give_memory_back()
        taken.append(resident_mb())
    env.close()
    # A drawn task takes 100 to 250 MB; what libraries load with the first stays.
    assert taken[-1] - taken[0] < 60
