"""Two ranks train what one trains: the same episodes, losses, gradients and checkpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pushcut import trainer
from pushcut.algorithms.ppo import PPO
from pushcut.config import TrainConfig
from pushcut.policies.source import FlowPolicySource, TokenPolicySource
from pushcut.policies.value_head import CriticConfig
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.start import joined
from pushcut.run import read_metrics
from tests.ranks.launch import on_ranks

SHARDED = RanksConfig(weights="sharded")
NUMBERS = ("loss", "approx_kl", "clip_fraction", "entropy", "grad_norm")


@pytest.fixture(scope="module")
def configs(smoke, finetuned, finetuned_flow, tmp_path_factory) -> dict[str, TrainConfig]:
    """Both algorithms on both kinds of policies; groups are uneven for two ranks."""
    grpo = replace(
        smoke.train,
        policy=TokenPolicySource(path=finetuned),
        algorithm=replace(smoke.train.algorithm, group_size=4, groups=3, max_groups=7),
        learner=replace(smoke.train.learner, micro_batch=16),
        rollout=replace(smoke.train.rollout, slots=6, workers=1),
        evaluation=replace(smoke.train.evaluation, every=2, episodes_per_task=3),
        iterations=2,
        patience=10,
        save_every=1,
        trackers=(),
        device="cpu",
        out=tmp_path_factory.mktemp("run"),
    )
    ppo = PPO(episodes=7)
    flow = FlowPolicySource(path=finetuned_flow, prefix="trained")
    critic = CriticConfig(placement="expert", warmup_iterations=1)
    return {
        "grpo-token": grpo,
        "ppo-token": replace(grpo, algorithm=ppo),
        "grpo-flow": replace(
            grpo, policy=flow, algorithm=replace(grpo.algorithm, granularity="chunk")
        ),
        "ppo-flow": replace(
            grpo, policy=flow, algorithm=replace(ppo, stream_decisions=10), critic=critic
        ),
    }


def named(config: TrainConfig, name: str, **fields: Any) -> TrainConfig:
    assert config.out is not None
    return replace(config, out=config.out / name, **fields)


def train_all(configs: list[TrainConfig]) -> None:
    with joined(configs[0].ranks) as ranks:
        for config in configs:
            trainer.train_on(ranks, config)


def lines(config: TrainConfig) -> list[dict[str, Any]]:
    assert config.out is not None
    return read_metrics(config.out / "metrics.jsonl")


@pytest.fixture(scope="module")
def runs(configs) -> dict[str, list[TrainConfig]]:
    """Each on one rank, on two with all weights, and on two with a part of them each."""
    alone = [named(config, f"{name}-1") for name, config in configs.items()]
    replicas = [named(config, f"{name}-2") for name, config in configs.items()]
    shards = [named(config, f"{name}-s", ranks=SHARDED) for name, config in configs.items()]
    train_all(alone)
    on_ranks(2, train_all, replicas)
    on_ranks(2, train_all, shards)
    return dict(zip(configs, map(list, zip(alone, replicas, shards, strict=True)), strict=True))


@pytest.mark.parametrize("name", ["grpo-token", "ppo-token", "grpo-flow", "ppo-flow"])
def test_two_ranks_play_the_episodes_of_one_and_learn_the_same(runs, name):
    alone, *others = [lines(config) for config in runs[name]]
    assert len(alone) == 3
    assert any(line.get("loss") for line in alone)
    for other in others:
        for want, got in zip(alone, other, strict=True):
            assert want.keys() == got.keys()
            exact = {k for k in want if not k.startswith(("seconds", "eval_greedy_seconds"))}
            exact -= {*NUMBERS, "logprob_mismatch", "value_loss", "value_mean"}
            exact -= {"explained_variance"}
            assert {k: want[k] for k in exact} == {k: got[k] for k in exact}
            for number in NUMBERS:
                assert got.get(number) == pytest.approx(want.get(number), abs=1e-5, rel=1e-4)
