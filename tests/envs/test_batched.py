"""Batches of scenes: lockstep, one scene as an environment, environments as scenes."""

import numpy as np
import pytest

from pushcut.envs.batched import Lockstep, OneScene, SideBySide
from pushcut.envs.checks import CorruptedError
from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.protocol import BatchedEnv, BatchStep
from pushcut.types import InitState, Observation
from tests.envs.many_points import ManyPointsConfig

RED, BLUE = InitState("reach-red", 1), InitState("reach-blue", 2)


def chunk(seed: int, length: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-2, 2, (length, 2)).astype(np.float32)


def many(scenes: int) -> BatchedEnv:
    return ManyPointsConfig(max_steps=7).build_batch(scenes)


def side_by_side(scenes: int) -> BatchedEnv:
    return SideBySide(PointMassConfig(max_steps=7).build() for _ in range(scenes))


@pytest.mark.parametrize("make", [many, side_by_side])
def test_scenes_play_what_an_environment_plays_whoever_begins_and_ends_beside_them(make):
    env = PointMassConfig(max_steps=7).build()
    env.reset(BLUE)
    wanted = [(env.step_chunk(chunk(i)), env.observe()) for i in range(2)]
    assert wanted[-1][0].truncated
    lockstep = Lockstep(make(3))
    lockstep.start({0: RED, 2: BLUE})
    lockstep.give(0, chunk(9, length=2))
    lockstep.give(2, chunk(0))
    assert set(lockstep.play()) == {0}  # after two steps of both
    assert lockstep.play() == {}  # scene 0 has no action: nobody moves
    lockstep.start({1: RED})
    lockstep.give(0, chunk(8, length=1))
    assert lockstep.play() == {}
    lockstep.drop(1)
    assert set(lockstep.play()) == {0}
    lockstep.drop(0)
    first = lockstep.play()[2]
    seen = lockstep.env.observe([2])
    lockstep.give(2, chunk(1))
    second = lockstep.play()[2]
    for got, view, (result, right) in ((first, seen, wanted[0]), (second, None, wanted[1])):
        assert (got.steps, got.sim_steps, got.truncated) == (
            result.steps,
            result.sim_steps,
            result.truncated,
        )
        np.testing.assert_array_equal(got.reward, result.reward)
        if view is not None:
            np.testing.assert_array_equal(view.state, right.state)
            np.testing.assert_array_equal(view.images["top"], right.images["top"])
    np.testing.assert_array_equal(lockstep.env.observe([2]).state, wanted[1][1].state)
    assert lockstep.play() == {}


def test_success_ends_an_episode_in_its_step_and_the_others_go_on():
    lockstep = Lockstep(ManyPointsConfig().build_batch(2))
    lockstep.start({0: RED, 1: BLUE})
    experts = OneScene(ManyPointsConfig().build_batch(1))
    experts.reset(RED)
    actions = []
    while True:
        actions.append(experts.expert_action())
        if experts.step_chunk(actions[-1][None]).done:
            break
    length = len(actions)
    lockstep.give(0, np.stack([*actions, *actions]))
    lockstep.give(1, np.zeros((length + 1, 2), np.float32))
    result = lockstep.play()[0]
    assert (result.steps, result.success, result.truncated) == (length, True, False)
    assert result.reward.tolist() == [0.0] * (length - 1) + [1.0] + [0.0] * length
    assert lockstep.play()[1].steps == length + 1


def test_a_batch_that_reports_what_cannot_be_is_not_believed():
    class Odd:
        spec, scenes = PointMassConfig().spec, 2
        reward = np.zeros(1, np.float32)

        def reset(self, inits):
            pass

        def observe(self, scenes) -> Observation:
            raise NotImplementedError

        def step(self, actions, playing) -> BatchStep:
            nobody = np.zeros(len(self.reward), bool)
            return BatchStep(self.reward, nobody, nobody)

        def close(self):
            pass

    odd = Odd()
    lockstep = Lockstep(odd)
    lockstep.start({0: RED})
    lockstep.give(0, chunk(0))
    with pytest.raises(CorruptedError, match=r"reward of shape \[1\] for 2 scenes"):
        lockstep.play()
    odd.reward = np.array([np.nan, 0], np.float32)
    with pytest.raises(CorruptedError, match="not finite"):
        lockstep.play()
    odd.reward = np.array([0, np.nan], np.float32)  # of a scene that does not play
    assert lockstep.play()[0].steps == 4


def test_one_scene_refuses_what_an_environment_refuses():
    env = OneScene(many(1))
    with pytest.raises(RuntimeError, match="call reset first"):
        env.observe()
    with pytest.raises(KeyError, match="reach-red"):
        env.reset(InitState("no-such", 0))
    with pytest.raises(ValueError, match="seed"):
        env.reset(InitState("reach-red", -1))
    env.reset(RED)
    with pytest.raises(ValueError, match="finite"):
        env.step_chunk(np.full((1, 2), np.nan, np.float32))
    assert env.step_chunk(np.zeros((9, 2), np.float32)).truncated
    with pytest.raises(RuntimeError, match="over"):
        env.step_chunk(chunk(0))
