"""What a run logs of its rollouts: streams, short batches, ends that are all valued."""

import json
from dataclasses import replace

import pytest

from pushcut import assembly
from pushcut.algorithms.ppo import PPO
from pushcut.config import TrainConfig


def lines_of(config: TrainConfig) -> tuple[list[dict], list[dict]]:
    """Metrics and episodes of a run."""
    run = assembly.train(config)
    read = [(run.path / f"{name}.jsonl").read_text() for name in ("metrics", "episodes")]
    metrics, episodes = ([json.loads(line) for line in text.splitlines()] for text in read)
    return metrics, episodes


def test_a_run_with_streams_counts_first_episodes(small_training):
    ppo = PPO(episodes=6, stream_decisions=12, bootstrap="always")
    config = replace(small_training, algorithm=ppo, iterations=1)
    (line, *_), episodes = lines_of(config)
    rows = [row for episode in episodes for row in episode["episodes"]]
    first = [success for _, member, _, _, success, _ in rows if member == 0]
    assert len(first) == 6 and len(rows) > 6
    assert line["success_rate_sampled"] == pytest.approx(sum(first) / 6)
    assert 0 <= line["success_rate_all_episodes"] <= 1


def test_a_run_in_which_trajectories_weigh_the_same_learns(small_training):
    ppo = PPO(episodes=6, aggregation="trajectory")
    metrics, _ = lines_of(replace(small_training, algorithm=ppo, iterations=1))
    assert metrics[0]["optimizer_steps"] > 0
    assert "success_rate_all_episodes" not in metrics[0]


def test_a_short_batch_is_said_and_counted(small_training, capsys):
    # Of four episodes 1/4 to 3/4 succeed in a mixed group: none has 99 %.
    strict = replace(small_training.algorithm, min_success=0.99)
    metrics, _ = lines_of(replace(small_training, algorithm=strict, iterations=1))
    assert (metrics[0]["groups_kept"], metrics[0]["groups_short"]) == (0, 2)
    said = capsys.readouterr()
    assert "a short batch: 0 of 2 groups teach something, 4 were played" in said.out + said.err
