"""Sharded weights: each rank holds a part, gathered where they are computed (FSDP2)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from inspect import isfunction
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from pushcut.ranks.shard_files import sharded_like

CALLS = ("sample", "evaluate", "bc_loss")
"""Methods of a policy that compute."""


class Shards:
    """Shards modules over all ranks."""

    def __init__(self, ranks: int) -> None:
        kind = "cuda" if torch.cuda.is_available() else "cpu"
        self._mesh = init_device_mesh(kind, (ranks,))

    def shard(self, policy: nn.Module) -> None:
        """Leaves each rank with its part of every parameter, frozen ones too.

        The elements of module lists (a transformer's blocks) are gathered one after another
        when they are computed, all else for the whole of a call.
        """
        # Which of our methods return views was looked at: nobody changes them in place.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        # Log-probabilities and chains must not be rounded on their way in.
        exact = MixedPrecisionPolicy(cast_forward_inputs=False)
        for block in blocks(policy):
            fully_shard(block, mesh=self._mesh, mp_policy=exact)
            for name in public_methods(block):
                register_fsdp_forward_method(block, name)
        fully_shard(policy, mesh=self._mesh, mp_policy=exact)
        for name in CALLS:
            register_fsdp_forward_method(policy, name)
        for part in policy.modules():
            part.register_load_state_dict_pre_hook(take_own_part)

    @contextlib.contextmanager
    def gathered(self, module: nn.Module) -> Iterator[None]:
        """All weights on every rank while open, so that none needs the others to act."""
        parts = [part for part in module.modules() if isinstance(part, FSDPModule)]
        with torch.no_grad():
            for part in parts:
                part.set_reshard_after_forward(False, recurse=False)
                part.unshard()
        try:
            yield
        finally:
            for part in parts:
                part.set_reshard_after_forward(True, recurse=False)
                part.reshard()

    def full(self, tensor: Tensor) -> float:
        """The value of a scalar that the ranks hold in parts."""
        return float(tensor.full_tensor() if isinstance(tensor, DTensor) else tensor)


def take_own_part(
    module: nn.Module, state: dict[str, Any], prefix: str, *arguments: object
) -> None:
    """Before whole weights are loaded into sharded ones: leaves of each this rank's part."""
    for name, parameter in module.named_parameters(recurse=False):
        if (key := prefix + name) in state:
            state[key] = sharded_like(state[key], parameter)


def blocks(module: nn.Module) -> list[nn.Module]:
    """The elements of all module lists, inner ones first."""
    lists = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    return [element for part in reversed(lists) for element in part]


def public_methods(module: nn.Module) -> list[str]:
    """Names of the methods of a module's own classes, by which its weights may be used."""
    own = [kind for kind in type(module).__mro__ if not kind.__module__.startswith("torch.")]
    names = {name for kind in own for name, value in vars(kind).items() if isfunction(value)}
    return sorted(name for name in names if not name.startswith("_") and name != "forward")
