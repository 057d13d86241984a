"""LIBERO: exact starts, snapshots and images, on one task of each suite."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from pushcut.envs.episodes import Snapshot
from pushcut.envs.libero.env import LiberoEnv
from pushcut.envs.libero.tasks import SUITE_OF
from pushcut.types import InitState
from tests.envs.libero.tasks import CONFIG, NEEDS_LIBERO, QUICK_TASKS, STOVE

pytestmark = [pytest.mark.sim, NEEDS_LIBERO, pytest.mark.usefixtures("kept_models")]

EVERY_TASK = [
    pytest.param(task, marks=() if task in QUICK_TASKS else pytest.mark.slow) for task in SUITE_OF
]


@pytest.fixture(scope="module")
def env(kept_models: None) -> Iterator[LiberoEnv]:
    """Plays any task; only those that a test asks for are made."""
    env = CONFIG.build()
    yield env
    env.close()


def random_actions(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 7)).astype(np.float32)


def reset_anew(env: LiberoEnv, init: InitState) -> Snapshot:
    """Resets without the memory of earlier resets."""
    env._starts.clear()
    env.reset(init)
    return env.snapshot()


def assert_same_snapshot(got: Snapshot, wanted: Snapshot) -> None:
    assert replace(got, state=wanted.state) == wanted
    np.testing.assert_array_equal(got.state.physics, wanted.state.physics)
    np.testing.assert_array_equal(got.state.gripper, wanted.state.gripper)
    assert got.state.clock == wanted.state.clock
    for found, expected in (
        (got.state.model, wanted.state.model),
        (got.state.controller, wanted.state.controller),
    ):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("task", EVERY_TASK)
def test_a_task_resets_exactly_steps_takes_turns_and_is_seen(env: LiberoEnv, task: str):
    inits = [InitState(task, 3), InitState(task, 1000)]  # the benchmark's and a drawn one
    starts = [reset_anew(env, init) for init in inits]
    played = []
    for start in starts:
        env.restore(start)
        env.step_chunk(random_actions(6))
        played.append(env.snapshot())
    for init, start in zip(inits, starts, strict=True):
        assert_same_snapshot(reset_anew(env, init), start)
        env.reset(init)
        assert_same_snapshot(env.snapshot(), start)
    assert (starts[0].state.physics != starts[1].state.physics).any()
    parked = list(starts)
    for turn in range(3):  # two steps each in turns
        for index in range(2):
            env.restore(parked[index])
            env.step_chunk(random_actions(6)[2 * turn : 2 * turn + 2])
            if turn == 1:
                env.observe()
            parked[index] = env.snapshot()
    for got, wanted in zip(parked, played, strict=True):
        assert_same_snapshot(got, wanted)
    view = env.observe()
    for camera in ("agentview", "wrist"):
        assert view.images[camera].shape == (1, 64, 64, 3)
        assert view.images[camera].std() > 10
    assert view.state.shape == (1, 8)
    del env._simulators[task]  # 130 of them would not fit
    env._renderers.pop(task).free()
    env._init = None


@pytest.fixture(scope="module")
def stove(kept_models: None) -> Iterator[LiberoEnv]:
    """One task that has everything, stepped by robosuite's own code."""
    env = replace(CONFIG, tasks=(STOVE,), control="stock", settle_steps=0).build()
    yield env
    env.close()


def test_the_benchmarks_own_states_are_those_of_its_files(stove: LiberoEnv):
    from pushcut.envs.libero.package import init_states_file

    states = np.load(init_states_file(STOVE))["states"]
    for seed in (0, 49):
        stove.reset(InitState(STOVE, seed))
        data = stove._simulator(STOVE).data
        np.testing.assert_array_equal([data.time, *data.qpos, *data.qvel], states[seed])


def test_a_start_depends_on_the_seed_and_on_nothing_else(stove: LiberoEnv):
    starts = []
    for seed, legacy_seed in ((50, 1), (50, 2), (51, 1)):
        np.random.seed(legacy_seed)
        before = np.random.get_state(legacy=False)["state"]["key"].copy()  # pyright: ignore
        starts.append(reset_anew(stove, InitState(STOVE, seed)).state.physics)
        after = np.random.get_state(legacy=False)["state"]["key"]  # pyright: ignore
        np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(starts[0], starts[1])
    assert (starts[0] != starts[2]).any()


def test_drawn_starts_move_the_arm_as_the_benchmarks_own_do(stove: LiberoEnv):
    """Robosuite's draws none, so that a policy that saw drawn starts alone met the others anew."""
    from pushcut.envs.libero.package import init_states_file

    simulator = stove._simulator(STOVE)

    def arms(seeds: range) -> np.ndarray:
        rows = []
        for seed in seeds:
            simulator.reset(seed, settle_steps=0)
            rows.append(simulator.data.qpos[:7].copy())
        return np.array(rows)

    drawn, stored = arms(range(50, 90)), np.load(init_states_file(STOVE))["states"][:, 1:8]
    assert arms(range(0, 5)).tolist() == stored[:5].tolist()
    # 280 numbers of one deviation: 0.02 to a standard error of 4 %, and so are the stored 350.
    assert np.sqrt(((drawn - stored.mean(0)) ** 2).mean()) == pytest.approx(0.02, rel=0.15)
    assert stored.std(0).mean() == pytest.approx(0.02, rel=0.15)
    still = replace(stove._config, joint_noise=0.0).build()
    simulator = still._simulator(STOVE)
    assert np.ptp(arms(range(50, 53)), axis=0).max() == 0
    still.close()


def test_nothing_of_the_model_changes_but_what_snapshots_hold(stove: LiberoEnv):
    import mujoco

    from pushcut.envs.libero.simulator import MODEL_FIELDS

    stove.reset(InitState(STOVE, 2))
    model = stove._simulator(STOVE).model
    names = [n for n in dir(model) if isinstance(getattr(model, n, None), np.ndarray)]
    assert set(MODEL_FIELDS) < set(names)
    before = {name: getattr(model, name).copy() for name in names}
    for seed in (0, 50, 51):
        stove.reset(InitState(STOVE, seed))
        turn_the_knob(stove)
        stove.observe()
    changed = set()
    for name in names:
        now, then = getattr(model, name), before[name]
        if now.tobytes() != then.tobytes():  # some normals are no numbers
            changed.add(name)
    assert {"body_pos", "site_rgba"} <= changed <= set(MODEL_FIELDS)
    assert mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION) > 100  # pyright: ignore


def turn_the_knob(env: LiberoEnv) -> bool:
    """Turns the stove on by hand; returns success."""
    simulator = env._simulator(STOVE)
    joint = next(j for j in simulator.env.get_object("flat_stove_1").joints)
    simulator.data.qpos[simulator.env.sim.model.get_joint_qpos_addr(joint)] = 1.0
    return env.step_chunk(np.zeros((1, 7), np.float32)).success


def test_success_and_the_burners_glow_are_the_simulators_own(stove: LiberoEnv):
    stove.reset(InitState(STOVE, 0))
    cold = stove.snapshot()
    dark = stove.observe().images["agentview"]
    assert turn_the_knob(stove)
    hot = stove.snapshot()
    assert hot.done
    assert (hot.state.model["site_rgba"] != cold.state.model["site_rgba"]).any()
    glowing = stove.observe().images["agentview"]
    with pytest.raises(RuntimeError, match="over"):
        stove.step_chunk(np.zeros((1, 7), np.float32))
    stove.restore(cold)
    np.testing.assert_array_equal(stove.observe().images["agentview"], dark)
    stove.restore(hot)
    np.testing.assert_array_equal(stove.observe().images["agentview"], glowing)


def test_stock_control_is_robosuites_own_step_bit_for_bit(stove: LiberoEnv):
    stove.reset(InitState(STOVE, 1))
    simulator = stove._simulator(STOVE)
    start = simulator.state()
    actions = random_actions(4)
    ours = [simulator.step(action) for action in actions]
    after = simulator.state()
    simulator.set_state(start)
    theirs = [simulator.env.step(action)[2] for action in actions]
    assert ours == theirs
    there = simulator.state()
    np.testing.assert_array_equal(there.physics, after.physics)
    np.testing.assert_array_equal(there.gripper, after.gripper)
    assert there.clock == after.clock == (4, pytest.approx(0.2))


def test_gripper_plus_one_opens_and_actions_move_by_centimetres(stove: LiberoEnv):
    stove.reset(InitState(STOVE, 0))
    stove.step_chunk(np.zeros((3, 7), np.float32))  # the reset's own pull fades
    start = stove.observe().state[0]
    stove.step_chunk(np.tile(np.array([0.5, 0, 0, 0, 0, 0, -1], np.float32), (8, 1)))
    closed = stove.observe().state[0]
    assert 0.03 < closed[0] - start[0] < 8 * 0.025  # 0.025 m a step, behind which it lags
    assert np.abs(closed[1:3] - start[1:3]).max() < 0.01
    assert closed[6] - closed[7] < 0.02
    stove.step_chunk(np.tile(np.array([0, 0, 0, 0, 0, 0, 1], np.float32), (8, 1)))
    opened = stove.observe().state[0]
    assert opened[6] - opened[7] > closed[6] - closed[7] + 0.02


def test_a_turn_of_the_hand_follows_the_right_hand_rule(stove: LiberoEnv):
    stove.reset(InitState(STOVE, 0))
    before = stove._simulator(STOVE).env.robots[0].controller.ee_ori_mat.copy()
    stove.step_chunk(np.tile(np.array([0, 0, 0, 0, 0, 0.5, 1], np.float32), (6, 1)))
    after = stove._simulator(STOVE).env.robots[0].controller.ee_ori_mat
    turn = after @ before.T
    assert np.arctan2(turn[1, 0], turn[0, 0]) > 0.2  # about the world's z


def test_the_state_is_robosuites_own(stove: LiberoEnv):
    import robosuite.utils.transform_utils as transforms

    stove.reset(InitState(STOVE, 2))
    stove.step_chunk(random_actions(3))
    simulator = stove._simulator(STOVE)
    state = simulator.proprioception()
    robot, data = simulator.env.robots[0], simulator.data
    quaternion = transforms.convert_quat(data.body("robot0_right_hand").xquat.copy(), to="xyzw")
    wanted = [
        *data.site_xpos[robot.eef_site_id],
        *transforms.quat2axisangle(quaternion),
        *data.qpos[robot._ref_gripper_joint_pos_indexes],
    ]
    np.testing.assert_allclose(state, np.array(wanted, np.float32), atol=1e-6)


def test_a_placement_that_never_succeeds_is_an_error(
    stove: LiberoEnv, monkeypatch: pytest.MonkeyPatch
):
    from robosuite.utils.errors import RandomizationError

    simulator, calls = stove._simulator(STOVE), []

    def fail() -> None:
        calls.append(1)
        raise RandomizationError("Cannot place all objects")

    with monkeypatch.context() as patch:
        patch.setattr(simulator.env, "_reset_internal", fail)
        with pytest.raises(RuntimeError, match=r"no placement .* from seed 77"):
            stove.reset(InitState(STOVE, 77))
    assert len(calls) == 20
    stove.reset(InitState(STOVE, 77))  # and nothing is broken afterwards


def test_only_looking_renders_and_rotated_is_upright_with_sides_swapped(
    stove: LiberoEnv, monkeypatch: pytest.MonkeyPatch
):
    from pushcut.envs.mujoco.renderer import TaskRenderer

    drawn = []
    draw = TaskRenderer.draw
    monkeypatch.setattr(
        TaskRenderer, "draw", lambda self, *view: drawn.append(view[:2]) or draw(self, *view)
    )
    stove.reset(InitState(STOVE, 0))
    stove.step_chunk(random_actions(2))
    stove.restore(stove.snapshot())
    assert drawn == []
    rotated = stove.observe().images["agentview"][0]
    assert drawn == [("agentview", 64), ("robot0_eye_in_hand", 64)]
    upright = stove.render(64)
    np.testing.assert_array_equal(rotated, upright[:, ::-1])
    for size in (200, 32):
        assert stove.render(size).shape == (size, size, 3)
    np.testing.assert_array_equal(stove.render(64), upright)


def test_leaving_out_what_no_camera_sees_changes_no_pixel(stove: LiberoEnv):
    stove.reset(InitState(STOVE, 0))
    stove.observe()
    renderer = stove._renderers[STOVE]
    view, left_out = renderer._view, 0
    assert view is not None
    for seed in (0, 1):
        stove.reset(InitState(STOVE, seed))
        stove.step_chunk(random_actions(10, seed))
        lean = stove.observe().images
        renderer._view = None
        whole = stove.observe().images
        renderer._view = view
        for camera in ("agentview", "robot0_eye_in_hand"):
            left_out += view.unseen(stove._simulator(STOVE).model.camera(camera).id).sum()
        np.testing.assert_array_equal(lean["agentview"], whole["agentview"])
        np.testing.assert_array_equal(lean["wrist"], whole["wrist"])
    assert left_out > 10
