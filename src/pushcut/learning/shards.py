"""What sharded checkpoints hold of policies and optimisers, under names that no rank matters to."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pushcut.learning.learner import Learner
from pushcut.learning.optimiser import counts_on_gpu
from pushcut.policies.base import Policy
from pushcut.ranks.shard_files import other_names, read_shards, shard_shapes


def training_tensors(learner: Learner) -> dict[str, Tensor]:
    """Weights and optimiser state under names that do not depend on who holds them."""
    return policy_tensors(learner.policy) | optimizer_tensors(learner)


def policy_tensors(policy: Policy) -> dict[str, Tensor]:
    """The weights of a policy as shards name them, each once."""
    tied = other_names(policy)
    return {f"policy.{name}": x for name, x in policy.state_dict().items() if name not in tied}


def optimizer_tensors(learner: Learner) -> dict[str, Tensor]:
    """The state of the optimiser, by the names of the weights."""
    return {
        f"optimizer.{name}.{key}": value
        for name, parameter in learner.policy.named_parameters()
        for key, value in learner.optimizer.state.get(parameter, {}).items()
    }


def frozen_in_shards(policy: Policy) -> set[str]:
    """Names in shards of what is never trained."""
    return {f"policy.{name}" for name, x in policy.named_parameters() if not x.requires_grad}


def load_sharded(folder: Path, learner: Learner) -> None:
    """Restores a sharded checkpoint."""
    beside, shapes = counts_on_gpu(learner.optimizer), shard_shapes(folder)
    for name, parameter in learner.policy.named_parameters():
        start = f"optimizer.{name}."
        learner.optimizer.state[parameter] = {
            key.removeprefix(start): torch.zeros_like(parameter)
            if shape == parameter.shape
            else torch.zeros(shape, device=parameter.device if beside else "cpu")
            for key, shape in shapes.items()
            if key.startswith(start)
        }
    tensors = optimizer_tensors(learner)
    read_shards(tensors, folder)
    load_policy(folder, learner.policy)


def load_policy(folder: Path, policy: Policy) -> None:
    """Restores the weights of a sharded checkpoint, and the training parts that a policy has."""
    state = policy.state_dict()
    read_shards(policy_tensors(policy), folder)
    policy.load_state_dict(state)
