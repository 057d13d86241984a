"""Several simulators in one environment: its spec, its episodes, its processes."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.mixed.config import Member, MixedConfig, joined
from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.pool.assignment import WorkerAssignment
from pushcut.envs.pool.pool import EnvPool
from pushcut.envs.pool.slots import Slot
from pushcut.errors import UserError
from pushcut.types import InitState, Observation, Recovery
from tests.envs.isolated.simulators import NEEDS_MANISKILL
from tests.envs.libero.tasks import NEEDS_LIBERO
from tests.envs.mixed.members import FLAT, FLAT_GREEN, MIX, TALL, TALL_BLUE, TALL_RED, FaultyMember
from tests.envs.pool.faulty import FaultyConfig
from tests.envs.pool.play import start, wait

INITS = [InitState((TALL_RED, FLAT_GREEN, TALL_BLUE)[i % 3], i) for i in range(9)]
METAWORLD = MetaWorldConfig(tasks=("door-close-v3",), cameras=(), max_steps=150, action_repeat=3)


def test_tasks_are_those_of_the_members_under_their_names():
    spec = MIX.spec
    assert list(spec.tasks) == [TALL_RED, TALL_BLUE, FLAT_GREEN]
    assert spec.tasks[FLAT_GREEN] == "move the point to the green goal"
    assert spec.groups == {"tall": (TALL_RED, TALL_BLUE), "flat": (FLAT_GREEN,)}
    assert (spec.max_steps, spec.state_names) == (24, ("height", "x", "y"))
    assert [part.spec.max_steps for part in MIX.parts] == [24, 16]


def test_dimensions_of_the_same_name_are_one_and_the_gripper_stays_last():
    maniskill = ManiSkillConfig()
    spec = MixedConfig((Member("metaworld", METAWORLD), Member("maniskill", maniskill))).spec
    # MetaWorld's dx, dy, dz and gripper are four of ManiSkill's seven, not the first four.
    assert spec.action_names == ("dx", "dy", "dz", "rx", "ry", "rz", "gripper")
    assert spec.state_names == maniskill.spec.state_names
    assert spec.cameras == {}
    objects = replace(METAWORLD, state="objects")
    spec = MixedConfig((Member("metaworld", objects), Member("maniskill", maniskill))).spec
    assert spec.state_size == 29 + 9
    assert joined([("a", "grip"), ("a", "b", "grip"), ("c",)]) == ("a", "b", "grip", "c")


def test_columns_of_a_table_tell_the_members_apart():
    libero = LiberoConfig(tasks=("libero_object/0",), cameras=("agentview",), image_size=64)
    mix = MixedConfig(
        (
            Member("sawyer", replace(METAWORLD, cameras=("corner2",)), (("corner2", "front"),)),
            Member("panda", libero, (("agentview", "front"),)),
        )
    )
    assert mix.spec.cameras == {"front": (64, 64)}
    assert mix.spec.fixed_inits == libero.spec.fixed_inits == 50
    assert "sawyer/door-close-v3" in mix.spec.groups["sawyer Easy"]
    (task,) = (task for task in mix.spec.tasks if task.startswith("panda/"))
    assert task in mix.spec.groups["panda Object"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("one", TALL)], "two or more members of different names"),
        ([("one", TALL), ("one", FLAT)], "different names"),
        ([("a/b", TALL), ("one", FLAT)], "without '/'"),
        ([("one", TALL, (("front", "top"),)), ("two", FLAT)], "one has no camera 'front'.*'top'"),
        (
            [("one", TALL), ("two", replace(FLAT, image_size=16))],
            r"one has camera top \(32 x 32\), two has camera top \(16 x 16\).*same cameras",
        ),
        ([("one", TALL), ("pick", ManiSkillConfig())], "pick has no camera.*or none in all"),
    ],
)
def test_members_that_do_not_go_together_are_refused_in_one_line(members: list, message: str):
    with pytest.raises(ValueError, match=message) as error:
        MixedConfig(tuple(Member(*fields) for fields in members))
    assert "\n" not in str(error.value)


def test_an_episode_of_the_mix_is_that_of_its_member_alone():
    own = FLAT.build()
    mixed = MIX.build()
    own.reset(InitState("reach-green", 5))
    mixed.reset(InitState(FLAT_GREEN, 5))
    actions = np.random.default_rng(0).uniform(-1, 1, (16, 3)).astype(np.float32)
    seen = mixed.observe()
    np.testing.assert_array_equal(seen.state[:, 1:], own.observe().state)
    assert not seen.state[:, 0].any()  # it has no height
    got, wanted = mixed.step_chunk(actions), own.step_chunk(actions[:, 1:])
    assert (got.steps, got.success, got.truncated) == (16, wanted.success, True)
    np.testing.assert_array_equal(mixed.observe().state[:, 1:], own.observe().state)
    np.testing.assert_array_equal(mixed.observe().images["top"], own.observe().images["top"])


def test_results_do_not_depend_on_slots_and_processes():
    trails = []
    for workers, slots in ((1, 1), (2, 5)):
        with EnvPool(MIX, slots=slots, workers=workers) as pool:
            assert len(pool.worker_pids()) == 2 * workers
            trails.append(play(pool))
    assert trails[0] == trails[1]
    # 24 steps in chunks of 4 are six chunks at most, 16 are four.
    assert [len(trail) for trail in trails[0]] == [7, 5, 7] * 3


def test_an_episode_goes_where_its_simulator_is_and_there_where_least_is_to_do():
    assignment = WorkerAssignment(MIX, processes=2, slots=4, final_observation=False)
    assert [worker_spec.name for worker_spec in assignment.specs] == ["tall (TallConfig)"] * 2 + [
        "flat (PointMassConfig)"
    ] * 2
    assert assignment.worker_for(TALL_RED, 0, []) == 0
    assert assignment.worker_for(TALL_RED, 1, []) == 0  # it has the task
    assert assignment.worker_for(FLAT_GREEN, 0, []) == 2
    under_way = [Slot(INITS[0], 0), Slot(INITS[0], 1, playing=False), Slot(INITS[1], 2)]
    assert assignment.worker_for(TALL_BLUE, 2, under_way) == 1
    assert assignment.worker_for(FLAT_GREEN, 0, under_way) == 3


def test_a_slot_plays_first_one_member_and_then_the_other():
    with EnvPool(MIX, slots=1, workers=1) as pool:
        for init in (INITS[0], INITS[1], INITS[2]):
            start(pool, [init])
            pool.step(0, np.ones((2, 3), np.float32))
            wait(pool)
            # Height is what tall has and flat does not; no episode here has ended.
            assert pool.observation([0]).state[0, 0] == (2.0 if "tall" in init.task else 0.0)
            assert pool.observation([0]).instruction == [MIX.spec.tasks[init.task]]


def test_killing_the_process_of_one_member_loses_no_episode_of_the_other():
    noted: list[Recovery] = []
    with EnvPool(MIX, slots=4, workers=1, on_recovery=noted.append) as pool:
        undisturbed = play(pool)
        start(pool, INITS[:4])  # 0, 2 and 3 are tall's
        os.kill(pool.worker_pids()[0], signal.SIGKILL)
        lost = []
        while len(lost) < 3:
            lost += [reply.slot for reply in wait(pool) if reply.kind == "lost"]
        assert lost == [0, 2, 3]
        assert pool.observation([1]).instruction == [MIX.spec.tasks[FLAT_GREEN]]
        assert play(pool) == undisturbed
    assert [(r.kind, r.worker, r.episodes) for r in noted] == [("died", 0, 3)]


def test_a_member_that_cannot_start_is_named():
    broken = FaultyMember(faulty=FaultyConfig(build_fault="raise"))
    config = MixedConfig((Member("good", TALL), Member("bad", broken)))
    with pytest.raises(UserError, match=r"cannot start bad \(FaultyMember\): .*no off-screen GL"):
        EnvPool(config, slots=2, workers=1)


def test_a_member_that_is_not_installed_is_an_error_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("PUSHCUT_SIMS", str(tmp_path))
    config = MixedConfig((Member("metaworld", METAWORLD), Member("maniskill", ManiSkillConfig())))
    with pytest.raises(UserError, match="pushcut sims install maniskill"):
        EnvPool(config, slots=2, workers=1)


def test_what_a_member_cannot_have_seen_is_noticed_in_the_mix_too(tmp_path):
    fault = FaultyConfig("float image", seed=3, once=str(tmp_path / "happened"))
    faulty = FaultyMember(faulty=fault)
    config = MixedConfig((Member("tall", faulty), Member("flat", FLAT)))
    noted: list[Recovery] = []
    with EnvPool(config, slots=3, workers=1, on_recovery=noted.append) as pool:
        got = play(pool)
    sane = MixedConfig((Member("tall", PointMassConfig()), Member("flat", FLAT)))
    with EnvPool(sane, slots=3, workers=1) as pool:
        assert got == play(pool)
    assert [(r.kind, r.task, r.seed) for r in noted] == [("corrupt", TALL_RED, 3)]


def test_experts_of_all_members_demonstrate_in_the_mixs_dimensions():
    with EnvPool(MIX, slots=2, workers=1) as pool:
        for slot, init in enumerate(INITS[:2]):
            pool.demonstrate(slot, init, noise=0.0, seed=0)
        replies = wait(pool)
        while len(replies) < 2:
            replies += wait(pool)
    tall, flat = (
        next(r.demonstration for r in replies if r.slot == slot and r.demonstration)
        for slot in (0, 1)
    )
    assert tall.init == INITS[0]
    assert flat.init == INITS[1]
    assert tall.success
    assert flat.success
    assert tall.action.shape[1] == flat.action.shape[1] == 3
    assert not flat.action[:, 0].any()


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
@NEEDS_LIBERO
def test_metaworld_libero_and_maniskill_are_members_of_one_pool():
    libero = LiberoConfig(tasks=("libero_object/0",), cameras=(), texture_size=128)
    envs = {"metaworld": METAWORLD, "libero": libero, "maniskill": ManiSkillConfig()}
    mix = MixedConfig(tuple(Member(name, env) for name, env in envs.items()))
    with EnvPool(mix, slots=3, workers=1, timeout_s=1000.0) as pool:
        for slot, task in enumerate(mix.spec.tasks):
            pool.demonstrate(slot, InitState(task, 1), noise=0.0, seed=0)
        replies = pool.wait(1000.0)
        while len(replies) < 3:
            replies += pool.wait(1000.0)
        for reply in replies:
            assert reply.demonstration is not None
            assert reply.demonstration.success
            assert reply.demonstration.action.shape[1] == 7


def play(pool: EnvPool) -> list[list[tuple[bytes, bytes, int]]]:
    """One episode per initial state on all slots, noise for actions: what each saw, to the bit."""
    trails: list[list[tuple[bytes, bytes, int]]] = [[] for _ in INITS]
    queue, playing = list(range(len(INITS))), dict[int, int]()
    size = pool.spec.action_size
    while queue or playing:
        for slot in range(pool.slots):
            if queue and slot not in playing:
                playing[slot] = queue.pop(0)
                pool.reset(slot, INITS[playing[slot]])
        for reply in wait(pool):
            number = playing[reply.slot]
            if reply.kind == "lost":
                trails[number].clear()
                pool.reset(reply.slot, INITS[number])
                continue
            done = reply.result is not None and reply.result.done
            seen = Observation.blank(pool.spec, 1) if done else pool.observation([reply.slot])
            steps = reply.result.steps if reply.result else 0
            trails[number].append((seen.images["top"].tobytes(), seen.state.tobytes(), steps))
            if done:
                del playing[reply.slot]
                continue
            # No action leads far enough to solve a task.
            rng = np.random.default_rng((number, len(trails[number])))
            pool.step(reply.slot, rng.uniform(-0.2, 0.2, (4, size)).astype(np.float32))
    return trails
