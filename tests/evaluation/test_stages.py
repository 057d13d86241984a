"""Sub-tasks in a row: shares, averages and their differences, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from pushcut.envs.pool.expert import run_expert
from pushcut.envs.pool.pool import EnvPool
from pushcut.evaluation.evaluator import Evaluator
from pushcut.evaluation.results import EvalResult, LedgerLine, load_result, merge
from pushcut.evaluation.stages import Chains, chains_of, stage_table
from pushcut.evaluation.tables import Row
from pushcut.policies.source import TokenPolicySource
from pushcut.rollout.episode_runner import EpisodeRunner
from pushcut.types import InitState
from tests.envs.staged import BOTH, SENTENCES, StagedConfig


def result(*done: int, count: int = 5) -> EvalResult:
    ledger = tuple(LedgerLine("chain", i, n == count, 9, 9, stage=n) for i, n in enumerate(done))
    return EvalResult("greedy", ledger, 1.0, stages={"chain": count})


FOUR = result(5, 2, 0, 1)


def test_lengths_are_shares_of_at_least_so_many_and_the_average_is_their_sum():
    chains = chains_of(FOUR)["chain"]
    assert [rate.value for rate in chains.lengths] == [3 / 4, 2 / 4, 1 / 4, 1 / 4, 1 / 4]
    assert chains.average == (5 + 2 + 0 + 1) / 4 == sum(rate.value for rate in chains.lengths)
    # Deviations 3, 0, -2, -1: variance 14 / 3; 1.96 * sqrt(14 / 3 / 4) = 2.117.
    assert chains.interval == pytest.approx((2 - 2.117, 2 + 2.117), abs=1e-3)


def test_differences_are_paired():
    better = chains_of(result(5, 3, 1, 1))["chain"]
    mean, (low, high) = better.difference(chains_of(FOUR)["chain"])
    # 0, 1, 1, 0: variance 1 / 3; 1.96 * sqrt(1 / 12) = 0.566.
    assert mean == 0.5
    assert (low, high) == pytest.approx((0.5 - 0.566, 0.5 + 0.566), abs=1e-3)


def test_a_table_in_the_papers_layout():
    rows = [Row("SFT", FOUR), Row("RL", result(5, 3, 1, 1))]
    lines = stage_table(rows).splitlines()
    assert lines[0] == "| sub-tasks in a row, % |  | Len-1 | Len-2 | Len-3 | Len-4 | Len-5 | Avg |"
    assert lines[2].startswith("| SFT | chain | 75.0 [30.1, 95.4] | 50.0 [15.0, 85.0] | 25.0 [")
    assert lines[2].endswith("| 2.000 [-0.117, 4.117] |")
    assert lines[4].startswith("| RL − SFT | chain |")
    assert lines[4].endswith("| +0.500 [-0.066, +1.066] |")
    plain = EvalResult("greedy", (LedgerLine("a", 0, True, 9, 9),), 1.0)
    assert stage_table([Row("other", plain)]) == ""


def test_they_are_saved_read_and_merged(tmp_path):
    content = FOUR.save(tmp_path / "a.json")
    assert content["stages"] == {"chain": 5}
    read, _ = load_result(tmp_path / "a.json")
    assert read == replace(FOUR, groups={})
    assert chains_of(merge([read]))["chain"] == chains_of(FOUR)["chain"]


def test_repeats_of_a_start_count_as_one_for_the_average():
    lines = [
        LedgerLine("chain", seed, False, 9, 9, repeat, stage=seed)
        for seed in (1, 3)
        for repeat in range(3)
    ]
    chains = Chains.of(lines, 5)
    # Two starts, 1 and 3: variance 2; 1.96 * sqrt(2 / 2) = 1.96.
    assert chains.interval == pytest.approx((2 - 1.96, 2 + 1.96), abs=1e-2)


@pytest.mark.heavy
def test_an_evaluation_counts_sub_tasks_and_hears_each(finetuned):
    env = StagedConfig().build()
    shown = run_expert(env, InitState(BOTH, 0), noise=0.0, rng=np.random.default_rng(0))
    assert shown.success
    assert list(dict.fromkeys(shown.observation.instruction)) == list(SENTENCES)
    policy = TokenPolicySource(path=finetuned).load_to_act(device="cpu")
    starts = [InitState(BOTH, seed) for seed in range(4)]
    with EnvPool(StagedConfig(), slots=2, workers=1) as pool:
        played = Evaluator(EpisodeRunner(pool, seed=0, inference_batch=2), starts).evaluate(policy)
    assert played.stages == {BOTH: 2}
    for line in played.ledger:
        assert line.stage in (0, 1, 2)
        assert line.success == (line.stage == 2)
