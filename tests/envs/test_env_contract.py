"""What every environment promises, checked on each member of the list below."""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from pushcut.envs.base import Env, EnvConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.pool.expert import run_expert
from pushcut.errors import UserError
from pushcut.types import ChunkResult, InitState, Observation
from tests.envs.isolated.simulators import (
    NEEDS_MANISKILL,
    RemoteConfig,
    RemoteManiSkillConfig,
    require_vulkan,
)
from tests.envs.libero.tasks import NEEDS_LIBERO
from tests.envs.mixed.members import MIX

MANISKILL = [pytest.mark.sim, pytest.mark.slow, NEEDS_MANISKILL]


def point_mass() -> EnvConfig:
    return PointMassConfig()


def metaworld() -> EnvConfig:
    from pushcut.envs.metaworld.env import MetaWorldConfig

    return MetaWorldConfig()


def libero() -> EnvConfig:
    from pushcut.envs.libero.env import LiberoConfig

    return LiberoConfig(tasks=("libero_object/0",), image_size=64, texture_size=128)


def maniskill() -> EnvConfig:
    from pushcut.envs.maniskill.env import ManiSkillConfig

    return RemoteConfig(ManiSkillConfig(tasks=("PickCube-v1", "StackCube-v1")))


def maniskill_images() -> EnvConfig:
    from pushcut.envs.maniskill.env import ManiSkillConfig

    return RemoteConfig(ManiSkillConfig(cameras=("base_camera",)))


def reacher() -> EnvConfig:
    from pushcut.envs.gymnasium.env import GymnasiumConfig

    return GymnasiumConfig(
        id="Reacher-v5", success="reward_dist >= -0.02", expert="tests.envs.gymnasium.experts:reach"
    )


def lunar_lander() -> EnvConfig:
    """Solved by a good beginning: nobody who is idle gets a return of 40."""
    from pushcut.envs.gymnasium.env import GymnasiumConfig

    return GymnasiumConfig(
        id="LunarLanderContinuous-v3",
        success="return >= 40",
        max_steps=50,
        draw="step",
        expert="gymnasium.envs.box2d.lunar_lander:heuristic",
    )


def mixed() -> EnvConfig:
    return MIX


def mixed_metaworld() -> EnvConfig:
    from pushcut.envs.metaworld.env import MetaWorldConfig
    from pushcut.envs.mixed.config import Member, MixedConfig

    metaworld = MetaWorldConfig(tasks=("door-close-v3",), image_size=32)
    return MixedConfig(
        (
            Member("metaworld", metaworld, cameras=(("corner2", "top"),)),
            Member("point", PointMassConfig()),
        )
    )


def mixed_maniskill() -> EnvConfig:
    from pushcut.envs.metaworld.env import MetaWorldConfig
    from pushcut.envs.mixed.config import Member, MixedConfig

    metaworld = MetaWorldConfig(tasks=("door-close-v3",), cameras=(), action_repeat=3)
    return MixedConfig(
        (Member("maniskill", RemoteManiSkillConfig()), Member("metaworld", metaworld))
    )


@dataclass
class Case:
    """An environment under test and two of its episodes."""

    config: EnvConfig
    env: Env
    a: InitState
    b: InitState

    def chunks(self, seed: int, count: int = 6, length: int = 5) -> np.ndarray:
        rng = np.random.default_rng(seed)
        low, high = self.env.spec.action_low, self.env.spec.action_high
        shape = (count, length, self.env.spec.action_size)
        return rng.uniform(low, high, shape).astype(np.float32)


@pytest.fixture(
    scope="module",
    params=[
        point_mass,
        pytest.param(metaworld, marks=pytest.mark.sim),
        pytest.param(libero, marks=[pytest.mark.sim, NEEDS_LIBERO]),
        pytest.param(maniskill, marks=MANISKILL),
        pytest.param(maniskill_images, marks=MANISKILL),
        pytest.param(reacher, marks=pytest.mark.sim),
        pytest.param(lunar_lander, marks=pytest.mark.sim),
        mixed,
        pytest.param(mixed_metaworld, marks=pytest.mark.sim),
        pytest.param(mixed_maniskill, marks=MANISKILL),
    ],
    ids=lambda make: make.__name__,
)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param is libero:
        request.getfixturevalue("kept_models")
    if request.param is maniskill_images:
        require_vulkan()
    config = request.param()
    tasks = list(config.spec.tasks)
    env = config.build()
    yield Case(config, env, InitState(tasks[0], 1), InitState(tasks[-1], 2))
    env.close()


def play(env: Env, chunks: np.ndarray) -> list[tuple[ChunkResult, Observation]]:
    """Results and observations until the chunks are used up or the episode is over."""
    trail = []
    for chunk in chunks:
        result = env.step_chunk(chunk)
        trail.append((result, env.observe()))
        if result.done:
            break
    return trail


def assert_same_observation(got: Observation, wanted: Observation) -> None:
    np.testing.assert_array_equal(got.state, wanted.state)
    assert got.instruction == wanted.instruction
    assert set(got.images) == set(wanted.images)
    for name, image in wanted.images.items():
        np.testing.assert_array_equal(got.images[name], image)


def assert_same_trail(
    got: list[tuple[ChunkResult, Observation]], wanted: list[tuple[ChunkResult, Observation]]
) -> None:
    assert len(got) == len(wanted)
    for (got_result, got_view), (result, view) in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(got_result.reward, result.reward)
        assert facts(got_result) == facts(result)
        assert_same_observation(got_view, view)


def facts(result: ChunkResult) -> tuple:
    return (
        result.steps,
        result.sim_steps,
        result.success,
        result.terminated,
        result.truncated,
    )


def test_spec_is_known_before_building_and_the_config_travels(case: Case):
    copy = pickle.loads(pickle.dumps(case.config))
    assert copy == case.config
    assert copy.spec == case.env.spec
    assert isinstance(case.env, Env)


def test_observation_has_the_shapes_that_the_spec_says(case: Case):
    spec = case.env.spec
    case.env.reset(case.a)
    observation = case.env.observe()
    assert len(observation) == 1
    assert observation.instruction == [spec.tasks[case.a.task]]
    assert observation.state.shape == (1, spec.state_size)
    assert observation.state.dtype == np.float32
    assert len(spec.state_names) == spec.state_size
    assert len(spec.action_names) == spec.action_size
    assert len(spec.action_low) == len(spec.action_high) == spec.action_size
    assert list(observation.images) == list(spec.cameras)
    for name, (height, width) in spec.cameras.items():
        assert observation.images[name].shape == (1, height, width, 3)
        assert observation.images[name].dtype == np.uint8
        assert observation.images[name].std() > 1  # something is in the image


def test_unknown_task_is_an_error_that_lists_what_exists(case: Case):
    with pytest.raises(KeyError, match=case.a.task):
        case.env.reset(InitState("no-such-task", 0))


def test_an_initial_state_is_the_same_in_a_used_and_in_a_fresh_environment(case: Case):
    chunks = case.chunks(0, count=3)
    case.env.reset(case.a)
    start = case.env.observe()
    trail = play(case.env, chunks)
    case.env.reset(case.b)
    play(case.env, case.chunks(1))
    case.env.reset(case.a)
    assert_same_observation(case.env.observe(), start)
    assert_same_trail(play(case.env, chunks), trail)
    fresh = case.config.build()
    try:
        fresh.reset(case.a)
        assert_same_observation(fresh.observe(), start)
        assert_same_trail(play(fresh, chunks), trail)
    finally:
        fresh.close()


def test_different_seeds_look_different(case: Case):
    case.env.reset(case.a)
    first = case.env.observe()
    case.env.reset(InitState(case.a.task, case.a.seed + 1))
    second = case.env.observe()
    for camera in first.images:
        assert (second.images[camera] != first.images[camera]).any()
    if not first.images:
        assert (second.state != first.state).any()


def test_episodes_that_take_turns_are_those_played_alone(case: Case):
    plays = {init: case.chunks(i) for i, init in enumerate((case.a, case.b))}
    alone = {}
    for init, chunks in plays.items():
        case.env.reset(init)
        alone[init] = play(case.env, chunks)
    parked = {}
    for init in plays:
        case.env.reset(init)
        parked[init] = case.env.snapshot()
    turns = {init: [] for init in plays}
    for turn in range(6):
        for init, chunks in plays.items():
            if turn < len(alone[init]):
                case.env.restore(parked[init])
                turns[init] += play(case.env, chunks[turn : turn + 1])
                parked[init] = case.env.snapshot()
    for init in plays:
        assert_same_trail(turns[init], alone[init])


def test_a_snapshot_can_be_restored_many_times_and_in_another_environment(case: Case):
    chunks = case.chunks(2, count=2)
    case.env.reset(case.a)
    case.env.step_chunk(case.chunks(3)[0])
    here = case.env.observe()
    snapshot = case.env.snapshot()
    trail = play(case.env, chunks)
    for _ in range(2):
        case.env.restore(snapshot)
        assert_same_observation(case.env.observe(), here)
        assert_same_trail(play(case.env, chunks), trail)
    other = case.config.build()
    try:
        other.reset(case.b)
        other.restore(snapshot)
        assert_same_observation(other.observe(), here)
        assert_same_trail(play(other, chunks), trail)
    finally:
        other.close()


def test_a_chunk_is_its_steps_one_by_one_whoever_looks_in_between(case: Case):
    actions = case.chunks(4, count=1, length=8)[0]
    case.env.reset(case.a)
    whole = case.env.step_chunk(actions)
    after = case.env.observe()
    case.env.reset(case.a)
    singles = []
    for action in actions[: whole.steps]:
        singles.append(case.env.step_chunk(action[None]))
        case.env.observe()
        if case.env.spec.cameras:
            case.env.render(32)
    assert_same_observation(case.env.observe(), after)
    assert whole.steps == sum(result.steps for result in singles)
    assert whole.sim_steps == sum(result.sim_steps for result in singles)
    np.testing.assert_array_equal(
        whole.reward[: whole.steps], np.concatenate([result.reward for result in singles])
    )


def test_the_time_limit_truncates_and_does_not_terminate(case: Case):
    spec = case.env.spec
    case.env.reset(case.a)
    idle = np.zeros((spec.max_steps + 3, spec.action_size), np.float32)
    result = case.env.step_chunk(idle)
    assert result.steps == spec.max_steps
    assert result.sim_steps == spec.max_steps * spec.sim_steps_per_control
    assert result.truncated
    assert not result.terminated
    assert not result.success
    assert result.reward.shape == (spec.max_steps + 3,)
    assert not result.reward[spec.max_steps :].any()


def test_the_tasks_with_an_expert_are_those_that_the_config_names(case: Case):
    assert set(case.config.expert_tasks) <= set(case.env.spec.tasks)
    for task in {case.a.task, case.b.task}:
        case.env.reset(InitState(task, 1))
        if task in case.config.expert_tasks:
            assert case.env.expert_action().shape == (case.env.spec.action_size,)
            continue
        with pytest.raises(NotImplementedError):
            case.env.expert_action()


def test_success_ends_the_chunk_and_terminates(case: Case):
    rng = np.random.default_rng(0)
    inits = (InitState(case.a.task, seed) for seed in range(10))
    demonstrations = (run_expert(case.env, init, noise=0.0, rng=rng) for init in inits)
    solved = next(one for one in demonstrations if one.success)
    spare = np.zeros((4, case.env.spec.action_size), np.float32)
    case.env.reset(solved.init)
    result = case.env.step_chunk(np.concatenate([solved.action, spare]))
    assert result.steps == len(solved.action)
    assert result.success
    assert result.terminated
    assert not result.truncated
    assert not result.reward[result.steps :].any()


def test_render_makes_a_image_of_the_asked_size(case: Case):
    case.env.reset(case.a)
    if not case.env.spec.cameras:
        with pytest.raises(UserError, match="no images without cameras"):
            case.env.render(96)
        return
    picture = case.env.render(96)
    assert picture.shape == (96, 96, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 1
