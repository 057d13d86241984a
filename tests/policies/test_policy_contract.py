"""What every policy promises; add a builder to POLICIES for a new one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pushcut.errors import UserError
from pushcut.policies import load
from pushcut.policies.base import Policy
from pushcut.policies.flow.policy import FlowMatchingPolicy
from pushcut.policies.noise import DecisionKey, DecisionNoise
from pushcut.policies.small.token_vla import TinyConfig, TinyPolicy
from pushcut.types import Observation
from tests.policies.builders import POLICIES, STATISTICS, noise, observation, tiny

TOKENS = ["tiny", "tiny-without-state", "openvla-oft", "openvla-oft-proprio"]
WHOLE_CHAIN = {
    "flow-two-layer": 2e-5,
    "flow-one-layer": 5e-6,
    "flow-noise": 5e-6,
    "flow-noise-sum": 2e-5,
    "pi05-lerobot-flow-noise": 5e-6,
}
"""Sampled step by step, evaluated in one pass over all steps: equal up to such rounding."""


@pytest.fixture(params=list(POLICIES))
def policy(request) -> Policy:
    return POLICIES[request.param]()


@pytest.mark.parametrize("name", POLICIES)
def test_the_log_ratio_is_zero_before_the_first_update(name):
    policy, obs = POLICIES[name](), observation(8)
    sample = policy.sample(obs, noise(8), "sampled")
    again = policy.evaluate(obs, sample.trace).logprob
    difference = (again.detach() - sample.logprob).abs().max().item()
    assert difference <= WHOLE_CHAIN.get(name, 0.0)


def test_another_batch_size_moves_the_log_ratio_by_rounding_only(policy):
    obs = observation(16)
    sample = policy.sample(obs, noise(16), "sampled")
    rows = np.array([3, 9, 11])
    part = policy.evaluate(obs.select(rows), {k: v[rows] for k, v in sample.trace.items()})
    difference = (part.logprob - sample.logprob[rows]).abs().max().item()
    assert difference < 2e-5  # float32 rounding of matrix products of another shape


def test_a_row_does_not_depend_on_what_it_is_batched_with(policy):
    one, others = observation(1, seed=1), observation(8, seed=2)
    first = Observation.concatenate([one, others.select(range(7))])
    last = Observation.concatenate([others.select(range(7)), one])
    key = DecisionKey(0, 0, 99, 0, 0)
    keys = [DecisionKey(0, 0, i, 0, 0) for i in range(7)]
    a = policy.sample(first, DecisionNoise([key, *keys]), "sampled")
    b = policy.sample(last, DecisionNoise([*keys, key]), "sampled")
    assert torch.equal(a.actions[0], b.actions[7])
    assert torch.equal(a.logprob[0], b.logprob[7])


def test_samples_follow_their_stream_and_nothing_else(policy):
    obs = observation(8)
    again = policy.sample(obs, noise(8), "sampled").actions
    assert torch.equal(policy.sample(obs, noise(8), "sampled").actions, again)
    assert not torch.equal(policy.sample(obs, noise(8, decision=1), "sampled").actions, again)


@pytest.mark.parametrize("name", TOKENS)
def test_greedy_actions_of_tokens_do_not_depend_on_the_noise(name):
    policy, obs = POLICIES[name](), observation(8)
    first = policy.sample(obs, noise(8), "greedy").actions
    assert torch.equal(policy.sample(obs, noise(8, decision=1), "greedy").actions, first)


@pytest.mark.parametrize("name", [name for name in POLICIES if name.startswith(("tiny", "flow"))])
def test_actions_lie_within_the_demonstrated_quantiles(name):
    policy = POLICIES[name]()
    actions = policy.sample(observation(8), noise(8), "sampled").actions
    low, high = torch.tensor(STATISTICS["action"].q01), torch.tensor(STATISTICS["action"].q99)
    assert bool(((actions >= low - 1e-6) & (actions <= high + 1e-6)).all())
    assert actions.shape == (8, 4, 3)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("tiny", 150),
        ("tiny-without-state", 150),
        pytest.param("flow-hybrid", 1000, marks=pytest.mark.slow),
    ],
)
def test_behaviour_cloning_learns_a_chunk_and_ignores_invalid_steps(name, steps):
    policy, obs = POLICIES[name](), observation(8)
    target = torch.rand(8, 4, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1
    target[..., 2] = 0
    valid = torch.ones(8, 4, dtype=torch.bool)
    valid[:, 2:] = False
    garbage = target.clone()
    garbage[:, 2:] = 1
    loss, _ = policy.bc_loss(obs, target, valid, np.random.default_rng(0))
    same, _ = policy.bc_loss(obs, garbage, valid, np.random.default_rng(0))
    assert torch.equal(loss, same)
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    generator = np.random.default_rng(0)
    for _ in range(steps):
        loss, _ = policy.bc_loss(obs, target, valid, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    learned = policy.sample(obs, noise(8), "greedy").actions
    # Actions span 2, 4 and 0; saying 0 everywhere would be off by 0.3 on average.
    assert float((learned - target)[:, :2].abs().mean()) < 0.1


def test_a_saved_policy_acts_the_same(policy, tmp_path):
    obs = observation(8)
    policy.save_pretrained(tmp_path / "p")
    loaded = load(tmp_path / "p")
    if isinstance(loaded, FlowMatchingPolicy):
        loaded.explore(policy.denoising)
    want = policy.sample(obs, noise(8), "greedy")
    got = loaded.sample(obs, noise(8), "greedy")
    assert torch.equal(got.actions, want.actions)
    assert torch.equal(got.logprob, want.logprob)


def test_the_default_tiny_policy_has_about_2_4_million_parameters():
    policy = TinyPolicy.for_data(
        TinyConfig(), statistics=STATISTICS, instructions=["press the button"]
    )
    assert 2.0e6 < sum(p.numel() for p in policy.parameters()) < 2.6e6


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "statistics.json"])
def test_a_truncated_file_is_named(tmp_path, file):
    tiny().save_pretrained(tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=file):
        load(tmp_path)


def edit(path: Path, **fields: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | fields))


def test_statistics_of_another_robot_are_refused(tmp_path):
    tiny().save_pretrained(tmp_path)
    edit(tmp_path / "statistics.json", state_mean=[0.0] * 9, state_std=[1.0] * 9)
    with pytest.raises(UserError, match=r"state and action sizes \(9, 3\)"):
        load(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path):
    tiny().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["config"]["bins"] = 32
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"head.project.*config.json says"):
        load(tmp_path)


def test_a_folder_without_a_policy_says_what_was_expected(tmp_path):
    with pytest.raises(UserError, match=r"expected a folder with config.json"):
        load(tmp_path / "nothing")
