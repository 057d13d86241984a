"""What every policy promises; add a builder to POLICIES for a new one."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pushcut.errors import UserError
from pushcut.policies import load
from pushcut.policies.base import Policy
from pushcut.policies.flow.policy import FlowMatchingPolicy
from pushcut.policies.flow.transitions import Denoising
from pushcut.policies.noise import DecisionKey, DecisionNoise
from pushcut.policies.normalisation import small_stats
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.small.flow_vla import FlowConfig, FlowPolicy
from pushcut.policies.small.token_vla import TinyConfig, TinyPolicy
from pushcut.types import Observation
from tests.policies.released.folders import (
    OPENVLA,
    PI0,
    write_lerobot,
    write_openpi,
    write_openvla,
)

STATISTICS = small_stats(
    action_low=(-1.0, -2.0, 0.0),
    action_high=(1.0, 2.0, 0.0),
    state_mean=(0.5, 0.5),
    state_std=(0.1, 0.2),
)


def tiny(*, use_state: bool = True, cameras: tuple[str, ...] = ("top",)) -> TinyPolicy:
    torch.manual_seed(0)
    config = TinyConfig(
        cameras=cameras, image_size=32, width=32, depth=2, heads=2, bins=16, chunk=4,
        use_state=use_state,
    )  # fmt: skip
    policy = TinyPolicy.for_data(
        config, statistics=STATISTICS, instructions=["push the red block", "open the door"]
    )
    # An untrained head is nearly uniform; make the distribution worth testing.
    torch.nn.init.normal_(policy.head.project.weight, std=0.5)
    return policy.eval()


def flow(
    *, keeps_prefix: bool = False, cameras: tuple[str, ...] = ("top",), **denoising: Any
) -> FlowPolicy:
    torch.manual_seed(0)
    config = FlowConfig(
        cameras=cameras, image_size=32, width=32, depth=2, heads=2, expert_width=24, chunk=4
    )
    policy = FlowPolicy.for_data(
        config, statistics=STATISTICS, instructions=["push the red block", "open the door"]
    )
    policy.explore(Denoising(**denoising))
    policy.keeps_prefix = keeps_prefix
    return policy.eval()


def released(write: Callable[[Path], Path], **denoising: Any) -> Policy:
    """A tiny checkpoint in a layout of others."""
    with tempfile.TemporaryDirectory() as folder:
        config = ReleasedConfig(cameras=("top",), image_size=32, chunk=4)
        policy = load(write(Path(folder) / "p"), config)
    if denoising:
        assert isinstance(policy, FlowMatchingPolicy)
        policy.explore(Denoising(**denoising))
    return policy


PI05 = replace(PI0, pi05=True)

POLICIES: dict[str, Callable[[], Policy]] = {
    "tiny": tiny,
    "tiny-without-state": lambda: tiny(use_state=False),
    "tiny-without-cameras": lambda: tiny(cameras=()),
    "flow-hybrid": flow,
    "flow-without-cameras": lambda: flow(cameras=()),
    "flow-kept-prefix": lambda: flow(keeps_prefix=True),
    "flow-one-step": lambda: flow(num_steps=1),
    "flow-last-step-exact": lambda: flow(last_step_noise=False),
    "flow-two-layer": lambda: flow(mdp="two-layer"),
    "flow-one-layer": lambda: flow(mdp="one-layer"),
    "flow-noise": lambda: flow(noise="flow-noise"),
    "flow-noise-hybrid": lambda: flow(noise="flow-noise", mdp="hybrid"),
    "flow-noise-sum": lambda: flow(noise="flow-noise", chain_reduction="sum"),
    "flow-cps": lambda: flow(noise="flow-cps"),
    "openvla-oft": lambda: released(write_openvla),
    "openvla-oft-proprio": lambda: released(
        lambda path: write_openvla(path, replace(OPENVLA, proprio_dim=2))
    ),
    "pi0-openpi": lambda: released(write_openpi),
    "pi0-lerobot": lambda: released(write_lerobot, num_steps=2),
    "pi05-openpi": lambda: released(lambda path: write_openpi(path, PI05)),
    "pi05-lerobot-flow-noise": lambda: released(
        lambda path: write_lerobot(path, PI05), noise="flow-noise", num_steps=3
    ),
}

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


def observation(n: int, seed: int = 0) -> Observation:
    generator = np.random.default_rng(seed)
    return Observation(
        images={"top": generator.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)},
        state=generator.random((n, 2), dtype=np.float32),
        instruction=[["push the red block", "open the door"][i % 2] for i in range(n)],
    )


def noise(n: int, decision: int = 0) -> DecisionNoise:
    return DecisionNoise([DecisionKey(0, 0, i, 0, decision) for i in range(n)])


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
