"""gymnasium's environments behind our protocol: spaces, ends, seeds, and what is refused."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from pushcut.demos.collect import check_experts
from pushcut.envs.gymnasium.env import GymnasiumConfig
from pushcut.envs.gymnasium.success import SuccessRule
from pushcut.errors import UserError
from pushcut.runs.config_json import from_json, to_json
from pushcut.types import InitState

MODULE = "tests.envs.gymnasium.home_made"
LINE = GymnasiumConfig(
    id="pushcut/Line-v0",
    module=MODULE,
    success="home.reached",
    cameras=(),
    check_steps=10,
    instances=2,
)
START = InitState("Line-v0", 1)


def with_kwargs(config: GymnasiumConfig, **kwargs: object) -> GymnasiumConfig:
    return replace(config, kwargs=tuple((name, json.dumps(x)) for name, x in kwargs.items()))


def chunk(*actions: float) -> np.ndarray:
    return np.array(actions, np.float32)[:, None]


def test_what_the_environment_is_is_known_without_making_it_here():
    spec = LINE.spec
    assert spec.tasks == {"Line-v0": "solve the task"}
    assert spec.state_names == ("observation_0", "observation_1")
    assert (spec.action_size, spec.action_low, spec.action_high) == (1, (-1.0,), (1.0,))
    assert (spec.max_steps, spec.control_hz, spec.cameras) == (40, 10.0, {})


def test_what_was_found_out_travels_with_the_config_and_is_no_setting():
    asked = replace(LINE)
    assert asked.spec.max_steps == 40
    copy = pickle.loads(pickle.dumps(asked))
    assert copy.__dict__["facts"] == asked.facts
    assert copy == LINE
    assert hash(copy) == hash(LINE)
    assert from_json(GymnasiumConfig, json.loads(json.dumps(to_json(asked)))) == LINE
    assert "facts" not in to_json(asked)


def test_actions_are_fractions_of_the_bounds():
    env = LINE.build()
    env.reset(START)
    start = float(env.observe().state[0, 0])
    # -1, 0, 1 are -2, 1 and 4 of the environment's own; a step is a tenth of that.
    env.step_chunk(chunk(-1, 0, 0.0, 3.0))
    moved = float(env.observe().state[0, 0]) - start
    assert moved == pytest.approx(0.1 * (-2 + 1 + 1 + 4), abs=1e-6)


def test_native_actions_are_clipped_to_the_bounds_and_flipped_ones_mirrored():
    native = replace(LINE, action_unit="native")
    assert (native.spec.action_low, native.spec.action_high) == ((-2.0,), (4.0,))
    flipped = replace(native, flip_actions=(0,))
    for config, moves in ((native, 0.1 * (3 - 2)), (flipped, 0.1 * (-1 + 4))):
        env = config.build()
        env.reset(START)
        start = float(env.observe().state[0, 0])
        env.step_chunk(chunk(3, -9))
        assert float(env.observe().state[0, 0]) - start == pytest.approx(moves, abs=1e-6)


def test_success_is_rewarded_once_and_ends_a_held_action():
    env = replace(LINE, action_repeat=3).build()
    env.reset(START)
    # 0.4 a step from within [-0.5, 0.5]: two to four steps to 1.
    result = env.step_chunk(chunk(1, 1, 1, 1))
    assert (result.success, result.terminated, result.truncated) == (True, True, False)
    assert 2 <= result.sim_steps <= 4
    assert result.reward.sum() == 1
    assert result.reward[result.steps - 1] == 1
    with pytest.raises(RuntimeError, match="over"):
        env.step_chunk(chunk(0))


def test_an_end_without_success_is_a_failure():
    env = LINE.build()
    env.reset(START)
    result = env.step_chunk(np.full((40, 1), -1, np.float32))
    assert (result.success, result.terminated, result.truncated) == (False, True, False)
    assert not result.reward.any()


def test_the_time_limit_is_that_of_the_registration_of_the_config_or_of_the_environment():
    stay = np.full((100, 1), -1 / 3, np.float32)  # 0 of the environment's own, nearly
    for config, steps in (
        (LINE, 40),
        (replace(LINE, max_steps=7, action_repeat=2), 4),
        (replace(LINE, max_steps=200), 90),
    ):
        env = config.build()
        env.reset(START)
        result = env.step_chunk(stay)
        assert (result.steps, result.truncated, result.terminated) == (steps, True, False)
    with pytest.raises(UserError, match="without a time limit: --env.max-steps"):
        _ = replace(LINE, id="pushcut/Endless-v0").spec


def test_rewards_can_be_the_environments_own():
    env = replace(LINE, reward="env", action_repeat=2).build()
    env.reset(START)
    x = float(env.observe().state[0, 0])
    result = env.step_chunk(chunk(0, 0))  # 0.1 to the right in each of four steps
    wanted = [-(1 - x - 0.1) - (1 - x - 0.2), -(1 - x - 0.3) - (1 - x - 0.4)]
    np.testing.assert_allclose(result.reward, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("rule", "solved"),
    [
        ("home.reached", True),
        ("left <= 0", True),
        ("left < -9", False),
        ("late?", True),
        ("reward >= -0.0001", False),
        ("return > -100", True),
        ("terminated", False),
    ],
)
def test_rules_of_success(rule, solved):
    parsed = SuccessRule.parse(rule)
    info = {"home": {"reached": np.True_}, "left": np.array([-0.2]), "late": 1}
    assert parsed.holds(info, reward=-0.2, total=-3.0, terminated=False) is solved


def test_a_rule_that_finds_nothing_says_what_there_is():
    with pytest.raises(UserError, match=r"has only \['home', 'left'\].*'is_success\?'"):
        _ = replace(LINE, success="is_success").spec
    assert replace(LINE, success="late?").spec.action_size == 1
    with pytest.raises(ValueError, match="NAME >= NUMBER"):
        replace(LINE, success="left => 0")


def test_images_and_numbers_come_from_where_the_config_says():
    both = with_kwargs(LINE, observation="both")
    env = replace(both, cameras=("pixels.top", "render"), image_size=24, state=("where_1",)).build()
    assert env.spec.cameras == {"pixels_top": (24, 24), "render": (24, 24)}
    assert env.spec.state_names == ("where_1",)
    env.reset(START)
    env.step_chunk(chunk(0, 0))
    seen = env.observe()
    assert seen.state.tolist() == [[2.0]]
    np.testing.assert_array_equal(seen.images["pixels_top"], seen.images["render"])
    assert seen.images["render"].shape == (1, 24, 24, 3)
    assert env.render(48).shape == (48, 48, 3)


def test_an_image_as_observation_leaves_the_state_empty():
    config = replace(with_kwargs(LINE, observation="picture"), cameras=("observation",))
    env = config.build()
    env.reset(START)
    seen = env.observe()
    assert seen.state.shape == (1, 0)
    assert seen.images["observation"].shape == (1, 64, 64, 3)
    assert seen.images["observation"].any()


def test_several_tasks_have_arguments_and_instructions_of_their_own():
    config = replace(
        LINE,
        variants=(
            ("near", "go near", '{"high": 2}'),
            ("far", "go far", '{"id": "pushcut/Endless-v0"}'),
        ),
    )
    assert config.spec.tasks == {"near": "go near", "far": "go far"}
    env = config.build()
    moved = []
    for task in ("near", "far"):
        env.reset(InitState(task, 1))
        start = float(env.observe().state[0, 0])
        assert env.observe().instruction == [config.spec.tasks[task]]
        env.step_chunk(chunk(1))
        moved.append(float(env.observe().state[0, 0]) - start)
    assert moved == pytest.approx([0.2, 0.4], abs=1e-6)
    odd = replace(config, variants=(("a", "", "{}"), ("b", "", '{"observation": "both"}')))
    with pytest.raises(UserError, match="tasks of one environment are alike"):
        _ = odd.spec
    with pytest.raises(ValueError, match="must be JSON"):
        replace(LINE, variants=(("a", "", "high=2"),))


def test_seeds_of_training_fit_environments_that_take_32_bits():
    env = LINE.build()
    states = []
    for seed in (2**32 + 5, 2**32 + 6, 5):
        env.reset(InitState("Line-v0", seed))
        states.append(float(env.observe().state[0, 0]))
    assert len(set(states)) == 3


@pytest.mark.parametrize(
    ("kwargs", "more", "said"),
    [
        ({"low": -np.inf}, {}, "its actions have no bounds"),
        ({"fault": "random"}, {}, "is not deterministic"),
        ({"fault": "reset"}, {}, "--env.restart make"),
        ({"fault": "drawing"}, {"cameras": ("render",)}, "--env.draw step"),
        ({}, {"cameras": ("wrist",)}, r"no camera 'wrist'; it has \['render'\]"),
        ({}, {"state": ("hand",)}, "--env.state hand: the observation has"),
        ({"speed": 3}, {}, "unexpected keyword argument 'speed'"),
        ({}, {"id": "pushcut/Lime-v0"}, "doesn't exist"),
        ({}, {"module": "no_such_module"}, "No module named 'no_such_module'"),
        ({}, {"id": "CartPole-v1"}, r"its actions are Discrete\(2\)"),
        ({}, {"flip_actions": (1,)}, "actions are 0 to 0"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(kwargs, more, said):
    with pytest.raises(UserError, match=said) as raised:
        _ = replace(with_kwargs(LINE, **kwargs), **more).spec
    assert "\n" not in str(raised.value)


def test_what_the_refusals_name_helps():
    assert replace(with_kwargs(LINE, fault="reset"), restart="make").spec.state_size == 2
    drawn = replace(with_kwargs(LINE, fault="drawing"), cameras=("render",), draw="step")
    assert drawn.spec.state_size == 2
    assert replace(with_kwargs(LINE, fault="random"), check_steps=0).spec.state_size == 2


def test_an_expert_is_a_function_of_the_users_and_acts_in_the_environments_unit():
    env = LINE.build()
    env.reset(START)
    with pytest.raises(NotImplementedError, match="--env.expert MODULE:FUNCTION"):
        env.expert_action()
    with pytest.raises(UserError, match=r"no scripted expert \(Line-v0\); name one with --env.exp"):
        check_experts(LINE)
    env = replace(LINE, expert=f"{MODULE}:home").build()
    check_experts(replace(LINE, expert=f"{MODULE}:home"))
    env.reset(START)
    assert env.expert_action().tolist() == [1.0]
    with pytest.raises(UserError, match="no expert"):
        replace(LINE, expert=f"{MODULE}:nobody").build()
