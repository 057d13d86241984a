"""Whoever plays: the same number of ranks learns the same to the bit, where that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from pushcut import assembly
from pushcut.config import TrainConfig
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.group import SharedGroupBudget
from pushcut.ranks.start import joined
from tests.ranks.configs import uneven
from tests.ranks.launch import on_ranks
from tests.same_run import weights

pytestmark = pytest.mark.heavy


def train_with(players: dict[Path, int], config: TrainConfig) -> None:
    """Trains as often as there are folders; in each only one of the ranks plays."""
    claim = SharedGroupBudget.claim
    with joined(config.ranks) as ranks:
        for out, player in players.items():

            def claim_all(group_budget: SharedGroupBudget, player: int = player) -> int | None:
                group_budget._share = 10**6
                return claim(group_budget) if ranks.index == player else None

            with mock.patch.object(SharedGroupBudget, "claim", claim_all):
                assembly.train_on(ranks, replace(config, out=out))


def test_weights_do_not_depend_on_which_rank_played(smoke, finetuned, tmp_path):
    config = uneven(
        smoke,
        finetuned,
        ranks=RanksConfig(reproducible=True),
        evaluation=replace(smoke.train.evaluation, every=0),
        iterations=1,
        threads=1,
    )
    first, second = tmp_path / "first", tmp_path / "second"
    on_ranks(2, train_with, {first: 0, second: 1}, config)
    one, other = (weights(run, 1) for run in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one)
