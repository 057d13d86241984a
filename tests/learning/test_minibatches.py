import numpy as np
import pytest
import torch

from pushcut.learning.minibatches import shares


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
