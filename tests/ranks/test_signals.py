"""A signal to one rank stops the update of all."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from pushcut import assembly
from pushcut.config import TrainConfig
from pushcut.errors import Interrupted
from pushcut.learning.learner import Learner
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.start import joined
from pushcut.runs.run import read_metrics
from tests.ranks.launch import on_ranks

pytestmark = pytest.mark.heavy


def train_and_signal(config: TrainConfig) -> tuple[int, int]:
    """Rank 1 gets SIGTERM as the update of iteration 1 begins: exit code and optimiser steps."""
    learners: list[Learner] = []
    update = Learner.update

    def signal_and_update(self, rollout, advantages, iteration):
        learners.append(self)
        if iteration == 1 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, rollout, advantages, iteration)

    Learner.update = signal_and_update
    with joined(config.ranks) as ranks, pytest.raises(Interrupted) as stop:
        assembly.train_on(ranks, config)
    return stop.value.exit_code, learners[-1].steps


def test_a_signal_to_one_rank_stops_the_update_of_all_after_a_micro_batch(small_training):
    config = replace(
        small_training,
        learner=replace(small_training.learner, epochs=1, minibatches=2, micro_batch=16),
        ranks=RanksConfig(weights="sharded"),
        evaluation=replace(small_training.evaluation, every=0),
        device="cpu",
        grace_s=0.0,
    )
    found = on_ranks(2, train_and_signal, config)
    # Two optimiser steps of iteration 0, none of iteration 1.
    assert found == [(143, 2), (143, 2)]
    assert len(read_metrics(config.out / "metrics.jsonl")) == 1
    assert (config.out / "checkpoints" / "000001").exists()
