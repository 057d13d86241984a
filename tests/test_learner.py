from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pushcut.algorithms.grpo import GRPO
from pushcut.batch import Evaluation, Minibatch, Rollout
from pushcut.learner import Learner, LearnerConfig, learning_rate, split_by_episode
from pushcut.policies.tiny import TinyPolicy
from pushcut.types import InitState
from tests.policies.test_policy_contract import noise, observation, tiny


def rollout_of(policy: TinyPolicy, lengths: list[int]) -> Rollout:
    """Episodes of so many decisions each; the last chunk stops after its second step."""
    n = sum(lengths)
    obs = observation(n)
    sample = policy.sample(obs, noise(n), "sampled")
    episode_id = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    valid = torch.ones(n, policy.chunk, dtype=torch.bool)
    valid[torch.tensor(lengths).cumsum(0) - 1, 2:] = False
    success = torch.arange(len(lengths)) % 2 == 0
    return Rollout(
        observation=obs,
        trace=sample.trace,
        logprob=sample.logprob,
        valid=valid,
        reward=torch.zeros(n),
        terminated=torch.zeros(n, dtype=torch.bool),
        truncated=torch.zeros(n, dtype=torch.bool),
        value=None,
        episode_id=episode_id,
        group_id=torch.arange(len(lengths)) // 2,
        success=success,
        length=torch.tensor(lengths),
        sim_steps=torch.tensor(lengths),
        inits=tuple(InitState("t", i) for i in range(len(lengths))),
    )


def gradients(policy: TinyPolicy) -> list[torch.Tensor]:
    return [p.grad.clone() for p in policy.parameters() if p.grad is not None]


def step(policy: TinyPolicy, rollout: Rollout, **fields: Any) -> dict[str, float]:
    config = LearnerConfig(minibatches=1, grad_clip=1e9, **fields)
    algorithm = GRPO(group_size=2)
    learner = Learner(policy, algorithm, config, seed=0)
    return learner.update(rollout, algorithm.advantages(rollout), iteration=0)


def test_micro_batches_add_up_to_the_gradient_of_one_batch():
    policy, same = tiny(), tiny()
    rollout = rollout_of(policy, [3, 5, 2, 4])
    step(policy, rollout, micro_batch=100)
    step(same, rollout, micro_batch=3)
    for a, b in zip(gradients(policy), gradients(same), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_packed_training_has_the_gradient_of_padded_training_with_masks():
    policy, padded = tiny(), tiny()
    rollout = rollout_of(policy, [1, 3, 2, 3])
    advantages = GRPO(group_size=2).advantages(rollout)
    step(policy, rollout)
    # Padded to 3 decisions an episode: repeat an episode's first row, masked out.
    rows, mask = [], []
    for episode in range(4):
        own = (rollout.episode_id == episode).nonzero().squeeze(1).tolist()
        rows += own + own[:1] * (3 - len(own))
        mask += [True] * len(own) + [False] * (3 - len(own))
    valid = rollout.valid[rows] & torch.tensor(mask).unsqueeze(1)
    valid = valid.unsqueeze(-1).expand(-1, -1, 3)
    # |a_i| tokens per episode, N = 4: mean within the episode, then over episodes.
    per_episode = valid.reshape(4, -1).sum(1).repeat_interleave(3).view(-1, 1, 1)
    weight = valid / per_episode / 4
    evaluation: Evaluation = padded.evaluate(
        rollout.observation.select(rows), {k: v[rows] for k, v in rollout.trace.items()}
    )
    batch = Minibatch(
        logprob_old=rollout.logprob[rows],
        advantage=advantages[rows].view(-1, 1, 1).expand_as(weight),
        weight=weight,
        share=weight,
    )
    loss, _ = GRPO(group_size=2).loss(evaluation, batch)
    loss.backward()
    for a, b in zip(gradients(policy), gradients(padded), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_steps_that_did_not_happen_teach_nothing():
    policy, same = tiny(), tiny()
    rollout = rollout_of(policy, [2, 2])
    changed = rollout.trace["bins"].clone()
    changed[~rollout.valid] = 0
    step(policy, rollout)
    step(same, replace(rollout, trace={"bins": changed}))
    for a, b in zip(gradients(policy), gradients(same), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_before_the_first_update_nothing_is_clipped_and_the_kl_is_zero():
    policy = tiny()
    metrics = step(policy, rollout_of(policy, [3, 3]))
    assert metrics["clip_fraction"] == 0
    assert metrics["approx_kl"] == pytest.approx(0, abs=1e-6)


def test_an_update_makes_tokens_of_successes_more_likely():
    policy = tiny()
    rollout = rollout_of(policy, [3, 3])
    step(policy, rollout, warmup_iterations=0, lr=1e-5)
    new = policy.evaluate(rollout.observation, rollout.trace).logprob.detach()
    change = ((new - rollout.logprob) * rollout.valid.unsqueeze(-1)).sum((1, 2))
    good = rollout.success[rollout.episode_id]
    assert change[good].mean() > 0 > change[~good].mean()


def test_a_rollout_without_episodes_changes_nothing():
    policy = tiny()
    before = [p.clone() for p in policy.parameters()]
    rollout = rollout_of(policy, [2, 2])
    empty = rollout.keep(torch.zeros(2, dtype=torch.bool))
    learner = Learner(policy, GRPO(), LearnerConfig(), seed=0)
    assert learner.update(empty, torch.zeros(0), iteration=0) == {}
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))


def test_minibatches_hold_whole_episodes_and_each_once():
    episode_id = torch.arange(7).repeat_interleave(3)
    parts = list(split_by_episode(episode_id, 3, np.random.default_rng(0)))
    assert len(parts) == 3
    assert sorted(torch.cat(parts).tolist()) == list(range(21))
    for rows in parts:
        assert all((episode_id[rows] == e).sum() == 3 for e in episode_id[rows].unique())


def test_the_learning_rate_warms_up_linearly():
    config = LearnerConfig(lr=1.0, warmup_iterations=3)
    got = [learning_rate(config, i) for i in range(5)]
    assert got == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


def test_the_kl_reference_is_the_starting_policy():
    policy = tiny()
    rollout = rollout_of(policy, [3, 3])
    algorithm = GRPO(group_size=2, kl_coefficient=0.1)
    config = LearnerConfig(lr=1e-2, warmup_iterations=0, minibatches=1)
    learner = Learner(policy, algorithm, config, seed=0)
    advantages = algorithm.advantages(rollout)
    first = learner.update(rollout, advantages, iteration=0)
    second = learner.update(rollout, advantages, iteration=1)
    assert first["kl_reference"] == pytest.approx(0, abs=1e-6)
    assert second["kl_reference"] > 1e-4
