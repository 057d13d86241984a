"""Sharded weights: each rank holds a part, gathered where they are computed (FSDP2)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from inspect import isfunction
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from pushcut.ranks.shard_files import sharded_like
from pushcut.weights import ParameterDtype, ParameterDtypes

CALLS = ("sample", "evaluate", "bc_loss")
"""Methods of a policy for which its weights are gathered."""

# Log-probabilities and chains must not be rounded on their way in.
AS_KEPT = MixedPrecisionPolicy(cast_forward_inputs=False)
HALVED = MixedPrecisionPolicy(
    param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
)


class Shards:
    """Shards modules over the ranks: over all, or over groups that hold all weights each."""

    def __init__(self, ranks: int, over: int = 0, *, gpus: bool) -> None:
        """``over``: the size of a group of neighbours; 0 for all."""
        kind = "cuda" if gpus else "cpu"
        over = over or ranks
        self._mesh: DeviceMesh = (
            init_device_mesh(kind, (ranks,))
            if over == ranks
            else init_device_mesh(kind, (ranks // over, over), mesh_dim_names=("copies", "parts"))
        )

    def shard(self, policy: nn.Module, types: ParameterDtypes) -> None:
        """Leaves each rank with its part of every parameter, frozen ones too.

        The elements of module lists (a transformer's blocks) are gathered one after another
        when they are computed, all else for the whole of a call.
        """
        # Which of our methods return views was looked at: nobody changes them in place.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        names = {module: name for name, module in policy.named_modules()}
        for block in blocks(policy):
            self._shard_unit(block, part_of(types, names[block]))
            for name in public_methods(block):
                register_fsdp_forward_method(block, name)
        # Some of what is left is read outside of the layers that hold it: as it is kept.
        self._shard_unit(
            policy, {n: ParameterDtype(its.kept, its.kept) for n, its in types.items()}
        )
        for name in CALLS:
            register_fsdp_forward_method(policy, name)
        for part in policy.modules():
            part.register_load_state_dict_pre_hook(take_own_part)

    def _shard_unit(self, unit: nn.Module, types: ParameterDtypes) -> None:
        """Shards one module whose weights are gathered together.

        Where bfloat16 is trained or is what trained weights are read in, half the bytes are
        gathered. Layers that use all digits are then gathered by themselves.
        """
        exact: list[nn.Module] = []
        halved = False
        for path, layer in own_layers(unit).items():
            own = part_of(types, path)
            for name, parameter in layer.named_parameters(recurse=False):
                its = own.get(name, ParameterDtype(parameter.dtype, parameter.dtype))
                parameter.data = parameter.data.to(its.kept)
                halved |= parameter.requires_grad and its.read == torch.bfloat16
                if its.read == torch.float32 and layer not in exact:
                    exact.append(layer)
        if not halved or unit in exact:
            fully_shard(unit, mesh=self._mesh, mp_policy=AS_KEPT)
            return
        for layer in exact:
            fully_shard(layer, mesh=self._mesh, mp_policy=AS_KEPT)
        fully_shard(unit, mesh=self._mesh, mp_policy=HALVED)

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

    def let_go(self, module: nn.Module) -> None:
        """Drops weights that are still gathered: the next call gathers them anew."""
        for part in module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()

    def full(self, tensor: Tensor) -> float:
        """The full value of a scalar of which each rank holds a part."""
        return float(tensor.full_tensor() if isinstance(tensor, DTensor) else tensor)


def take_own_part(
    module: nn.Module, state: dict[str, Any], prefix: str, *arguments: object
) -> None:
    """Cuts whole weights to this rank's part, to be loaded into sharded ones."""
    for name, parameter in module.named_parameters(recurse=False):
        if (key := prefix + name) in state:
            state[key] = sharded_like(state[key], parameter)


def blocks(module: nn.Module) -> list[nn.Module]:
    """The elements of all module lists, inner ones first."""
    lists = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    return [element for part in reversed(lists) for element in part]


def own_layers(unit: nn.Module) -> dict[str, nn.Module]:
    """Modules that hold a unit's parameters, by paths; units inside are sharded already."""
    found = {"": unit} if list(unit.parameters(recurse=False)) else {}
    for name, part in unit.named_children():
        if not isinstance(part, FSDPModule):
            inside = own_layers(part)
            found |= {f"{name}.{path}".removesuffix("."): layer for path, layer in inside.items()}
    return found


def part_of(types: ParameterDtypes, path: str) -> ParameterDtypes:
    """The entries that belong to the module at ``path``, by their names within it."""
    start = f"{path}." if path else ""
    return {name[len(start) :]: its for name, its in types.items() if name.startswith(start)}


def public_methods(module: nn.Module) -> list[str]:
    """Names of the methods of a module's own classes, by which its weights may be used."""
    own = [kind for kind in type(module).__mro__ if not kind.__module__.startswith("torch.")]
    names = {name for kind in own for name, value in vars(kind).items() if isfunction(value)}
    return sorted(name for name in names if not name.startswith("_") and name != "forward")
