"""What of a policy in parts is gathered together, and how often its gradients are summed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.fsdp import FSDPModule
from torch.utils._pytree import tree_leaves

from pushcut.algorithms.grpo import GRPO
from pushcut.batch import Evaluation
from pushcut.learning.learner import Learner, LearnerConfig
from pushcut.policies.base import Policy
from pushcut.ranks.base import Ranks
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.sharding import blocks
from pushcut.ranks.start import joined
from tests.learning.builders import rollout_of
from tests.policies.released.builders import SOURCES, bfloat16
from tests.ranks.launch import on_ranks
from tests.ranks.sums import counted_sums

pytestmark = pytest.mark.heavy

ALGORITHM = GRPO(group_size=2)
KINDS = {
    "openvla, float32 masters": ("openvla", True),
    "pi0, float32 masters": ("pi0-trained", True),
    "pi0 in bfloat16": ("pi0-trained", False),
}


def make(name: str) -> Policy:
    kind, masters = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        return SOURCES[kind](Path(folder) / "p", bfloat16(masters)).load()


def learned(name: str, ranks: Ranks) -> dict[str, Any]:
    """An update of one optimiser step, two micro-batches on each rank."""
    policy = make(name)
    rollout = rollout_of(policy, [2, 1, 3, 1])
    config = LearnerConfig(minibatches=1, micro_batch=2)
    learner = Learner(policy, ALGORITHM, config, seed=0, ranks=ranks)
    with counted_sums() as sums:
        metrics = learner.update(rollout, ALGORITHM.advantages(rollout), iteration=0)
    return {
        "units": sum(isinstance(part, FSDPModule) for part in policy.modules()),
        "blocks": len(blocks(policy)),
        "names": list(dict(policy.named_parameters())),
        "sums": len(sums),
        "metrics": metrics,
    }


def with_limit(sum_once_gb: float, names: tuple[str, ...]) -> dict[str, Any]:
    with joined(RanksConfig(weights="sharded", sum_once_gb=sum_once_gb), gpus=False) as ranks:
        return {name: learned(name, ranks) for name in names}


@pytest.fixture(scope="module")
def once() -> dict[str, Any]:
    return on_ranks(2, with_limit, 2.0, tuple(KINDS))[0]


@pytest.mark.parametrize("name", KINDS)
def test_norms_and_scales_are_no_units_of_their_own(once, name):
    """Each would be a tiny message in every forward and backward pass."""
    found = once[name]
    if name == "pi0 in bfloat16":  # the root's weights are bfloat16: float32 ones stay apart
        assert found["units"] > found["blocks"] + 1
    else:
        assert found["units"] == found["blocks"] + 1
    assert found["names"] == list(dict(make(name).named_parameters()))


def test_gradients_are_summed_once_a_step_unless_they_are_too_large(once):
    name = "openvla, float32 masters"
    found, each = once[name], on_ranks(2, with_limit, 0.0, (name,))[0][name]
    assert 0 < found["sums"] <= found["units"]
    assert each["sums"] == 2 * found["sums"]  # micro-batches
    for key in ("loss", "grad_norm", "approx_kl", "entropy"):
        assert found["metrics"][key] == pytest.approx(each["metrics"][key], rel=1e-2, abs=1e-2), key


def test_a_limit_of_gradients_must_be_a_size():
    with pytest.raises(ValueError, match="sum_once_gb must be >= 0, got -1"):
        RanksConfig(sum_once_gb=-1.0)


def test_the_tensors_of_an_evaluation_are_found_where_weights_are_gathered_again():
    """FSDP2 of torch 2.11 looks with tree_leaves for what backward passes begin at."""
    logprob, entropy = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    leaves = tree_leaves(Evaluation(logprob, entropy, value=None))
    found = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    assert len(found) == 2
    assert found[0] is logprob
    assert found[1] is entropy
