"""Sharded weights: each rank holds a part, gathered where they are computed (FSDP2)."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator
from inspect import isfunction
from typing import Any, TypeVar

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

from pushcut.batch import Evaluation
from pushcut.ranks.shard_files import sharded_like
from pushcut.weights import ParameterDtype, ParameterDtypes

T = TypeVar("T")

# FSDP gathers weights again when the gradient reaches what a call returned. It looks for tensors
# there: torch 2.13 in dataclasses too, torch 2.11 only in what is registered.
torch.export.register_dataclass(Evaluation)

CALLS = ("sample", "evaluate", "bc_loss")
"""Methods of a policy for which its weights are gathered."""

FOR_ROOT = "small_layers_of_blocks"
"""Name of a list that a policy has while its root unit is made."""

# Log-probabilities and chains must not be rounded on their way in.
AS_KEPT = MixedPrecisionPolicy(cast_forward_inputs=False)
HALVED = MixedPrecisionPolicy(
    param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
)


SMALL = 2**16
"""Most elements of a layer that is not worth a message of its own: norms, scales."""

GRADIENT_BYTES = 4
"""Bytes of a trained weight's gradient while it waits to be summed: float32."""


class Shards:
    """Shards modules over the ranks: over all, or over groups that hold all weights each."""

    def __init__(self, ranks: int, over: int = 0, *, gpu: int | None, sum_once_gb: float) -> None:
        """Lays out the ranks.

        Args:
            ranks: How many there are.
            over: The size of a group of neighbours; 0 for all.
            gpu: Number of this rank's GPU; None on CPUs.
            sum_once_gb: Gradients of at most so many GB wait, whole, for a step's last micro-batch.
        """
        over = over or ranks
        shape = (ranks,) if over == ranks else (ranks // over, over)
        names = None if over == ranks else ("copies", "parts")
        with _as_local_rank(gpu):
            self._mesh: DeviceMesh = init_device_mesh(
                "cpu" if gpu is None else "cuda", shape, mesh_dim_names=names
            )
        self._sum_once_bytes = sum_once_gb * 1e9
        self._trained: list[FSDPModule] = []

    def shard(self, policy: nn.Module, types: ParameterDtypes) -> None:
        """Leaves each rank with its part of every parameter, frozen ones too.

        The elements of module lists (a transformer's blocks) are gathered one after another
        when they are computed, all else for the whole of a call: also the small layers of blocks
        that use all digits where the rest is halved, for each would be a message of its own.
        """
        # Which of our methods return views was looked at: nobody changes them in place.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        names = {module: name for name, module in policy.named_modules()}
        trained = sum(p.numel() for p in policy.parameters() if p.requires_grad)
        # Some of what is in no block is read outside of the layers that hold it: as it is kept.
        kept = {name: ParameterDtype(its.kept, its.kept) for name, its in types.items()}
        # A unit's trained weights must have one dtype: the root takes float32 in where it has no
        # other.
        small = [] if trained_outside_blocks(policy, kept) <= {torch.float32} else None
        for block in blocks(policy):
            self._shard_unit(block, part_of(types, names[block]), small)
            for name in public_methods(block):
                register_fsdp_forward_method(block, name)
        # Only for as long as FSDP looks for what no unit has: it passes over whole blocks.
        policy.add_module(FOR_ROOT, nn.ModuleList(small or []))
        self._shard_unit(policy, kept, None)
        delattr(policy, FOR_ROOT)
        assert isinstance(policy, FSDPModule)
        if 0 < trained * GRADIENT_BYTES <= self._sum_once_bytes:
            self._trained.append(policy)
        for name in CALLS:
            register_fsdp_forward_method(policy, name)
        for part in policy.modules():
            part.register_load_state_dict_pre_hook(take_own_part)

    def _shard_unit(
        self, unit: nn.Module, types: ParameterDtypes, small: list[nn.Module] | None
    ) -> None:
        """Shards one module whose weights are gathered together.

        Where bfloat16 is trained or is what trained weights are read in, half the bytes are
        gathered. Layers that use all digits are then gathered by themselves; small ones are added
        to ``small``, where there is such a list, and left to the root.
        """
        exact: list[nn.Module] = []
        halved = False
        for path, layer in own_layers(unit).items():
            if layer in (small or ()):  # of a block inside this one
                continue
            own = part_of(types, path)
            for name, parameter in layer.named_parameters(recurse=False):
                its = own.get(name, ParameterDtype(parameter.dtype, parameter.dtype))
                parameter.data = self._own_rows(parameter.data, its.kept)
                halved |= parameter.requires_grad and its.read == torch.bfloat16
                if its.read == torch.float32 and layer not in exact:
                    exact.append(layer)
        precision = HALVED if halved and unit not in exact else AS_KEPT
        for layer in exact if precision is HALVED else ():
            if small is not None and elements(layer) <= SMALL:
                small.append(layer)
            else:
                self._fully_shard(layer, AS_KEPT, small)
        self._fully_shard(unit, precision, small)

    @torch.no_grad()
    def _own_rows(self, whole: Tensor, dtype: torch.dtype) -> Tensor:
        """A tensor of the same shape in which only the rows of this rank have their values.

        FSDP takes those and no others: where weights are views of files, the rest is not read, and
        memory that nobody touches costs the host nothing.
        """
        own = torch.empty(whole.shape, dtype=dtype, device=self._mesh.device_type)
        axis = self._mesh.ndim - 1
        parts, number = self._mesh.size(axis), self._mesh.get_local_rank(axis)
        places, rows = own.chunk(parts), whole.chunk(parts)
        if number < len(rows):  # small ones are in fewer parts
            places[number].copy_(rows[number])
        return own

    def _fully_shard(
        self, unit: nn.Module, precision: MixedPrecisionPolicy, small: list[nn.Module] | None
    ) -> None:
        left = {p for layer in small or () for p in layer.parameters(recurse=False)}
        fully_shard(unit, mesh=self._mesh, mp_policy=precision, ignored_params=left or None)

    def summed_once(self, parts: Iterable[T], count: int) -> Iterator[T]:
        """The micro-batches of an optimiser step, whose gradients are summed after the last.

        They are counted, not looked ahead at: a part may take random numbers where the one before
        left off.
        """
        number = 0
        for number, part in enumerate(parts, start=1):
            self._sum_after_backward(number == count)
            yield part
        if number != count:  # gradients would be lost, or summed too often
            raise RuntimeError(f"{number} micro-batches of {count}")

    def _sum_after_backward(self, now: bool) -> None:
        for module in self._trained:
            module.set_requires_gradient_sync(now)

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


@contextlib.contextmanager
def _as_local_rank(gpu: int | None) -> Iterator[None]:
    """Lets torch's device mesh find this rank's GPU where it looks for its number."""
    before = os.environ.get("LOCAL_RANK")
    if gpu is None or before is None:
        yield
        return
    os.environ["LOCAL_RANK"] = str(gpu)
    try:
        yield
    finally:
        os.environ["LOCAL_RANK"] = before


def trained_outside_blocks(policy: nn.Module, types: ParameterDtypes) -> set[torch.dtype]:
    """Dtypes in which trained weights that are in no block are kept."""
    inside = {parameter for block in blocks(policy) for parameter in block.parameters()}
    return {
        types[name].kept if name in types else parameter.dtype
        for name, parameter in policy.named_parameters()
        if parameter.requires_grad and parameter not in inside
    }


def elements(layer: nn.Module) -> int:
    """Number of elements of a layer's own parameters."""
    return sum(parameter.numel() for parameter in layer.parameters(recurse=False))


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
