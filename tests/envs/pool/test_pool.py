"""The pool: results that do not depend on slots and processes."""

import numpy as np
import psutil
import pytest

from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.pool.expert import run_expert
from pushcut.envs.pool.pool import EnvPool
from pushcut.envs.pool.recording import Record
from pushcut.errors import UserError
from pushcut.types import InitState
from tests.envs.pool.faulty import FaultyConfig
from tests.envs.pool.play import BLUE, RED, chunk_of, inits_of, play_all, start, wait
from tests.envs.worded import FIRST, LATER, WordedConfig


def test_results_do_not_depend_on_workers_and_slots():
    trails = []
    for workers, slots in ((1, 1), (1, 5), (3, 4)):
        with EnvPool(PointMassConfig(), slots=slots, workers=workers) as pool:
            assert len(pool.worker_pids()) == workers
            trails.append(play_all(pool, inits_of(7)))
    assert trails[0] == trails[1] == trails[2]
    # 20 steps in chunks of 4: a first look, four more, and an end without one.
    assert [len(trail) for trail in trails[0]] == [6] * 7


def test_pool_plays_what_the_environment_plays():
    init = InitState(BLUE, 3)
    env = PointMassConfig().build()
    env.reset(init)
    with EnvPool(PointMassConfig(), slots=2, workers=1) as pool:
        start(pool, [init])
        np.testing.assert_array_equal(pool.observation([0]).state, env.observe().state)
        pool.step(0, chunk_of(init, 0))
        (reply,) = wait(pool)
        result = env.step_chunk(chunk_of(init, 0))
        assert reply.result is not None
        np.testing.assert_array_equal(reply.result.reward, result.reward)
        got, wanted = pool.observation([0]), env.observe()
        np.testing.assert_array_equal(got.images["top"], wanted.images["top"])
        np.testing.assert_array_equal(got.state, wanted.state)
        assert got.instruction == wanted.instruction


def test_members_of_a_group_start_equal_to_the_bit_whenever_they_start():
    init = InitState(RED, 7)
    with EnvPool(PointMassConfig(), slots=5, workers=2) as pool:
        start(pool, [init] * 4)
        first = pool.observation([0])
        for slot in range(4):
            pool.step(slot, chunk_of(init, slot))
        left = 4
        while left:
            left -= len(wait(pool))
        pool.reset(4, init)
        wait(pool)
        late = pool.observation([4])
        np.testing.assert_array_equal(late.images["top"], first.images["top"])
        np.testing.assert_array_equal(late.state, first.state)
        pool.step(4, chunk_of(init, 0))
        wait(pool)
        both = pool.observation([0, 4])
        np.testing.assert_array_equal(both.images["top"][0], both.images["top"][1])
        np.testing.assert_array_equal(both.state[0], both.state[1])


def test_observation_is_a_copy_in_the_order_asked_for():
    with EnvPool(PointMassConfig(), slots=3, workers=1) as pool:
        start(pool, [InitState(RED, 0), InitState(BLUE, 1), InitState(RED, 2)])
        seen = pool.observation([2, 1])
        assert seen.instruction == [
            "move the point to the red goal",
            "move the point to the blue goal",
        ]
        before = seen.state.copy()
        pool.step(2, np.ones((1, 2), np.float32))
        wait(pool)
        np.testing.assert_array_equal(seen.state, before)
        assert (pool.observation([2]).state != before[:1]).any()


def test_the_end_of_an_episode_is_observed_only_when_truncated_and_asked_for():
    still = np.zeros((5, 2), np.float32)
    for final in (False, True):
        config = PointMassConfig(max_steps=3)
        with EnvPool(config, slots=1, workers=1, final_observation=final) as pool:
            start(pool, [InitState(RED, 0)])
            first = pool.observation([0]).state
            pool.step(0, still)
            (reply,) = wait(pool)
            assert reply.result is not None
            assert reply.result.truncated
            assert reply.result.steps == 3
            if final:
                np.testing.assert_array_equal(pool.observation([0]).state, first)
            else:
                with pytest.raises(RuntimeError, match="no observation"):
                    pool.observation([0])


def test_recorded_frames_join_to_the_video_of_the_episode():
    init = InitState(RED, 2)
    env = PointMassConfig(max_steps=6).build()
    actions = run_expert(env, init, noise=0.0, rng=np.random.default_rng(0)).action
    env.reset(init)
    wanted = [env.render(48)]
    for action in actions:
        env.step_chunk(action[None])
        wanted.append(env.render(48))
    with EnvPool(PointMassConfig(max_steps=6), slots=1, workers=1) as pool:
        start(pool, [init])
        frames, rewards = [], []
        for chunk in (actions[:4], actions[4:]):
            pool.step(0, chunk, record=Record(image_size=48))
            (reply,) = wait(pool)
            assert reply.frames is not None
            assert reply.result is not None
            frames.extend(reply.frames)
            rewards.extend(reply.result.reward)
        assert reply.result.done
    np.testing.assert_array_equal(np.stack(frames), np.stack(wanted))
    assert sum(rewards) == float(reply.result.success)


def test_recording_changes_nothing():
    init = InitState(RED, 2)
    with EnvPool(PointMassConfig(), slots=2, workers=1) as pool:
        start(pool, [init, init])
        pool.step(0, chunk_of(init, 0))
        wait(pool)
        pool.step(1, chunk_of(init, 0), record=Record(image_size=16))
        (reply,) = wait(pool)
        assert reply.frames is not None
        assert reply.frames.shape == (5, 16, 16, 3)
        both = pool.observation([0, 1])
        np.testing.assert_array_equal(both.state[0], both.state[1])


def test_demonstrate_plays_the_expert_with_the_noise_of_its_seed():
    init = InitState(BLUE, 5)
    env = PointMassConfig().build()
    wanted = run_expert(env, init, noise=0.1, rng=np.random.default_rng(42))
    with EnvPool(PointMassConfig(), slots=2, workers=1) as pool:
        start(pool, [InitState(RED, 0)])
        pool.step(0, chunk_of(init, 0))
        pool.demonstrate(1, init, noise=0.1, seed=42)
        replies = wait(pool)
        while len(replies) < 2:
            replies += wait(pool)
        got = next(reply for reply in replies if reply.kind == "demonstrate").demonstration
        assert got is not None
        assert got.success
        assert got.init == init
        np.testing.assert_array_equal(got.action, wanted.action)
        np.testing.assert_array_equal(
            got.observation.images["top"], wanted.observation.images["top"]
        )
        pool.step(0, chunk_of(init, 1))  # the other slot's episode goes on
        assert wait(pool)[0].kind == "step"
        with pytest.raises(RuntimeError, match="reset it first"):
            pool.step(1, chunk_of(init, 0))


def test_replies_of_one_wait_are_ordered_by_slot_and_time_out_returns_none():
    with EnvPool(PointMassConfig(), slots=6, workers=2) as pool:
        assert pool.wait(0.0) == []
        for slot in (5, 0, 3, 1):
            pool.reset(slot, InitState(RED, slot))
        seen = []
        while len(seen) < 4:
            slots = [reply.slot for reply in wait(pool)]
            assert slots == sorted(slots)
            seen += slots
        assert sorted(seen) == [0, 1, 3, 5]
        with pytest.raises(RuntimeError, match="nothing to wait for"):
            pool.wait()


def test_wrong_use_is_an_error_at_once():
    still = np.zeros((1, 2), np.float32)
    with EnvPool(PointMassConfig(), slots=2, workers=1) as pool:
        with pytest.raises(KeyError, match="reach-red"):
            pool.reset(0, InitState("reach-mauve", 0))
        with pytest.raises(IndexError, match="have 0 to 1"):
            pool.reset(2, InitState(RED, 0))
        with pytest.raises(RuntimeError, match="reset it first"):
            pool.step(0, still)
        pool.reset(0, InitState(RED, 0))
        with pytest.raises(RuntimeError, match="wait for it first"):
            pool.step(0, still)
        with pytest.raises(RuntimeError, match="no observation"):
            pool.observation([0])
        wait(pool)
        with pytest.raises(ValueError, match="h >= 1, 2"):
            pool.step(0, np.zeros((1, 3), np.float32))
        with pytest.raises(ValueError, match="not finite"):
            pool.step(0, np.full((1, 2), np.nan, np.float32))
        with pytest.raises(ValueError, match="noise"):
            pool.demonstrate(1, InitState(RED, 0), noise=-1.0, seed=0)
    with pytest.raises(ValueError, match="workers"):
        EnvPool(PointMassConfig(), slots=1, workers=0)


def test_a_thousand_requests_at_once_do_not_block():
    # More than a socket's buffer holds: 1000 chunks of 50 x 2 float32 are 400 kB.
    slots = 1000
    with EnvPool(PointMassConfig(image_size=8), slots=slots, workers=1) as pool:
        start(pool, [InitState(RED, slot % 4) for slot in range(slots)])
        for slot in range(slots):
            pool.step(slot, np.zeros((50, 2), np.float32))
        replies = []
        while len(replies) < slots:
            replies += wait(pool)
    assert sorted(reply.slot for reply in replies) == list(range(slots))
    assert {reply.kind for reply in replies} == {"step"}


def test_workers_never_import_torch():
    import torch  # noqa: F401 - here it is

    with EnvPool(FaultyConfig(torch_in_state=True), slots=2, workers=2) as pool:
        start(pool, inits_of(2))
        np.testing.assert_array_equal(pool.observation([0, 1]).state[:, 0], [0, 0])


def test_a_worker_is_small():
    with EnvPool(PointMassConfig(), slots=2, workers=2) as pool:
        sizes = [psutil.Process(pid).memory_info().rss / 2**20 for pid in pool.worker_pids()]
        assert all(10 < megabytes < 120 for megabytes in sizes)


def test_an_instruction_that_depends_on_the_episode_comes_with_what_is_seen():
    red = [InitState(RED, seed) for seed in (4, 7)]
    with EnvPool(WordedConfig(), slots=3, workers=2) as pool:
        start(pool, [*red, InitState(BLUE, 4)])
        blue = "move the point to the blue goal"
        assert pool.observation([0, 1, 2]).instruction == [*FIRST, blue]
        pool.step(1, np.zeros((2, 2), np.float32))
        wait(pool)
        assert pool.observation([0, 1, 2]).instruction == [FIRST[0], LATER, blue]


def test_an_instruction_that_the_spec_does_not_list_is_not_believed():
    with EnvPool(WordedConfig(lies=True), slots=1, workers=1, max_failures=1) as pool:
        pool.reset(0, InitState(RED, 0))
        with pytest.raises(UserError, match="an instruction that is none of the spec's"):
            wait(pool)


def test_who_says_another_sentence_is_heard():
    told = WordedConfig(sentences=((RED, "go"),))
    assert (told.spec.tasks[RED], told.spec.wordings) == ("go", {})
