from dataclasses import replace

import numpy as np
import pytest
import torch

from pushcut.algorithms.ppo import PPO
from pushcut.batch import Advantages
from pushcut.learning.minibatches import micro_batches, shares
from pushcut.ranks.base import SingleProcess
from tests.learning.builders import rollout_of
from tests.policies.builders import tiny


def test_decisions_are_split_evenly_and_stay_at_home_as_far_as_that_goes():
    home = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2])  # 8 over 3 ranks: 3 places each
    places, counted = shares(home, 3)
    # The first two of rank 0's surplus go where there is room: 3 to rank 1, 4 to rank 2.
    assert [part.tolist() for part in places] == [[0, 1, 2], [5, 6, 3], [7, 4, 7]]
    assert [mask.tolist() for mask in counted] == [[True] * 3, [True] * 3, [True, True, False]]


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_every_decision_counts_on_exactly_one_rank(ranks):
    generator = np.random.default_rng(0)
    for n in (1, 2, 7, 24):
        home = torch.from_numpy(generator.integers(0, ranks, n))
        places, counted = shares(home, ranks)
        learned = torch.cat([part[mask] for part, mask in zip(places, counted, strict=True)])
        assert sorted(learned.tolist()) == list(range(n))
        assert {len(part) for part in places} == {-(-n // ranks)}


def weights_of(algorithm: PPO, rows: torch.Tensor) -> tuple[list[float], list[float]]:
    """Weights of policy and critic for some decisions of episodes of 1 and 3 decisions."""
    policy = tiny()
    rollout = rollout_of(policy, [1, 3])
    rollout = replace(rollout, value=torch.zeros(4), next_value=torch.zeros(4))
    parts = micro_batches(
        algorithm,
        rollout,
        Advantages(torch.ones(4), torch.zeros(4)),
        rows,
        size=2,
        ranks=SingleProcess(),
        device=policy.device,
    )
    actor, critic = [], []
    for part in parts:
        assert part.batch.value is not None
        actor += part.batch.weight.flatten(1).sum(1).tolist()
        critic += part.batch.value.weight.tolist()
    return actor, critic


def test_each_trajectory_weighs_the_same_in_the_losses_of_policy_and_critic():
    # 1/2 for the one decision of the first, 1/6 for each of the three of the second.
    actor, critic = weights_of(PPO(aggregation="trajectory"), torch.arange(4))
    assert actor == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    assert critic == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    actor, critic = weights_of(PPO(), torch.arange(4))
    assert actor == critic == pytest.approx([1 / 4] * 4)


def test_a_step_with_a_part_of_a_trajectory_weighs_it_as_a_part():
    # Mean length 2: scales 2 and 2/3, divided by the two decisions of the step.
    actor, _ = weights_of(PPO(aggregation="trajectory"), torch.tensor([0, 3]))
    assert actor == pytest.approx([1.0, 1 / 3])


def test_elements_of_a_trajectory_are_counted_where_a_ratio_is_one_elements():
    # rollout_of stops the last chunk after 2 of its steps: 2 and h + h + 2 steps, 2 numbers each.
    algorithm = PPO(aggregation="trajectory", granularity="element")
    actor, critic = weights_of(algorithm, torch.arange(4))
    assert actor[0] == pytest.approx(1 / 2)
    assert sum(actor[1:]) == pytest.approx(1 / 2)
    assert actor[3] < actor[2]
    assert critic == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
