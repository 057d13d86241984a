"""Every kind of policy with its weights in parts computes what it computes whole."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from pushcut.errors import UserError
from pushcut.policies.base import Policy
from pushcut.policies.networks.pi0 import stays_float32
from pushcut.ranks.base import Alone, Ranks
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.start import joined
from tests.policies.test_policy_contract import POLICIES, noise, observation
from tests.policies.test_released_training import READING, READINGS, SOURCES, bfloat16
from tests.ranks.launch import on_ranks

SHARDED = RanksConfig(weights="sharded")
CASES = (
    "tiny", "flow-hybrid", "flow-noise",
    "pi0-frozen", "pi0-trained", "pi0-lora", "pi05-trained", "openvla-proprio", "openvla-lora",
)  # fmt: skip
READ = READINGS | {
    "masters": bfloat16(True),
    "bfloat16": bfloat16(False),
    "masters-recompute": replace(bfloat16(True), recompute=True),
}
BFLOAT16 = (
    "pi0-trained/masters", "pi0-trained/masters-recompute", "pi0-lora/masters",
    "pi05-trained/masters", "openvla/masters", "openvla-lora/masters",
    "pi0-trained/bfloat16", "openvla/bfloat16",
)  # fmt: skip


def make(name: str) -> Policy:
    if name in POLICIES:
        return POLICIES[name]()
    kind, _, reading = name.partition("/")
    with tempfile.TemporaryDirectory() as folder:
        return SOURCES[kind](Path(folder) / "p", READ.get(reading, READING)).load()


def whole(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()


def compute(policy: Policy, ranks: Ranks) -> dict[str, Tensor]:
    """Actions and log-probabilities of a sample, and the gradient of each parameter."""
    with ranks.acting(policy):
        sample = policy.sample(observation(4), noise(4), "sampled")
    policy.zero_grad()
    evaluated = policy.evaluate(observation(4), sample.trace).logprob
    evaluated.sum().backward()
    gradients = {n: whole(p.grad) for n, p in policy.named_parameters() if p.grad is not None}
    computed = {"actions": sample.actions, "sampled": sample.logprob, "evaluated": evaluated}
    return {name: x.detach() for name, x in computed.items()} | gradients


@dataclass
class Seen:
    """What a policy in parts was seen to do."""

    apart: float = 0.0
    """Largest difference from the whole policy, as a share of the largest number of its kind."""
    log_ratio: float = 0.0
    """Of evaluated and sampled log-probabilities, before any update."""
    norm_apart: float = 0.0
    """Relative difference of the gradient's norm, where each rank has half of the decisions."""


def half_the_decisions(policy: Policy, trace: dict[str, Tensor], ranks: Ranks) -> float:
    """The norm of the gradient that the ranks have together."""
    rows = np.array_split(np.arange(4), ranks.count)[ranks.index]
    part = {name: x[rows] for name, x in trace.items()}
    policy.zero_grad()
    loss = policy.evaluate(observation(4).select(rows), part).logprob.sum()
    (loss * ranks.loss_scale()).backward()
    parameters = [p for p in policy.parameters() if p.requires_grad]
    return ranks.norm(torch.nn.utils.clip_grad_norm_(parameters, 1e9))


def look(names: tuple[str, ...], config: RanksConfig) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    with joined(config) as ranks:
        for name in names:
            policy = make(name)
            trace = policy.sample(observation(4), noise(4), "sampled").trace
            want, norm = compute(policy, Alone()), half_the_decisions(policy, trace, Alone())
            ranks.place(policy, policy.weight_types())
            held = sum(p.to_local().numel() for p in policy.parameters() if isinstance(p, DTensor))
            # Blocks are cut along their first dimension, which two divides but for small parts.
            assert 0.45 < held / sum(p.numel() for p in policy.parameters()) < 0.55
            got = compute(policy, ranks)
            assert want.keys() == got.keys()
            assert all(want[key].dtype == got[key].dtype for key in want)
            apart = max(
                float((x - got[key]).abs().max() / x.abs().max().clamp(min=1e-6))
                for key, x in want.items()
            )
            ratio = float((got["evaluated"] - got["sampled"]).abs().max())
            found[name] = Seen(
                apart, ratio, abs(half_the_decisions(policy, trace, ranks) / norm - 1)
            )
    return found


@pytest.fixture(scope="module")
def seen() -> dict[str, Seen]:
    first, second = on_ranks(2, look, CASES + BFLOAT16, SHARDED)
    assert first == second
    return first


@pytest.mark.parametrize("name", CASES + BFLOAT16)
def test_a_policy_in_parts_samples_and_learns_as_a_whole_one(seen, name):
    print(seen[name])
    assert seen[name].apart < (1e-6 if name in BFLOAT16 else 1e-5)


@pytest.mark.parametrize("name", BFLOAT16)
def test_with_gathered_weights_bfloat16_samples_what_it_evaluates_in_parts(seen, name):
    """The same kernels on the same numbers: not even rounding differs."""
    assert seen[name].log_ratio == 0


@pytest.mark.parametrize("name", CASES + BFLOAT16)
def test_ranks_that_learn_from_half_of_the_decisions_have_the_gradient_of_all(seen, name):
    # bfloat16 rounds the gradients of either half: 8 bits each.
    assert seen[name].norm_apart < (1e-2 if name in BFLOAT16 else 1e-5)


def precisions(name: str) -> dict[str, Any]:
    """What a policy's weights are kept in, gathered in, and learn in."""
    with joined(SHARDED) as ranks:
        policy = make(name)
        ranks.place(policy, policy.weight_types())
        kept = {n: p.dtype for n, p in policy.named_parameters()}
        with ranks.acting(policy):
            sample = policy.sample(observation(4), noise(4), "sampled")
            gathered = {n: p.dtype for n, p in policy.named_parameters()}
        optimizer = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad])
        policy.evaluate(observation(4), sample.trace).logprob.sum().backward()
        optimizer.step()
        grads = {n: p.grad.dtype for n, p in policy.named_parameters() if p.grad is not None}
        moments = {x["exp_avg"].dtype for x in optimizer.state.values()}
        after = {n: p.dtype for n, p in policy.named_parameters()}
    return {"kept": kept, "after": after, "gathered": gathered, "grads": grads, "moments": moments}


@pytest.mark.parametrize("name", ["pi0-trained", "openvla"])
def test_masters_stay_float32_and_linear_layers_of_blocks_are_gathered_in_bfloat16(name):
    got, _ = on_ranks(2, precisions, f"{name}/masters")
    policy = make(f"{name}/masters")
    assert got["kept"] == got["after"] == {n: p.dtype for n, p in policy.named_parameters()}
    assert {got["kept"][n] for n in got["grads"]} == set(got["grads"].values()) == {torch.float32}
    assert got["moments"] == {torch.float32}
    linear = {n for n, layer in policy.named_modules() if isinstance(layer, torch.nn.Linear)}
    for parameter, gathered in got["gathered"].items():
        own = parameter.removeprefix("network.")
        in_block = ".layers." in parameter or ".blocks." in parameter
        halved = in_block and parameter.rpartition(".")[0] in linear
        if name.startswith("pi0"):
            halved &= not stays_float32(own)
        was = got["kept"][parameter]
        assert gathered == (torch.bfloat16 if halved else was), parameter


@pytest.fixture(scope="module")
def seen_twice_two() -> dict[str, Seen]:
    """Four ranks: two groups of two, either of which holds all weights."""
    names = ("tiny", "flow-noise", "pi0-trained/masters", "openvla-lora/masters")
    first, *others = on_ranks(4, look, names, replace(SHARDED, shard_over=2))
    assert others == [first] * 3
    return first


def test_groups_that_hold_all_weights_each_compute_and_learn_as_one(seen_twice_two):
    for name, found in seen_twice_two.items():
        assert found.apart < 1e-5
        assert found.norm_apart < (1e-2 if "masters" in name else 1e-5)


def refused(config: RanksConfig) -> str:
    with pytest.raises(UserError) as raised, joined(config):
        pass
    return str(raised.value)


def test_groups_must_divide_the_ranks():
    for said in on_ranks(2, refused, replace(SHARDED, shard_over=3)):
        assert said == "--ranks.shard-over 3 does not divide 2 ranks; 2 would"
    with pytest.raises(ValueError, match="shard_over must be 0 or at least 2, got 1"):
        replace(SHARDED, shard_over=1)
    with pytest.raises(ValueError, match="--ranks.weights sharded"):
        RanksConfig(shard_over=2)
