"""Every kind of policy with its weights in parts computes what it computes whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from torch import Tensor
from torch.distributed.tensor import DTensor

from pushcut.policies.base import Policy
from pushcut.ranks.base import Alone, Ranks
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.start import joined
from tests.policies.test_policy_contract import POLICIES, noise, observation
from tests.policies.test_released_training import READINGS, SOURCES
from tests.ranks.launch import on_ranks

CASES = (
    "tiny", "flow-hybrid", "flow-noise",
    "pi0-frozen", "pi0-trained", "pi0-lora", "pi05-trained", "openvla-proprio", "openvla-lora",
)  # fmt: skip
BFLOAT16 = tuple(f"{name}-bfloat16" for name in ("pi0-trained", "pi0-lora", "openvla-lora"))


def make(name: str) -> Policy:
    if name in POLICIES:
        return POLICIES[name]()
    reading = "bfloat16" if name in BFLOAT16 else "float32"
    with tempfile.TemporaryDirectory() as folder:
        source = SOURCES[name.removesuffix("-bfloat16")]
        return source(Path(folder) / "p", READINGS[reading]).load()


def compute(policy: Policy, ranks: Ranks) -> list[Tensor]:
    """Actions and log-probabilities of a sample, and the gradient of each parameter."""
    with ranks.acting(policy):
        sample = policy.sample(observation(4), noise(4), "sampled")
    policy.zero_grad()
    evaluated = policy.evaluate(observation(4), sample.trace).logprob
    evaluated.sum().backward()
    gradients = [p.grad for p in policy.parameters() if p.grad is not None]
    whole = [g.full_tensor() if isinstance(g, DTensor) else g for g in gradients]
    return [sample.actions, sample.logprob, evaluated.detach(), *whole]


def differences(names: tuple[str, ...]) -> dict[str, float]:
    """Largest difference from the whole policy, as a share of the largest number of its kind."""
    found: dict[str, float] = {}
    with joined(RanksConfig(weights="sharded")) as ranks:
        for name in names:
            policy = make(name)
            whole = compute(policy, Alone())
            ranks.place(policy)
            held = sum(p.to_local().numel() for p in policy.parameters() if isinstance(p, DTensor))
            # Blocks are cut along their first dimension, which two divides but for small parts.
            assert 0.45 < held / sum(p.numel() for p in policy.parameters()) < 0.55
            parts = compute(policy, ranks)
            found[name] = max(
                float((a - b).abs().max() / a.abs().max().clamp(min=1e-6))
                for a, b in zip(whole, parts, strict=True)
            )
    return found


@pytest.fixture(scope="module")
def apart() -> dict[str, float]:
    first, second = on_ranks(2, differences, CASES + BFLOAT16)
    assert first == second
    return first


@pytest.mark.parametrize("name", CASES + BFLOAT16)
def test_a_policy_in_parts_samples_and_learns_as_a_whole_one(apart, name):
    assert apart[name] < (2e-2 if name in BFLOAT16 else 1e-5)
