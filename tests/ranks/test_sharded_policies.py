"""Every kind of policy with its weights in parts computes what it computes whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from pushcut.algorithms.grpo import GRPO
from pushcut.errors import UserError
from pushcut.learning import checkpoint
from pushcut.learning.checkpoint import Progress
from pushcut.learning.learner import Learner, LearnerConfig
from pushcut.learning.shards import training_tensors
from pushcut.policies.base import Policy
from pushcut.policies.networks.paligemma import stays_float32
from pushcut.policies.pretrained import load_training_parts, save_training_parts
from pushcut.policies.tensor_files import SharedFiles
from pushcut.ranks.base import Ranks, SingleProcess
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.group import check_groups
from pushcut.ranks.start import joined
from tests.learning.builders import rollout_of
from tests.policies.builders import POLICIES, noise, observation
from tests.policies.released.builders import READING, READINGS, SOURCES, bfloat16, disturb
from tests.ranks.launch import free_port, on_ranks

pytestmark = pytest.mark.heavy

SHARDED = RanksConfig(weights="sharded")
GROUPS = replace(SHARDED, shard_over=2)
FLOAT32 = (
    "tiny", "flow-hybrid", "flow-noise",
    "pi0-frozen", "pi0-trained", "pi0-lora", "pi05-trained", "openvla-proprio", "openvla-lora",
)  # fmt: skip
READ = READINGS | {
    "masters": bfloat16(True),
    "bfloat16": bfloat16(False),
    "masters-recompute": replace(bfloat16(True), gradient_checkpointing=True),
}
BFLOAT16 = (
    "pi0-frozen/masters", "pi0-trained/masters-recompute", "pi0-trained/bfloat16",
    "pi0-lora/masters", "pi05-trained/masters", "openvla/masters", "openvla-lora/masters",
)  # fmt: skip
ALGORITHM = GRPO(group_size=2)
LOADED_AGAIN = ("pi05-trained/masters", "openvla-lora/masters")
STORED = "pi0-trained/masters"
IN_GROUPS = ("tiny", "openvla-lora/masters")


def make(name: str, *, in_files: bool = False) -> Policy:
    if name in POLICIES:
        return POLICIES[name]()
    kind, _, reading = name.partition("/")
    with tempfile.TemporaryDirectory() as folder:
        source = SOURCES[kind](Path(folder) / "p", READ.get(reading, READING))
        return source.load(in_files=in_files)


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


def learner_on(policy: Policy, ranks: Ranks, algorithm: GRPO = ALGORITHM) -> Learner:
    config = LearnerConfig(minibatches=2, micro_batch=3)
    return Learner(policy, algorithm, config, seed=0, ranks=ranks)


def learn(learner: Learner, rollout: Any) -> dict[str, float]:
    """Two optimiser steps on seven decisions, which the ranks share."""
    return learner.update(rollout, ALGORITHM.advantages(rollout), iteration=0)


@dataclass
class Seen:
    """What a policy in parts was seen to do."""

    apart: float
    """Largest difference from the whole policy's actions and log-probabilities, as a share of the
    largest number of its kind."""
    gradients_apart: float
    """The same of the gradients."""
    log_ratio: float
    """Of evaluated and sampled log-probabilities, before any update."""
    whole_metrics: dict[str, float]
    metrics: dict[str, float]
    """Of an update, as for the whole policy."""


def look(names: tuple[str, ...], ranks: Ranks) -> dict[str, Seen]:
    return {name: look_at(name, ranks) for name in names}


def look_at(name: str, ranks: Ranks) -> Seen:
    policy, again = make(name), make(name, in_files=True)
    # One has a reference policy, which is sharded too.
    algorithm = replace(ALGORITHM, kl_coefficient=0.1 if name == "openvla-lora/masters" else 0.0)
    want, rollout = compute(policy, SingleProcess()), rollout_of(policy, [2, 1, 3, 1])
    learns = name in BFLOAT16 + IN_GROUPS  # the others do in test_training
    whole_metrics = learn(learner_on(policy, SingleProcess(), algorithm), rollout) if learns else {}
    learner = learner_on(again, ranks, algorithm)
    held = sum(p.to_local().numel() for p in again.parameters() if isinstance(p, DTensor))
    # Blocks are cut along their first dimension, which two divides but for small parts.
    assert 0.45 < held / sum(p.numel() for p in again.parameters()) < 0.55
    got = compute(again, ranks)
    assert want.keys() == got.keys()
    assert all(want[key].dtype == got[key].dtype for key in want)
    apart = {
        key: float((x - got[key]).abs().max() / x.abs().max().clamp(min=1e-6))
        for key, x in want.items()
    }
    outputs = max(apart.pop(key) for key in ("actions", "sampled", "evaluated"))
    log_ratio = float((got["evaluated"] - got["sampled"]).abs().max())
    metrics = learn(learner, rollout) if learns else {}
    return Seen(outputs, max(apart.values()), log_ratio, whole_metrics, metrics)


def precisions(name: str, ranks: Ranks) -> dict[str, Any]:
    """What a policy's weights are kept in, gathered in, and learn in."""
    policy = make(name, in_files=True)
    learner = learner_on(policy, ranks)
    with ranks.acting(policy):
        gathered = {n: p.dtype for n, p in policy.named_parameters()}
    learn(learner, rollout_of(make(name), [2, 1, 3, 1]))
    state = learner.optimizer.state
    return {
        "kept": {n: p.dtype for n, p in policy.named_parameters()},
        "gathered": gathered,
        "learned": {n for n, p in policy.named_parameters() if p in state},
        "moments": {x["exp_avg"].dtype for x in state.values()},
    }


def loaded_again(name: str, ranks: Ranks) -> bool:
    """Whether whole weights that were saved are those of the shards that they are loaded into."""
    policy = make(name)
    disturb(policy)
    with tempfile.TemporaryDirectory() as folder:
        policy.save_shared(Path(folder) / "policy", SharedFiles(Path(folder)))
        save_training_parts(policy, Path(folder) / "parts")
        again = make(name, in_files=True)
        ranks.place(again, again.parameter_dtypes())
        again.load_weights(Path(folder) / "policy")
        load_training_parts(again, Path(folder) / "parts")
    got = {n: whole(p) for n, p in again.named_parameters()}
    return all(torch.equal(p, got[n]) for n, p in policy.named_parameters())


def on_two() -> dict[str, Any]:
    with joined(SHARDED) as ranks:
        return {
            "seen": look(FLOAT32 + BFLOAT16, ranks),
            "precisions": {name: precisions(name, ranks) for name in PRECISE},
            "loaded again": {name: loaded_again(name, ranks) for name in LOADED_AGAIN},
        }


PRECISE = ("pi0-trained/masters", "openvla/masters")


@pytest.fixture(scope="module")
def two() -> dict[str, Any]:
    first, second = on_ranks(2, on_two)
    assert first == second
    return first


@pytest.mark.parametrize("name", FLOAT32 + BFLOAT16)
def test_a_policy_in_parts_samples_and_learns_as_a_whole_one(two, name):
    """To the bit, but for sums of float32 in another order."""
    assert two["seen"][name].apart < 1e-6
    # A bfloat16 has 8 bits, and some processors multiply by another kernel, and so round once
    # otherwise, where gathered weights lie at another address than whole ones.
    assert two["seen"][name].gradients_apart < (2**-7 if name in BFLOAT16 else 1e-6)


@pytest.mark.parametrize("name", BFLOAT16)
def test_with_gathered_weights_bfloat16_samples_what_it_evaluates_in_parts(two, name):
    assert two["seen"][name].log_ratio == 0


@pytest.mark.parametrize("name", ["tiny", *BFLOAT16])
def test_ranks_that_learn_from_their_shares_have_the_losses_and_gradients_of_all(two, name):
    found = two["seen"][name]
    for key in ("loss", "grad_norm", "approx_kl", "entropy"):
        # Gradients of either share are rounded to 8 bits.
        bound = 1e-2 if name in BFLOAT16 else 1e-5
        want = pytest.approx(found.whole_metrics[key], rel=bound, abs=bound)
        assert found.metrics[key] == want, key


@pytest.mark.parametrize("name", PRECISE)
def test_masters_stay_float32_and_linear_layers_of_blocks_are_gathered_in_bfloat16(two, name):
    got, policy = two["precisions"][name], make(name)
    assert got["kept"] == {n: p.dtype for n, p in policy.named_parameters()}
    assert {got["kept"][n] for n in got["learned"]} == got["moments"] == {torch.float32}
    linear = {n for n, layer in policy.named_modules() if isinstance(layer, torch.nn.Linear)}
    for parameter, gathered in got["gathered"].items():
        in_block = ".layers." in parameter or ".blocks." in parameter
        halved = in_block and parameter.rpartition(".")[0] in linear
        if name.startswith("pi0"):
            halved &= not stays_float32(parameter.removeprefix("network."))
        assert gathered == (torch.bfloat16 if halved else got["kept"][parameter]), parameter


@pytest.mark.parametrize("name", LOADED_AGAIN)
def test_whole_weights_are_loaded_into_shards(two, name):
    assert two["loaded again"][name]


@contextmanager
def meeting(ranks: int, port: int, config: RanksConfig) -> Iterator[Ranks]:
    os.environ |= {"WORLD_SIZE": str(ranks), "MASTER_PORT": str(port)}
    with joined(config) as group:
        yield group


def state(learner: Learner) -> dict[str, tuple[torch.dtype, np.ndarray]]:
    """All that a checkpoint holds, in a form that outlives its process."""
    tensors = {name: whole(x) for name, x in training_tensors(learner).items()}
    return {name: (x.dtype, x.float().numpy()) for name, x in tensors.items()}


def store(folder: Path, ranks: Ranks) -> dict[str, Any]:
    learner = learner_on(make(STORED), ranks)
    learn(learner, rollout_of(make(STORED), [2, 1, 3, 1]))
    checkpoint.save(folder, learner, Progress(1), keep=1, ranks=ranks)
    ranks.wait_for_writes()
    return state(learner)


def restore(folder: Path, ranks: Ranks) -> dict[str, Any]:
    learner = learner_on(make(STORED), ranks)
    assert checkpoint.load_newest(folder, learner) == (Progress(1), {})
    return state(learner)


def on_four(folder: Path, ports: tuple[int, ...]) -> dict[str, Any]:
    """As two ranks, as two groups of two, and as two again."""
    two = int(os.environ["RANK"]) < 2
    found: dict[str, Any] = {}
    if two:
        with meeting(2, ports[0], SHARDED) as ranks:
            found["two"] = store(folder / "two", ranks)
    with meeting(4, ports[1], GROUPS) as ranks:
        found["seen"] = look(IN_GROUPS, ranks)
        found["groups"] = store(folder / "groups", ranks)
        found["groups from one"] = restore(folder / "one", ranks)
        found["groups from two"] = restore(folder / "two", ranks)
    if two:
        with meeting(2, ports[2], SHARDED) as ranks:
            found["two from groups"] = restore(folder / "groups", ranks)
    return found


@pytest.fixture(scope="module")
def four(tmp_path_factory) -> dict[str, Any]:
    """Four ranks in two groups, either of which holds all weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    one = store(folder / "one", SingleProcess())
    found, *others = on_ranks(4, on_four, folder, tuple(free_port() for _ in range(3)))
    assert all(other["seen"] == found["seen"] for other in others)
    return found | {"one": one, "one from groups": restore(folder / "groups", SingleProcess())}


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_GROUPS)
def test_groups_that_hold_all_weights_each_compute_and_learn_as_one_rank(four, name):
    found = four["seen"][name]
    assert found.apart < 1e-6
    for key in ("loss", "grad_norm", "approx_kl"):
        bound = 1e-2 if name in BFLOAT16 else 1e-5
        assert found.metrics[key] == pytest.approx(found.whole_metrics[key], rel=bound, abs=bound)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("saved", "read"),
    [
        ("one", "groups from one"),
        ("two", "groups from two"),
        ("groups", "two from groups"),
        ("groups", "one from groups"),
    ],
)
def test_a_checkpoint_of_groups_is_read_by_others_and_the_reverse(four, saved, read):
    assert four[saved].keys() == four[read].keys()
    for name, (dtype, values) in four[saved].items():
        assert dtype == four[read][name][0]
        assert np.array_equal(values, four[read][name][1]), name


def test_groups_must_divide_the_ranks():
    with pytest.raises(UserError, match="--ranks.shard-over 3 does not divide 8 ranks; 2, 4, 8 wo"):
        check_groups(3, rank=1, ranks=8)
    with pytest.raises(ValueError, match="shard_over must be 0 or at least 2, got 1"):
        RanksConfig(weights="sharded", shard_over=1)
    with pytest.raises(ValueError, match="--ranks.weights sharded"):
        RanksConfig(shard_over=2)
