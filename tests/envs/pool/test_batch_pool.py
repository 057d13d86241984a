"""A pool of batches: what comes out is what separate environments play."""

from pathlib import Path

import numpy as np
import pytest

from pushcut.envs.base import EnvConfig
from pushcut.envs.contract import PROMISES, EnvCase, promises_of
from pushcut.envs.contract.worker import a_batch_plays_the_same
from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.pool.batch_pool import BatchPool, open_pool
from pushcut.envs.pool.pool import EnvPool
from pushcut.envs.pool.recording import Record
from pushcut.envs.randomised.config import Randomisation
from pushcut.errors import UserError
from pushcut.promises import ContractError
from pushcut.types import InitState, Recovery
from tests.envs.many_points import ManyPointsConfig
from tests.envs.pool.play import BLUE, RED, Trail, chunk_of, inits_of, play_all, start, wait

MANY = ManyPointsConfig()


@pytest.fixture(scope="module")
def separate() -> list[Trail]:
    with EnvPool(PointMassConfig(), slots=3, workers=1) as pool:
        return play_all(pool, inits_of(7))


@pytest.mark.parametrize(("workers", "slots"), [(1, 1), (1, 5), (2, 5)])
def test_batches_play_what_separate_environments_play(separate, workers, slots):
    with open_pool(MANY, slots=slots, workers=workers) as pool:
        assert isinstance(pool, BatchPool)
        assert play_all(pool, inits_of(7)) == separate


def test_a_batch_waits_for_the_actions_of_all_that_play_and_says_so():
    with BatchPool(MANY, slots=3, workers=1) as pool:
        start(pool, [InitState(RED, 0), InitState(BLUE, 1), InitState(RED, 2)])
        before = pool.observation([0, 1, 2]).state
        pool.step(0, np.ones((1, 2), np.float32))
        assert not pool.wait()
        assert pool.stalled
        np.testing.assert_array_equal(pool.observation([1, 2]).state, before[1:])
        pool.step(1, np.ones((2, 2), np.float32))
        assert pool.stalled
        pool.abandon(2)  # nobody waits for it any more
        assert not pool.stalled
        assert [(reply.slot, reply.kind) for reply in wait(pool)] == [(0, "step")]
        assert pool.stalled  # slot 1 has one action left
        np.testing.assert_allclose(pool.observation([0]).state, before[:1] + 0.1, atol=1e-6)
        pool.reset(2, InitState(BLUE, 5))
        assert [reply.kind for reply in wait(pool)] == ["reset"]
        for slot in (0, 2):
            pool.step(slot, np.ones((1, 2), np.float32))
        replies = wait(pool)
        assert [reply.slot for reply in replies] == [0, 1, 2]
        np.testing.assert_allclose(pool.observation([1]).state, before[1:2] + 0.2, atol=1e-6)


def test_an_episode_that_leaves_another_comes_to_where_that_was():
    init = InitState(RED, 7)
    chunks = [chunk_of(init, number) for number in range(2)]
    with BatchPool(MANY, slots=2, workers=1) as pool:
        start(pool, [init])
        for chunk in chunks:
            pool.step(0, chunk)
            wait(pool)
        there = pool.observation([0]).state
        pool.reset(1, init, chunks)
        assert not pool.wait()  # it takes its steps with slot 0
        pool.step(0, np.zeros((20, 2), np.float32))
        assert [(reply.slot, reply.kind) for reply in wait(pool)] == [(1, "reset")]
        np.testing.assert_array_equal(pool.observation([1]).state, there)


@pytest.mark.parametrize(("fault", "kind"), [("kill", "died"), ("nan", "corrupt")])
def test_a_batch_that_is_lost_is_played_again(separate, fault, kind, tmp_path: Path):
    noted: list[Recovery] = []
    config = ManyPointsConfig(fault=fault, once=str(tmp_path / "happened"))
    with BatchPool(config, slots=3, workers=1, on_recovery=noted.append) as pool:
        assert play_all(pool, inits_of(7)) == separate
        assert pool.restarts == 1
    assert [(one.kind, one.episodes) for one in noted] == [(kind, 3)]


def test_a_batch_that_keeps_failing_is_an_error():
    config = ManyPointsConfig(fault="always")
    with (
        BatchPool(config, slots=3, workers=1) as pool,
        pytest.raises(UserError, match=r"a batch of scenes of .* failed 3 times.*not finite"),
    ):
        play_all(pool, inits_of(7))


def test_what_a_batch_cannot_do_is_said_in_one_line():
    with BatchPool(MANY, slots=1, workers=1) as pool:
        start(pool, [InitState(RED, 0)])
        with pytest.raises(UserError, match="play without a batch"):
            pool.step(0, np.zeros((1, 2), np.float32), Record(events=True))
    disturbed = ManyPointsConfig(randomisation=Randomisation(image_noise=0.1))
    with pytest.raises(UserError, match="cannot be randomised"):
        BatchPool(disturbed, slots=1, workers=1)
    with pytest.raises(UserError, match="tasks-per-process"):
        BatchPool(MANY, slots=1, workers=1, tasks_per_process=1)


def check(config: EnvConfig) -> None:
    case = EnvCase.of(config)
    try:
        a_batch_plays_the_same(case)
    finally:
        case.env.close()


def test_the_contract_of_environments_covers_batches():
    check(MANY)
    with pytest.raises(ContractError, match="whoever shares the batch; found .*state"):
        check(ManyPointsConfig(fault="leak"))
    assert [x.check for x in promises_of(MANY) if x not in PROMISES] == [a_batch_plays_the_same]
    assert promises_of(PointMassConfig()) == PROMISES
