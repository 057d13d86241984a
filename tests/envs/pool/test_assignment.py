"""Simulator processes keep few tasks, and who keeps what changes no episode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pushcut.envs.base import EnvConfig
from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.pool.assignment import WorkerAssignment
from pushcut.envs.pool.slots import Slot
from pushcut.presets import PRESETS
from pushcut.types import InitState
from tests.envs.pool.keeping import THREE

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
