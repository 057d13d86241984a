"""Simulator processes keep few tasks, and who keeps what changes no episode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pushcut.envs.base import EnvConfig
from pushcut.envs.init_states import train_init
from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.pool.assignment import WorkerAssignment, processes_mb
from pushcut.envs.pool.pool import EnvPool
from pushcut.envs.pool.slots import Slot
from pushcut.errors import UserError
from pushcut.presets import PRESETS
from pushcut.types import InitState, Recovery
from tests.envs.pool.keeping import THREE, FrozenConfig, HangingConfig, NotingConfig
from tests.envs.pool.play import play_all

RED, BLUE, GREEN = "reach-red", "reach-blue", "reach-green"
INITS = [InitState(task, 100 + seed) for seed in range(3) for task in (RED, BLUE, GREEN, BLUE)]


def assign(
    processes: int, *, kept: int = 0, env: EnvConfig = THREE
) -> tuple[WorkerAssignment, Callable[..., Any]]:
    """An assignment, and what it answers where some episodes are under way."""
    assignment = WorkerAssignment(
        env, processes=processes, slots=4, final_observation=False, tasks_per_process=kept
    )

    def worker(task: str, *under_way: tuple[str, int]) -> int:
        slots = [Slot(InitState(other, 0), index) for other, index in under_way]
        return assignment.worker_for(task, 0, slots)

    return assignment, worker


def test_an_episode_goes_to_a_process_that_has_its_task():
    _, worker = assign(3)
    assert [worker(RED), worker(BLUE), worker(RED), worker(BLUE)] == [0, 0, 0, 0]
    _, worker = assign(3)
    assert worker(RED) == 0
    assert worker(BLUE, (RED, 0)) == 1  # an idle one
    assert worker(GREEN, (RED, 0), (BLUE, 1)) == 2
    assert [worker(GREEN), worker(BLUE), worker(RED)] == [2, 1, 0]


def test_one_that_has_room_is_taken_before_one_waits():
    _, worker = assign(2, kept=2)
    assert worker(RED) == 0
    assert worker(RED, (RED, 0)) == 1


def test_a_process_that_must_free_a_task_is_taken_where_the_others_have_two_episodes_more():
    _, worker = assign(2, kept=1)
    assert [worker(RED), worker(BLUE, (RED, 0))] == [0, 1]
    assert worker(RED, (RED, 0)) == 0
    assert worker(RED, (RED, 0), (RED, 0)) == 1


def test_what_is_played_is_not_freed():
    assignment, worker = assign(1, kept=1)
    red, blue = (Slot(InitState(task, 0), 0) for task in (RED, BLUE))
    assert worker(RED) == 0
    assert worker(BLUE, (RED, 0)) == 0
    assert assignment.surplus(0, [red, blue]) == []
    red.playing = False
    assert assignment.surplus(0, [red, blue]) == [RED]
    assert assignment.surplus(0, [red, blue]) == []


def test_a_process_that_was_replaced_has_no_task():
    assignment, worker = assign(2, kept=1)
    assert [worker(RED), worker(BLUE, (RED, 0))] == [0, 1]
    assignment.forget(1)
    assert worker(GREEN) == 1


def test_heavy_simulators_are_kept_by_twos():
    assert LiberoConfig().tasks_kept == 2
    assert MetaWorldConfig(render="stock").tasks_kept == 2
    assert MetaWorldConfig().tasks_kept == 4  # the quickstart's tasks
    assert PointMassConfig().tasks_kept is None
    for name in ("metaworld-pi0-flow-sde", "libero-long-pi0-flow-sde", "libero-long-openvla-oft"):
        assert PRESETS[name].train.env.tasks_kept == 2


def test_the_memory_of_processes_counts_the_tasks_that_they_keep():
    stock = PRESETS["metaworld-pi0-flow-sde"].train.env
    assert processes_mb(stock, processes=64) == 64 * (235 + 2 * 166)
    assert processes_mb(stock, processes=8, tasks=1) == 8 * (235 + 166)
    assert processes_mb(stock, processes=1, tasks_per_process=100) == 235 + 50 * 166
    assert processes_mb(MetaWorldConfig(), processes=2) == 2 * (235 + 4 * 90)
    long = PRESETS["libero-long-openvla-oft"].train.env
    assert processes_mb(long, processes=64) == 64 * (410 + 2 * 1050)
    assert processes_mb(THREE, processes=2) is None


@pytest.mark.parametrize(
    ("preset", "tasks", "most"),
    [
        ("metaworld-pi0-flow-sde", 50, 2),
        ("libero-long-pi0-flow-sde", 10, 2),
        ("libero-long-openvla-oft", 10, 2),
    ],
)
def test_each_of_64_processes_keeps_two_tasks_of_a_whole_suite(preset, tasks, most):
    train = PRESETS[preset].train
    names = list(train.env.spec.tasks)
    assert len(names) == tasks
    assignment = WorkerAssignment(train.env, processes=64, slots=64, final_observation=True)
    rng = np.random.default_rng(0)
    slots: dict[int, Slot] = {}
    kept = [set() for _ in range(64)]
    made = 0
    for group in range(300):
        slot = group if group < 64 else int(rng.integers(64))
        slots.pop(slot, None)
        init = train_init(names, seed=0, iteration=0, group=group)
        worker = assignment.worker_for(init.task, slot, slots.values())
        slots[slot] = Slot(init, worker)
        made += init.task not in kept[worker]
        kept[worker].add(init.task)
        kept[worker] -= set(assignment.surplus(worker, slots.values()))
        assert max(map(len, kept)) <= most
    assert made <= 2 * 64 + 30


def test_episodes_are_the_same_however_few_tasks_a_process_keeps(tmp_path):
    trails = []
    for name, slots, workers, kept in (("a", 1, 1, 0), ("b", 1, 1, 1), ("c", 4, 2, 1)):
        config = NotingConfig(str(tmp_path / name))
        with EnvPool(config, slots=slots, workers=workers, tasks_per_process=kept) as pool:
            trails.append(play_all(pool, INITS))
            assert pool.restarts == 0
    assert trails[0] == trails[1] == trails[2]
    lines = (tmp_path / "a").read_text().splitlines()
    assert lines[:3] == [f"made {task}" for task in (RED, BLUE, GREEN)]
    assert lines[3:] == [f"freed {RED} 2", f"freed {BLUE} 1", f"freed {GREEN} 0"]  # at the end
    # One slot, one task: each other task's episode frees the one before.
    lines = (tmp_path / "b").read_text().splitlines()
    assert lines[:6] == [
        f"made {RED}", f"freed {RED} 0", f"made {BLUE}", f"freed {BLUE} 0", f"made {GREEN}",
        f"freed {GREEN} 0",
    ]  # fmt: skip
    assert len([line for line in lines if line.startswith("made")]) == len(INITS)


def test_an_environment_that_frees_nothing_refuses_the_option():
    config = FrozenConfig()
    with (
        pytest.raises(UserError, match="it has no `release`.*tasks-per-process at 0"),
        EnvPool(config, slots=1, workers=1, tasks_per_process=1) as pool,
    ):
        play_all(pool, INITS)


def test_a_process_that_hangs_while_it_frees_is_replaced():
    noted: list[Recovery] = []
    config = HangingConfig()
    with EnvPool(
        config, slots=1, workers=1, tasks_per_process=1, timeout_s=3.0, on_recovery=noted.append
    ) as pool:
        got = play_all(pool, INITS[:2])
    with EnvPool(THREE, slots=1, workers=1) as pool:
        assert got == play_all(pool, INITS[:2])
    assert [(recovery.kind, recovery.worker) for recovery in noted] == [("hung", 0)]
