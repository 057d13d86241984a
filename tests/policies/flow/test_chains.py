"""Chains of denoising steps: what is remembered, what it costs, what is refused."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from pushcut.policies.flow.chains import (
    HybridChain,
    OneLayerChain,
    TwoLayerChain,
    make_chain,
    solve_ode,
)
from pushcut.policies.flow.moments import gaussian_logprob, sde_moments
from pushcut.policies.flow.transitions import Denoising, NoiseNetwork, Velocity
from pushcut.policies.lora import LoRAConfig
from pushcut.policies.noise import DecisionKey, DecisionNoise
from pushcut.policies.small.flow_vla import FlowPolicy
from pushcut.policies.source import FlowPolicySource
from pushcut.policies.value_head import CriticConfig
from tests.policies.builders import flow, noise, observation

B, H, A = 6, 3, 2


class CountingExpert:
    """Velocity x + t, and how many points it was asked for at once."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, x, t):
        self.calls.append(x.shape[1])
        value = x + t[..., None, None]
        return Velocity(value, torch.cat((value, value), dim=-1))


def start() -> torch.Tensor:
    return torch.randn(B, H, A, generator=torch.Generator().manual_seed(1))


def test_a_hybrid_trace_holds_one_transition_and_costs_one_pass():
    chain, expert = make_chain(Denoising(), None), CountingExpert()
    assert isinstance(chain, HybridChain)
    sample = chain.sample(expert, start(), noise(B))
    assert expert.calls == [1] * 4
    assert {name: tuple(x.shape) for name, x in sample.trace.items()} == {
        "before": (B, H, A),
        "after": (B, H, A),
        "index": (B,),
    }
    expert.calls.clear()
    again = chain.evaluate(expert, sample.trace)
    assert expert.calls == [1]
    assert torch.equal(again.logprob, sample.logprob)


def test_the_log_probability_of_a_hybrid_sample_is_that_of_its_transition():
    chain, expert = make_chain(Denoising(), None), CountingExpert()
    sample = chain.sample(expert, start(), noise(B))
    before, after, index = (sample.trace[name] for name in ("before", "after", "index"))
    for row in range(B):
        t = 1 - int(index[row]) / 4
        mean, std = sde_moments(before[row], before[row] + t, t, 0.25, noise_level=0.5, num_steps=4)
        torch.testing.assert_close(sample.logprob[row, 0], gaussian_logprob(after[row], mean, std))


def test_every_step_is_the_noisy_one_of_some_samples():
    chain, many = make_chain(Denoising(), None), 400
    keys = [DecisionKey(0, 0, i, 0, 0) for i in range(many)]
    sample = chain.sample(CountingExpert(), torch.zeros(many, 1, 1), DecisionNoise(keys))
    counts = Counter(sample.trace["index"].tolist())
    assert set(counts) == {0, 1, 2, 3}
    assert min(counts.values()) > 60


def test_episodes_can_share_the_noisy_step_of_each_decision():
    chain = make_chain(Denoising(shared_index=True), None)
    index: list[int] = []
    for decision in range(40):
        keys = [DecisionKey(0, 0, group, 0, decision) for group in range(8)]
        sample = chain.sample(CountingExpert(), torch.zeros(8, 1, 1), DecisionNoise(keys))
        assert len(set(sample.trace["index"].tolist())) == 1
        assert len(set(sample.trace["after"].flatten().tolist())) == 8
        index.append(int(sample.trace["index"][0]))
    assert set(index) == {0, 1, 2, 3}


def test_the_last_step_can_be_left_without_noise():
    chain = make_chain(Denoising(last_step_noise=False), None)
    keys = [DecisionKey(0, 0, i, 0, 0) for i in range(100)]
    sample = chain.sample(CountingExpert(), torch.zeros(100, 1, 1), DecisionNoise(keys))
    assert set(sample.trace["index"].tolist()) == {0, 1, 2}


@pytest.mark.parametrize("mdp", ["one-layer", "two-layer"])
def test_a_full_chain_is_evaluated_in_one_pass_over_its_points(mdp):
    chain, expert = make_chain(Denoising(mdp=mdp), None), CountingExpert()
    assert isinstance(chain, {"one-layer": OneLayerChain, "two-layer": TwoLayerChain}[mdp])
    sample = chain.sample(expert, start(), noise(B))
    assert sample.trace["chain"].shape == (B, 5, H, A)
    expert.calls.clear()
    again = chain.evaluate(expert, sample.trace)
    assert expert.calls == [4]
    torch.testing.assert_close(again.logprob, sample.logprob, atol=2e-6, rtol=0)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_log_probability_of_a_one_layer_chain_by_hand(reduction):
    config = Denoising(num_steps=2, mdp="one-layer", chain_reduction=reduction)
    sample = make_chain(config, None).sample(CountingExpert(), start(), noise(B))
    points = sample.trace["chain"].unbind(1)
    terms = [gaussian_logprob(points[0], torch.zeros(1), torch.ones(1))]
    for i, t in enumerate((1.0, 0.5)):
        mean, std = sde_moments(points[i], points[i] + t, t, 0.5, noise_level=0.5, num_steps=2)
        terms.append(gaussian_logprob(points[i + 1], mean, std))
    total = torch.stack(terms).sum(0)
    want = total if reduction == "sum" else total / 3
    torch.testing.assert_close(sample.logprob, want.unsqueeze(1))


@pytest.mark.parametrize("terms", ["noisy", "all"])
def test_the_entropy_of_a_one_layer_chain_by_hand(terms):
    config = Denoising(num_steps=2, mdp="one-layer", entropy_terms=terms)
    chain = make_chain(config, None)
    got = chain.evaluate(CountingExpert(), chain.sample(CountingExpert(), start(), noise(B)).trace)
    # sigma = 0.5 sqrt(t / (1 - t)), with 1/2 for 1 - t at t = 1: std 0.5 and 0.5 * sqrt(1/2).
    half = 0.5 * math.log(2 * math.pi * math.e)
    noisy = [half + math.log(0.5), half + math.log(0.5 * math.sqrt(0.5))]
    want = sum(noisy) / 2 if terms == "noisy" else (half + sum(noisy)) / 3
    torch.testing.assert_close(got.entropy, torch.full_like(got.entropy, want))


@pytest.mark.parametrize(("last", "parts"), [(True, 2), (False, 1)])
def test_each_noisy_step_of_a_two_layer_chain_has_its_own_log_probability(last, parts):
    config = Denoising(num_steps=2, mdp="two-layer", last_step_noise=last)
    sample = make_chain(config, None).sample(CountingExpert(), start(), noise(B))
    points = sample.trace["chain"].unbind(1)
    assert sample.logprob.shape == (B, parts, H, A)
    for i, t in enumerate((1.0, 0.5)[:parts]):
        mean, std = sde_moments(points[i], points[i] + t, t, 0.5, noise_level=0.5, num_steps=2)
        want = gaussian_logprob(points[i + 1], mean, std)
        torch.testing.assert_close(sample.logprob[:, i], want)
    if not last:
        torch.testing.assert_close(points[2], points[1] - 0.5 * (points[1] + 0.5))


@pytest.mark.parametrize(
    ("noise_kind", "mdp"),
    [("flow-sde", "hybrid"), ("flow-cps", "hybrid"), ("flow-noise", "one-layer")],
)
def test_each_kind_of_noise_has_the_formulation_of_the_paper(noise_kind, mdp):
    assert Denoising(noise=noise_kind).formulation == mdp


def test_the_ode_of_a_straight_path_ends_at_the_data():
    """v = (x - a) / t is the velocity of data that is always a; Euler is exact on it."""
    data = torch.full((B, H, A), 0.3)

    def expert(x, t):
        velocity = (x - data.unsqueeze(1)) / t[..., None, None]
        return Velocity(velocity, velocity)

    torch.testing.assert_close(solve_ode(Denoising(num_steps=4), expert, start()), data)


def test_the_learned_noise_stays_within_its_bounds():
    config = Denoising(noise="flow-noise", std_bounds=(0.08, 0.16))
    network = NoiseNetwork(4, A, config)
    value = torch.randn(B, 1, H, A)
    for scale in (1.0, 1e3):
        features = scale * torch.randn(B, 1, H, 4)
        _, std = network.moments(value, Velocity(value, features), torch.ones(B, 1, 1, 1))
        assert float(std.min()) >= 0.08 - 1e-5
        assert float(std.max()) <= 0.16 + 1e-5


def test_a_learned_noise_in_the_middle_of_its_bounds_by_hand():
    # h = 0: log variance = (ln 0.08^2 + ln 0.16^2) / 2, so std = sqrt(0.08 * 0.16) = 0.1131.
    network = NoiseNetwork(4, A, Denoising(noise="flow-noise"))
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    value = torch.zeros(B, 1, H, A)
    velocity = Velocity(value, torch.zeros(B, 1, H, 4))
    _, std = network.moments(value, velocity, torch.ones(B, 1, 1, 1))
    torch.testing.assert_close(std, torch.full_like(std, 0.1131371))


@pytest.mark.parametrize("options", [{}, {"mdp": "two-layer"}, {"noise": "flow-noise"}])
def test_the_prefix_is_computed_once_per_decision(options, monkeypatch):
    policy, obs, calls = flow(**options), observation(4), []
    encode = policy.encode
    monkeypatch.setattr(policy, "encode", lambda o: calls.append(len(o)) or encode(o))
    sample = policy.sample(obs, noise(4), "sampled")
    policy.evaluate(obs, sample.trace)
    assert calls == [4, 4]


@pytest.mark.parametrize("placement", ["vlm", "expert"])
def test_a_kept_prefix_spares_the_update_the_encoder_and_changes_nothing(placement, monkeypatch):
    policy, obs = flow(keeps_prefix=True), observation(4)
    policy.add_critic(CriticConfig(placement=placement), seed=0)
    sample = policy.sample(obs, noise(4), "sampled")
    encoded = {name: x for name, x in sample.trace.items() if not name.startswith("prefix")}
    again = policy.evaluate(obs, encoded)
    monkeypatch.setattr(policy, "encode", lambda obs: pytest.fail("the encoder ran"))
    kept = policy.evaluate(obs, sample.trace)
    assert torch.equal(kept.logprob, again.logprob)
    assert kept.value is not None and again.value is not None
    assert torch.equal(kept.value, again.value)


@pytest.mark.parametrize(
    ("options", "keeps"),
    [
        ({}, True),
        ({"keep_prefix": False}, False),
        ({"trained": "all"}, False),
        ({"trained": "lora", "lora": LoRAConfig(rank=2)}, False),
    ],
)
def test_only_a_frozen_prefix_is_kept(options, keeps, tmp_path):
    flow().save_pretrained(tmp_path)
    policy = FlowPolicySource(path=tmp_path, **options).load()
    assert isinstance(policy, FlowPolicy)
    assert policy.keeps_prefix is keeps


def test_a_policy_remembers_its_number_of_denoising_steps(tmp_path):
    flow(num_steps=2).save_pretrained(tmp_path)
    loaded = FlowPolicySource(path=tmp_path).load()
    other = FlowPolicySource(path=tmp_path, num_steps=8).load()
    assert isinstance(loaded, FlowPolicy) and isinstance(other, FlowPolicy)
    assert (loaded.denoising.steps, other.denoising.steps) == (2, 8)


def test_points_of_a_chain_do_not_see_one_another():
    policy, obs = flow(), observation(4)
    prefix = policy.encode(obs).caches
    x = torch.randn(4, 3, policy.chunk, 3)
    t = torch.tensor([1.0, 0.5, 0.25]).expand(4, 3)
    together = policy.expert(prefix, x, t).value
    for i in range(3):
        alone = policy.expert(prefix, x[:, i : i + 1], t[:, i : i + 1]).value
        torch.testing.assert_close(together[:, i : i + 1], alone, atol=1e-6, rtol=1e-5)


def test_flow_noise_is_saved_without_its_noise_network(tmp_path):
    policy = flow(noise="flow-noise")
    assert any("noise_network" in name for name in policy.state_dict())
    policy.save_pretrained(tmp_path)
    from safetensors import safe_open

    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert not any("noise_network" in name for name in file.keys())  # noqa: SIM118


def test_gradients_reach_expert_and_noise_network_and_not_a_frozen_prefix():
    policy, obs = flow(noise="flow-noise"), observation(4)
    policy.train_prefix(False)
    sample = policy.sample(obs, noise(4), "sampled")
    policy.evaluate(obs, sample.trace).logprob.sum().backward()
    got = {name for name, p in policy.named_parameters() if p.grad is not None}
    assert any(name.startswith("expert.") for name in got)
    assert any(name.startswith("training_parts.noise_network") for name in got)
    assert not any(name.startswith(("observation.", "prefix_blocks.")) for name in got)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_steps": 0}, "num_steps must be >= 1"),
        ({"noise_level": 0.0}, "noise_level must be > 0"),
        ({"noise_level": 1.5}, "at most 1.000"),
        ({"num_steps": 1, "last_step_noise": False}, "keep last_step_noise"),
        ({"std_bounds": (0.2, 0.1)}, "std_bounds must rise"),
        ({"noise": "flow-cps", "noise_level": 1.0}, "must be < 1"),
        ({"noise": "flow-cps", "num_steps": 1}, "num_steps >= 2"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Denoising(**options)


def test_sampled_actions_scatter_around_those_of_the_ode():
    policy, obs = flow(), observation(16)
    greedy = policy.sample(obs, noise(16), "greedy").actions
    sampled = policy.sample(obs, noise(16), "sampled").actions
    assert not torch.equal(greedy, sampled)
    assert np.isfinite(sampled.numpy()).all()
