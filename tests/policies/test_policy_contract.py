"""What every policy promises; add a builder to POLICIES for a new one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pushcut.errors import UserError
from pushcut.policies import load
from pushcut.policies.contract import PROMISES, PolicyCase
from pushcut.policies.normalisation import known
from pushcut.policies.small.token_vla import TinyConfig, TinyPolicy
from pushcut.promises import NotPromisedError, Promise
from tests.policies.builders import POLICIES, STATISTICS, noise, observation, tiny

TOKENS = [
    "tiny",
    "tiny-without-state",
    "tiny-one-query",
    "openvla-oft",
    "openvla-oft-proprio",
    "pi0-fast",
]
WHOLE_CHAIN = {
    "flow-two-layer": 2e-5,
    "flow-one-layer": 5e-6,
    "flow-noise": 5e-6,
    "flow-noise-sum": 2e-5,
    "pi05-lerobot-flow-noise": 5e-6,
    "pi0-fast": 2e-5,
    "groot-lerobot-flow-noise": 5e-6,
    "smolvla-flow-noise": 5e-6,
}
"""Sampled step by step, evaluated in one pass over all steps: equal up to such rounding."""


BOUNDED = tuple(name for name in POLICIES if name.startswith(("tiny", "flow")))
BOUNDS = (known(STATISTICS["action"].q01, "q01"), known(STATISTICS["action"].q99, "q99"))


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
@pytest.mark.parametrize("name", POLICIES)
def test_it_keeps_its_promise(name: str, promise: Promise[PolicyCase]):
    case = PolicyCase(
        POLICIES[name](),
        observation,
        bounds=BOUNDS if name in BOUNDED else None,
        tolerance=WHOLE_CHAIN.get(name, 0.0),
    )
    try:
        promise.check(case)
    except NotPromisedError as nothing:
        assert "promises no bounds" in str(nothing)
        assert name not in BOUNDED


@pytest.mark.parametrize("name", TOKENS)
def test_greedy_actions_of_tokens_do_not_depend_on_the_noise(name):
    policy, obs = POLICIES[name](), observation(8)
    first = policy.sample(obs, noise(8), "greedy").actions
    assert torch.equal(policy.sample(obs, noise(8, decision=1), "greedy").actions, first)


@pytest.mark.parametrize("name", BOUNDED)
def test_an_action_chunk_has_four_steps_of_three_numbers(name):
    actions = POLICIES[name]().sample(observation(8), noise(8), "sampled").actions
    assert actions.shape == (8, 4, 3)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("tiny", 150),
        ("tiny-without-state", 150),
        ("tiny-one-query", 150),
        pytest.param("flow-hybrid", 1000, marks=pytest.mark.slow),
    ],
)
def test_behaviour_cloning_learns_a_chunk(name, steps):
    policy, obs = POLICIES[name](), observation(8)
    target = torch.rand(8, 4, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1
    target[..., 2] = 0
    valid = torch.ones(8, 4, dtype=torch.bool)
    valid[:, 2:] = False
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


def test_the_default_tiny_policy_has_about_2_4_million_parameters():
    policy = TinyPolicy.for_data(
        TinyConfig(), statistics=STATISTICS, instructions=["press the button"]
    )
    assert 2.0e6 < sum(p.numel() for p in policy.parameters()) < 2.6e6


def test_queries_share_the_dimensions_of_a_step():
    # Chunks of 4 steps, 3 dimensions, 16 bins.
    assert tiny().query.shape == (12, 32) and tiny().head.project.out_features == 16
    one = tiny(queries_per_step=1)
    assert one.query.shape == (4, 32) and one.head.project.out_features == 48
    with pytest.raises(UserError, match=r"queries_per_step \(2\) must divide .* \(3\)"):
        tiny(queries_per_step=2)


def test_a_policy_of_0_2_0_is_read_as_it_was(tmp_path):
    policy = tiny()
    policy.save_pretrained(tmp_path)
    description = json.loads((tmp_path / "config.json").read_text())
    for added_since in ("stem_channels", "queries_per_step"):
        del description["config"][added_since]
    (tmp_path / "config.json").write_text(json.dumps(description))
    obs = observation(3)
    read = load(tmp_path)
    assert isinstance(read, TinyPolicy)
    assert torch.equal(read.logits(obs)[0], policy.logits(obs)[0])


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
