from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pushcut.algorithms.grpo import GRPO
from pushcut.algorithms.ppo import PPO
from pushcut.batch import Advantages, Evaluation, Minibatch
from pushcut.errors import UserError
from pushcut.learning.learner import Learner, LearnerConfig, split
from pushcut.policies.base import Policy
from pushcut.policies.lora import adapt
from pushcut.policies.value_head import CriticConfig
from tests.learning.builders import gradients, rollout_of, step
from tests.policies.builders import POLICIES, flow, noise, observation, tiny


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
    advantages = GRPO(group_size=2).advantages(rollout).advantage
    step(policy, rollout)
    # Padded to 3 decisions an episode: repeat an episode's first row, masked out.
    rows, mask = [], []
    for episode in range(4):
        own = (rollout.episode_id == episode).nonzero().squeeze(1).tolist()
        rows += own + own[:1] * (3 - len(own))
        mask += [True] * len(own) + [False] * (3 - len(own))
    valid = rollout.valid[rows] & torch.tensor(mask).unsqueeze(1)
    valid = valid[:, None, :, None].expand(-1, -1, -1, 3)
    # |a_i| tokens per episode, N = 4: mean within the episode, then over episodes.
    per_episode = valid.reshape(4, -1).sum(1).repeat_interleave(3).view(-1, 1, 1, 1)
    weight = valid / per_episode / 4
    seen = rollout.seen(torch.tensor(rows))
    evaluation: Evaluation = padded.evaluate(seen.observation, seen.trace)
    batch = Minibatch(
        logprob_old=rollout.logprob[rows],
        valid=valid,
        advantage=advantages[rows].view(-1, 1, 1, 1),
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
    seen = rollout.seen(torch.arange(len(rollout)))
    changed = seen.trace["bins"].clone()
    changed[~rollout.valid] = 0
    step(policy, rollout)
    step(same, replace(rollout, experience=replace(seen, trace={"bins": changed})))
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
    seen = rollout.seen(torch.arange(len(rollout)))
    new = policy.evaluate(seen.observation, seen.trace).logprob.detach()
    change = ((new - rollout.logprob) * rollout.valid[:, None, :, None]).sum((1, 2, 3))
    good = rollout.success[rollout.episode_id]
    assert change[good].mean() > 0 > change[~good].mean()


def test_a_rollout_without_episodes_changes_nothing():
    policy = tiny()
    before = [p.clone() for p in policy.parameters()]
    rollout = rollout_of(policy, [2, 2])
    empty = rollout.keep(torch.zeros(2, dtype=torch.bool))
    learner = Learner(policy, GRPO(), LearnerConfig(), seed=0)
    assert learner.update(empty, Advantages(torch.zeros(0)), iteration=0) == {}
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))


def test_minibatches_hold_whole_episodes_and_each_once():
    episode_id = torch.arange(7).repeat_interleave(3)
    parts = list(split(episode_id, 3, np.random.default_rng(0)))
    assert len(parts) == 3
    assert sorted(torch.cat(parts).tolist()) == list(range(21))
    for rows in parts:
        assert all((episode_id[rows] == e).sum() == 3 for e in episode_id[rows].unique())


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


def with_critic(policy: Policy, **fields: Any) -> Policy:
    policy.add_critic(CriticConfig(**fields), seed=0)
    return policy


def test_ppo_trains_the_critic_at_its_own_rate_and_alone_during_its_warm_up():
    policy = with_critic(tiny())
    rollout = rollout_of(policy, [3, 3])
    algorithm, critic = PPO(episodes=2), CriticConfig(lr=1e-2, warmup_iterations=1)
    config = LearnerConfig(lr=1e-4, warmup_iterations=0)
    learner = Learner(policy, algorithm, config, seed=0, critic=critic)
    before = {name: p.clone() for name, p in policy.named_parameters()}

    def changed() -> set[bool]:
        """Whether parameters of the critic (True) and of the policy (False) have moved."""
        return {
            name.startswith("training_parts.critic")
            for name, p in policy.named_parameters()
            if not torch.equal(p, before[name])
        }

    learner.update(rollout, algorithm.advantages(rollout), iteration=0)
    assert changed() == {True}
    assert [group["lr"] for group in learner.optimizer.param_groups] == [1e-4, 1e-2]
    learner.update(rollout, algorithm.advantages(rollout), iteration=1)
    assert changed() == {True, False}


def test_the_warm_up_of_the_learning_rate_begins_after_that_of_the_critic():
    policy = with_critic(tiny())
    rollout = rollout_of(policy, [3, 3])
    algorithm, critic = PPO(episodes=2), CriticConfig(warmup_iterations=2)
    config = LearnerConfig(lr=1e-2, warmup_iterations=3)
    learner = Learner(policy, algorithm, config, seed=0, critic=critic)
    advantages = algorithm.advantages(rollout)
    rates = [learner.update(rollout, advantages, iteration=i)["lr"] for i in (2, 3, 5)]
    assert rates == pytest.approx([0.25e-2, 0.5e-2, 1e-2])


def test_a_critics_rate_can_follow_the_policys():
    policy = with_critic(tiny())
    rollout = rollout_of(policy, [3, 3])
    algorithm = PPO(episodes=2)
    critic = CriticConfig(lr=1e-2, warmup_iterations=1, scheduled=True)
    config = LearnerConfig(lr=1e-4, warmup_iterations=0, decay_iterations=10, decay_floor=0.0)
    learner = Learner(policy, algorithm, config, seed=0, critic=critic)
    advantages = algorithm.advantages(rollout)

    def rates(iteration: int) -> list[float]:
        learner.update(rollout, advantages, iteration=iteration)
        return [group["lr"] for group in learner.optimizer.param_groups]

    assert rates(0) == pytest.approx([1e-4, 1e-2])
    # The cosine begins with the policy, at iteration 1, and is half way at 6.
    assert rates(1) == pytest.approx([1e-4, 1e-2])
    assert rates(6) == pytest.approx([0.5e-4, 0.5e-2])


@pytest.mark.parametrize(
    ("algorithm", "size", "steps", "units"),
    [
        (GRPO(group_size=2), 4, 2, 4.0),  # 8 episodes
        (GRPO(group_size=2), 3, 3, 8 / 3),  # 8 / 3 is nearest to 3 steps
        (GRPO(group_size=2), 128, 1, 8.0),  # a short batch is one step, not four small ones
        (PPO(episodes=8), 8, 2, 8.0),  # 16 decisions
        (PPO(episodes=8), 0, 4, 4.0),  # as many steps as minibatches says
    ],
)
def test_an_optimiser_step_has_the_size_that_is_asked_for(algorithm, size, steps, units):
    policy = with_critic(tiny()) if algorithm.needs_critic else tiny()
    rollout = rollout_of(policy, [2] * 8)
    config = LearnerConfig(lr=1e-5, minibatches=4, minibatch_size=size)
    learner = Learner(policy, algorithm, config, seed=0)
    metrics = learner.update(rollout, algorithm.advantages(rollout), iteration=0)
    assert metrics["optimizer_steps"] == steps
    assert metrics["minibatch_units"] == pytest.approx(units)


@pytest.mark.parametrize("far", [100.0, -100.0])
def test_a_decision_that_has_moved_beyond_all_bounds_costs_no_step(far):
    policy = tiny()
    rollout = rollout_of(policy, [2, 2, 2, 2])
    moved = rollout.logprob.clone()
    moved[0] += far
    algorithm = GRPO(group_size=2, granularity="chunk")
    learner = Learner(policy, algorithm, LearnerConfig(minibatches=1), seed=0)
    advantages = algorithm.advantages(rollout)
    metrics = learner.update(replace(rollout, logprob=moved), advantages, iteration=0)
    assert (metrics["optimizer_steps"], metrics["skipped_steps"]) == (1, 0)
    assert all(np.isfinite(value) for value in metrics.values())


def test_adapters_have_a_rate_of_their_own():
    policy = flow()
    policy.train_prefix(False)
    adapt(policy.adaptable, {"language": 2}, alpha=2)
    rollout = rollout_of(policy, [3, 3])
    config = LearnerConfig(lr=1e-3, adapter_lr=1e-4, warmup_iterations=0)
    algorithm = GRPO(group_size=2, granularity="chunk")
    learner = Learner(policy, algorithm, config, seed=0)
    before = {name: p.clone() for name, p in policy.named_parameters()}
    learner.update(rollout, algorithm.advantages(rollout), iteration=0)
    rates = {group["name"]: group["lr"] for group in learner.optimizer.param_groups}
    assert rates == {"policy": 1e-3, "adapters": 1e-4}
    moved = {name for name, p in policy.named_parameters() if not torch.equal(p, before[name])}
    assert any("lora_" in name for name in moved)
    assert all("lora_" in name or name.startswith("expert.") for name in moved)


def test_a_critics_warm_up_holds_up_no_algorithm_without_critic():
    policy = tiny()
    rollout = rollout_of(policy, [3, 3])
    algorithm, critic = GRPO(group_size=2), CriticConfig(warmup_iterations=9)
    before = [p.clone() for p in policy.parameters()]
    learner = Learner(policy, algorithm, LearnerConfig(), seed=0, critic=critic)
    learner.update(rollout, algorithm.advantages(rollout), iteration=0)
    assert not all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))


def test_the_critic_learns_the_returns():
    policy = with_critic(tiny())
    rollout = rollout_of(policy, [3, 3, 3, 3])
    algorithm = PPO(episodes=4, value_clip=10.0)
    critic = CriticConfig(lr=1e-2, warmup_iterations=99)
    learner = Learner(policy, algorithm, LearnerConfig(epochs=20), seed=0, critic=critic)
    target = torch.linspace(0, 1, len(rollout))
    advantages = Advantages(torch.ones(len(rollout)), target)
    first = learner.update(rollout, advantages, iteration=0)
    last = learner.update(rollout, advantages, iteration=1)
    assert last["value_loss"] < 0.2 * first["value_loss"]


def test_a_detached_critic_leaves_no_gradient_in_the_policy():
    for detach, reached in ((True, False), (False, True)):
        policy = with_critic(tiny(), detach=detach)
        obs = observation(4)
        value = policy.evaluate(obs, policy.sample(obs, noise(4), "sampled").trace).value
        assert value is not None
        value.sum().backward()
        got = [n for n, p in policy.named_parameters() if p.grad is not None]
        assert any(name.startswith("observation.") for name in got) == reached


def test_ppo_takes_any_decisions_into_a_minibatch():
    parts = list(split(torch.arange(10), 3, np.random.default_rng(0)))
    assert sorted(torch.cat(parts).tolist()) == list(range(10))
    assert sorted(map(len, parts)) == [3, 3, 4]


def test_an_iteration_stops_updating_at_the_kl_limit():
    policy = with_critic(tiny())
    rollout = rollout_of(policy, [3, 3])
    algorithm = PPO(episodes=2)
    config = LearnerConfig(lr=1e-2, warmup_iterations=0, epochs=10, target_kl=1e-3)
    learner = Learner(policy, algorithm, config, seed=0)
    metrics = learner.update(rollout, algorithm.advantages(rollout), iteration=0)
    assert 1 < metrics["optimizer_steps"] < 40


def test_a_step_that_is_not_finite_is_skipped_and_counted():
    policy = tiny()
    rollout = rollout_of(policy, [2, 2, 2, 2])
    broken = rollout.logprob.clone()
    broken[0] = float("nan")  # the first episode only
    config = LearnerConfig(minibatches=2)
    algorithm = GRPO(group_size=2)
    learner = Learner(policy, algorithm, config, seed=0)
    advantages = algorithm.advantages(rollout)
    metrics = learner.update(replace(rollout, logprob=broken), advantages, iteration=0)
    assert (metrics["optimizer_steps"], metrics["skipped_steps"]) == (1, 1)
    assert np.isfinite(metrics["loss"])
    assert all(bool(p.isfinite().all()) for p in policy.parameters())


def test_nothing_finite_at_all_stops_the_run_and_leaves_the_policy_alone():
    policy = tiny()
    rollout = rollout_of(policy, [2, 2])
    algorithm = GRPO(group_size=2)
    learner = Learner(policy, algorithm, LearnerConfig(), seed=0)
    broken = replace(rollout, logprob=torch.full_like(rollout.logprob, float("nan")))
    before = [p.clone() for p in policy.parameters()]
    with pytest.raises(UserError, match="no optimiser step had finite gradients"):
        learner.update(broken, algorithm.advantages(rollout), iteration=0)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))


ALGORITHMS = {
    "grpo": GRPO(group_size=2),
    "grpo-chunk": GRPO(group_size=2, granularity="chunk"),
    "grpo-kl": GRPO(group_size=2, kl_coefficient=0.1, entropy_coefficient=0.01),
    "ppo": PPO(episodes=4),
    "ppo-step": PPO(episodes=4, granularity="step", entropy_coefficient=0.01),
    "ppo-trajectory": PPO(episodes=4, aggregation="trajectory", bootstrap="always"),
}


WITH_ALL = ("tiny", "flow-hybrid", "openvla-oft", "pi0-lerobot")
"""Policies of each kind; the others meet one of either sort of algorithm."""


@pytest.mark.parametrize(
    ("name", "method"),
    [(n, m) for n in POLICIES for m in ALGORITHMS if n in WITH_ALL or m in ("grpo-kl", "ppo")],
)
def test_every_algorithm_trains_every_policy(name, method):
    policy, algorithm = POLICIES[name](), ALGORITHMS[method]
    if algorithm.needs_critic:
        policy.add_critic(CriticConfig(), seed=0)
    rollout = rollout_of(policy, [3, 5, 2, 4])
    config = LearnerConfig(lr=1e-5, warmup_iterations=0, minibatches=1)
    learner = Learner(policy, algorithm, config, seed=0, critic=CriticConfig(lr=1e-5))
    advantages = algorithm.advantages(rollout)
    first = learner.update(rollout, advantages, iteration=0)
    # Chunks of a whole chain add up rounding of K steps and h x a elements.
    assert first["approx_kl"] == pytest.approx(0, abs=1e-5)
    assert first["clip_fraction"] == 0
    second = learner.update(rollout, advantages, iteration=1)
    assert second["loss"] < first["loss"]
    assert second["approx_kl"] > 0


def test_the_mismatch_is_the_distance_of_old_log_probabilities_from_the_same_weights():
    policy = tiny()
    rollout = rollout_of(policy, [3, 5, 2, 4])
    assert step(policy, rollout)["logprob_mismatch"] < 1e-6
    off = replace(rollout, logprob=rollout.logprob + 0.1)
    assert step(tiny(), off)["logprob_mismatch"] == pytest.approx(0.1, abs=1e-5)


def test_recomputed_log_probabilities_make_a_disagreeing_rollout_the_agreeing_one():
    policy, same = tiny(), tiny()
    rollout = rollout_of(policy, [3, 5, 2, 4])
    off = replace(rollout, logprob=rollout.logprob + 0.1)
    step(policy, rollout)
    metrics = step(same, off, recompute_logprob=True, micro_batch=5)
    assert metrics["logprob_mismatch"] == pytest.approx(0.1, abs=1e-5)
    for a, b in zip(gradients(policy), gradients(same), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-7)
