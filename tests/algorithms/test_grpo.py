import math
from dataclasses import replace

import pytest
import torch

from pushcut.algorithms.grpo import GRPO
from pushcut.batch import Evaluation, Minibatch
from pushcut.types import InitState
from tests.algorithms.builders import rollout_of


def test_dynamic_sampling_keeps_mixed_groups_only():
    rollout = rollout_of([[1, 1], [0, 1], [0, 0], [1, 0]])
    kept = GRPO(group_size=2).select(rollout)
    assert kept.group_id.tolist() == [1, 1, 3, 3]
    assert kept.seen(torch.arange(4)).trace["bins"].tolist() == [2, 3, 6, 7]
    assert kept.episode_id.tolist() == [0, 1, 2, 3]
    assert kept.inits[0] == InitState("go", 1)


def test_without_dynamic_sampling_every_group_is_kept():
    rollout = rollout_of([[1, 1], [0, 1]])
    assert GRPO(group_size=2, dynamic_sampling=False).select(rollout).episodes == 4


def test_success_bounds_narrow_what_counts_as_mixed():
    algorithm = GRPO(group_size=16, min_success=0.1, max_success=0.9)
    # 1/16 = 0.0625 and 15/16 = 0.9375 lie outside
    assert [k for k in range(17) if algorithm.accepts(k)] == list(range(2, 15))
    assert [k for k in range(9) if GRPO().accepts(k)] == list(range(1, 8))


def test_the_summary_counts_dropped_groups_too():
    rollout = rollout_of([[1, 1], [0, 1], [0, 0]])
    assert rollout.summary()["success_rate_sampled"] == pytest.approx(3 / 6)
    assert rollout.summary()["groups_sampled"] == 3


def test_every_decision_of_an_episode_gets_the_episodes_advantage():
    rollout = rollout_of([[1, 0]])
    rollout = replace(rollout, episode_id=torch.tensor([0, 1]))
    half = 1 / math.sqrt(2)
    got = GRPO(group_size=2).advantages(rollout).advantage
    torch.testing.assert_close(got, torch.tensor([half, -half]), rtol=0, atol=1e-5)


def minibatch(advantage: list[float]) -> Minibatch:
    shape = (len(advantage), 1, 1, 1)
    weight = torch.full(shape, 1 / len(advantage))
    valid = torch.ones(shape, dtype=torch.bool)
    return Minibatch(torch.zeros(shape), valid, torch.tensor(advantage).view(shape), weight, weight)


def test_the_loss_adds_kl_and_entropy_terms_with_their_coefficients():
    algorithm = GRPO(kl_coefficient=0.5, entropy_coefficient=0.1)
    logprob, entropy = torch.zeros(2, 1, 1, 1), torch.full((2, 1, 1, 1), 3.0)
    batch = replace(minibatch([1.0, -1.0]), logprob_reference=torch.full_like(logprob, math.log(2)))
    loss, metrics = algorithm.loss(Evaluation(logprob, entropy), batch)
    # surrogate -(1 - 1)/2 = 0; KL exp(log 2) - log 2 - 1 = 0.306853; entropy 3
    assert loss.item() == pytest.approx(0.5 * 0.306853 - 0.1 * 3, abs=1e-6)
    assert metrics["kl_reference"].item() == pytest.approx(0.306853, abs=1e-6)


def test_a_kl_needs_a_reference_and_the_default_does_not():
    assert GRPO(kl_coefficient=0.1).needs_reference
    assert not GRPO().needs_reference


@pytest.mark.parametrize(
    "fields",
    [{"group_size": 1}, {"groups": 9, "max_groups": 8}, {"clip_low": 0.0}, {"max_success": 2.0}],
)
def test_nonsense_settings_are_refused(fields):
    with pytest.raises(ValueError, match="must|need"):
        GRPO(**fields)
