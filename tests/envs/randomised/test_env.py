"""Disturbed episodes: what arrives late, what lies behind, what is said, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from pushcut.envs.gymnasium.env import GymnasiumConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.mixed.config import Member, MixedConfig
from pushcut.envs.mixed.variants import VariantsConfig, VariantsEnv
from pushcut.envs.point_mass import PointMassConfig, PointMassEnv
from pushcut.envs.pool.pool import EnvPool
from pushcut.envs.randomised.config import AXES, OFF, Randomisation
from pushcut.errors import UserError
from pushcut.types import InitState
from tests.envs.pool.play import play_all
from tests.envs.randomised.members import ALL, DISTURBED

RED = InitState("reach-red", 5)
RIGHT = np.array([[0.1, 0.0]], np.float32)


def disturbed(**axes):
    return PointMassConfig(randomisation=Randomisation("exactly", **axes)).build()


def x_of(env) -> float:
    return float(env.observe().state[0, 0])


def plain_start() -> float:
    env = PointMassConfig().build()
    env.reset(RED)
    return x_of(env)


def test_an_environment_that_is_not_randomised_is_the_plain_one():
    assert type(PointMassConfig().build()) is PointMassEnv
    assert PointMassConfig().randomisation == OFF
    assert not OFF.axes
    assert set(ALL.axes) == {name for name, axis in AXES.items() if not axis.simulated}


@pytest.mark.parametrize("length", [1, 2, 5])
def test_actions_are_executed_some_steps_later_across_chunks_of_any_length(length):
    env = disturbed(action_latency=2)
    env.reset(RED)
    places = []
    sent = np.array([[0.1 * (step + 1), 0.0] for step in range(10)], np.float32)
    for start in range(0, 10, length):
        env.step_chunk(sent[start : start + length])
        places.append(x_of(env))
    # Two steps of standing still, then the sum of what was sent two steps ago or earlier, in
    # units of 0.1 m: after all ten steps 0.01 * (1 + 2 + … + 8).
    assert places[-1] - plain_start() == pytest.approx(0.01 * 36, abs=1e-6)
    after_first = 0.01 * sum(range(1, max(length - 2, 0) + 1))
    assert places[0] - plain_start() == pytest.approx(after_first, abs=1e-6)


def test_pending_actions_are_part_of_a_snapshot():
    env, other = disturbed(action_latency=3), disturbed(action_latency=3)
    env.reset(RED)
    env.step_chunk(np.repeat(RIGHT, 2, axis=0))
    kept = env.snapshot()
    still = np.zeros((3, 2), np.float32)
    env.step_chunk(still)
    there = x_of(env)
    assert there - plain_start() == pytest.approx(0.02, abs=1e-6)  # both arrived
    other.reset(InitState("reach-blue", 9))
    other.restore(kept)
    other.step_chunk(still)
    assert x_of(other) == there


@pytest.mark.parametrize("length", [1, 3, 4, 6])
def test_what_is_seen_lies_so_many_steps_behind_whatever_the_chunks(length):
    env, plain = disturbed(observation_delay=2), PointMassConfig().build()
    for one in (env, plain):
        one.reset(RED)
    seen = [plain.observe()]
    for _ in range(12):
        plain.step_chunk(RIGHT)
        seen.append(plain.observe())
    for step in range(length, 13, length):
        env.step_chunk(np.repeat(RIGHT, length, axis=0))
        got, wanted = env.observe(), seen[max(step - 2, 0)]
        assert np.array_equal(got.state, wanted.state)
        assert np.array_equal(got.images["top"], wanted.images["top"])


def test_a_chunk_that_success_cuts_short_is_seen_late_as_well():
    env, plain = disturbed(observation_delay=2), PointMassConfig().build()
    states = []
    plain.reset(RED)
    while True:
        states.append(plain.observe().state)
        action = plain.expert_action()
        if plain.step_chunk(action[None]).done:
            break
    env.reset(RED)
    actions = []
    while len(actions) < len(states):
        actions.append(env.expert_action())
        env.step_chunk(actions[-1][None])
    env.reset(RED)
    result = env.step_chunk(np.stack([*actions, *actions]))
    assert result.success and result.steps == len(states)
    assert np.array_equal(env.observe().state, states[len(states) - 2])


def test_gain_scales_each_number_by_its_own_factor():
    env = disturbed(gain=0.5)
    factors = set()
    for seed in range(8):
        env.reset(InitState("reach-red", seed))
        before = env.observe().state[0]
        env.step_chunk(np.full((1, 2), 0.5, np.float32))
        factors |= {round(float(each), 3) for each in (env.observe().state[0] - before) / 0.05}
    assert factors == {0.5, 1.5}


def test_noise_is_that_of_the_step_and_of_no_restore():
    env = disturbed(action_noise=0.1, state_noise=0.01, image_noise=0.1)
    env.reset(RED)
    first = env.observe()
    assert np.array_equal(env.observe().images["top"], first.images["top"])
    env.step_chunk(RIGHT)
    second = env.observe()
    assert not np.array_equal(second.images["top"], first.images["top"])
    env.reset(InitState("reach-blue", 5))
    # One seed is disturbed alike in all tasks, as it starts alike.
    assert np.array_equal(env.observe().state, first.state)
    env.reset(InitState("reach-red", 6))
    env.reset(RED)
    env.step_chunk(RIGHT)
    assert np.array_equal(env.observe().state, second.state)


def test_noise_has_the_deviation_that_was_asked_for():
    env = disturbed(state_noise=0.01)
    plain = PointMassConfig().build()
    found = []
    for seed in range(300):
        init = InitState("reach-red", seed)
        for one in (env, plain):
            one.reset(init)
        found.append(env.observe().state[0] - plain.observe().state[0])
    assert np.std(found) == pytest.approx(0.01, rel=0.1)
    assert abs(np.mean(found)) < 0.002


def test_each_axis_does_what_it_does_alone():
    one, two = disturbed(brightness=0.3), disturbed(brightness=0.3, state_noise=0.1, gain=0.2)
    for env in (one, two):
        env.reset(RED)
    assert np.array_equal(one.observe().images["top"], two.observe().images["top"])


def test_up_to_draws_how_far_and_exactly_does_not():
    config = PointMassConfig(randomisation=Randomisation(brightness=0.5))
    brightness = {}
    for extent in ("up_to", "exactly"):
        env = replace(config, randomisation=replace(config.randomisation, extent=extent)).build()
        means = []
        for seed in range(40):
            env.reset(InitState("reach-red", seed))
            means.append(env.observe().images["top"][0, 0, 0, 0] / 30)  # the background's red
        brightness[extent] = means
    # 30 * 1.5 and 30 * 0.5, and nothing else.
    assert set(brightness["exactly"]) == {1.5, 0.5}
    assert len(set(brightness["up_to"])) > 10
    assert all(0.5 <= mean <= 1.5 for mean in brightness["up_to"])


def test_a_sentence_is_replaced_for_the_whole_episode_and_the_spec_knows_it():
    env = DISTURBED.build()
    said = set()
    for seed in range(20):
        env.reset(InitState("reach-red", seed))
        said |= set(env.observe().instruction)
    own = PointMassConfig().spec.tasks
    assert said == {own["reach-red"], "go to red", "red, please"}
    assert set(DISTURBED.spec.texts("reach-red")) == said
    assert DISTURBED.spec.texts("reach-blue") == (own["reach-blue"],)
    exactly = replace(DISTURBED, randomisation=replace(ALL, extent="exactly")).build()
    exactly.reset(RED)
    assert exactly.observe().instruction[0] in ("go to red", "red, please")


def test_an_axis_that_a_simulator_does_not_have_is_refused_with_those_it_has():
    config = PointMassConfig(randomisation=Randomisation(distractors=2))
    with pytest.raises(UserError, match="cannot randomise distractors: its simulator has nothing"):
        _ = config.spec
    blind = MetaWorldConfig(cameras=(), randomisation=Randomisation(blur=0.1))
    with pytest.raises(UserError, match="cannot randomise blur.*action_latency"):
        _ = blind.spec


def test_a_mix_is_randomised_by_its_members():
    members = (Member("a", PointMassConfig()), Member("b", PointMassConfig()))
    with pytest.raises(ValueError, match=r"--env.members.a.env.randomisation"):
        MixedConfig(members, randomisation=ALL)
    mix = MixedConfig(members).randomised(ALL)
    assert [member.env.randomisation for member in mix.members] == [ALL, ALL]
    env = mix.build()
    env.reset(InitState("b/reach-red", 5))
    alone = DISTURBED.build()
    alone.reset(RED)
    assert np.array_equal(env.observe().images["top"], alone.observe().images["top"])


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"brightness": 1.0}, "brightness must be below 1"),
        ({"blur": -0.1}, "blur must be from 0 to 0.25"),
        ({"gain": float("nan")}, "gain must be from 0 to 1"),
        ({"action_latency": -1}, "action_latency must be from 0"),
    ],
)
def test_strengths_that_cannot_be_are_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        Randomisation(**axes)


def test_latency_needs_an_action_that_holds_still():
    with pytest.raises(UserError, match="cannot randomise action_latency"):
        _ = GymnasiumConfig(
            id="Pendulum-v1",
            success="return >= -100",
            randomisation=Randomisation(action_latency=1),
        ).spec


def test_results_do_not_depend_on_slots_and_processes():
    env = VariantsConfig(env=PointMassConfig(), variants=(("plain", OFF), ("all", ALL)))
    inits = [
        InitState(f"{name}/reach-red", seed) for seed in (1, 2, 3) for name in ("plain", "all")
    ]
    trails = []
    for workers, slots in ((1, 1), (2, 4)):
        with EnvPool(env, slots=slots, workers=workers) as pool:
            trails.append(play_all(pool, inits))
    assert trails[0] == trails[1]
    with EnvPool(PointMassConfig(), slots=2, workers=1) as pool:
        plain = play_all(pool, [InitState("reach-red", seed) for seed in (1, 2, 3)])
    assert trails[0][::2] == plain
    assert all(a != b for a, b in zip(trails[0][1::2], plain, strict=True))


def test_a_simulator_is_freed_when_no_variant_of_its_task_is_in_use():
    class Keeping(PointMassEnv):
        freed: tuple[str, ...] = ()

        def release(self, task: str) -> None:
            self.freed += (task,)

    config = PointMassConfig()
    variants = VariantsConfig(env=config, variants=(("plain", OFF), ("all", ALL)))
    assert replace(variants, env=MetaWorldConfig()).tasks_kept == 8  # four, in two variants
    inner = Keeping(config)
    env = VariantsEnv(variants.spec, inner, dict(variants.variants))
    for name in ("plain/reach-red", "all/reach-red", "all/reach-blue"):
        env.reset(InitState(name, 0))
    env.release("plain/reach-red")
    assert inner.freed == ()
    env.release("all/reach-red")
    assert inner.freed == ("reach-red",)
