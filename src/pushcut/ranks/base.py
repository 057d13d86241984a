"""What the program sees of its ranks, and the single process that is all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from pushcut.ranks.group_budget import GroupBudget, LocalGroupBudget
from pushcut.ranks.lockstep import Coordination, Independent
from pushcut.weights import ParameterDtypes

T = TypeVar("T")


@runtime_checkable
class Ranks(Protocol):
    """The processes of one run; each does a part of the same work.

    All ranks must call the methods in the same order. What they return is the same on every
    rank, unless said otherwise.
    """

    index: int
    """Number of this rank, from 0."""
    count: int
    """Number of ranks."""
    local: int
    """Number of this rank on its machine, which is also the number of its GPU."""
    sharded: bool
    """Whether each rank holds a part of the weights; else all hold all of them."""
    reproducible: bool
    """Whether who learns from a decision must not depend on who played it."""

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes the files and talks to the user."""
        ...

    def group_budget(self, wanted: int, limit: int) -> GroupBudget:
        """Hands out numbers of groups, which the ranks share."""
        ...

    def coordination(self) -> Coordination:
        """Whether ranks that play must run the policy at the same time."""
        ...

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums each of the values over the ranks."""
        ...

    def gather(self, value: T) -> list[T]:
        """The value of every rank, by rank; values are pickled."""
        ...

    def exchange(self, outgoing: Sequence[T]) -> list[T]:
        """Sends ``outgoing[r]`` to rank r; returns what each rank sent here, by rank.

        What a rank keeps is not copied, and None costs nothing.
        """
        ...

    def together(self) -> AbstractContextManager[None]:
        """Guards work that may fail on one rank: at its end all ranks raise what one raised."""
        ...

    def place(self, module: nn.Module, types: ParameterDtypes | None = None) -> None:
        """Makes weights equal on all ranks, or shards them.

        ``types``: what precision they are kept and read in.
        """
        ...

    def acting(self, module: nn.Module) -> AbstractContextManager[None]:
        """While open, a rank may call the module without the others and without gradients."""
        ...

    def summed_once(self, parts: Iterable[T], count: int) -> Iterable[T]:
        """The ``count`` micro-batches of a step; shards need not add gradients up after each.

        Each is made when it is its turn.
        """
        ...

    def weights_changed(self, module: nn.Module) -> None:
        """Must be called where somebody else than an optimiser after a backward pass changed them.

        A copy that is still gathered would be used once more.
        """
        ...

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Adds up the gradients of all ranks, after the last backward pass of a step."""
        ...

    def loss_scale(self) -> float:
        """Factor on a loss that makes gradients sums over the ranks."""
        ...

    def norm(self, norm: Tensor) -> float:
        """A norm over parameters that the ranks may hold in parts."""
        ...

    def write_shards(
        self,
        tensors: dict[str, Tensor],
        folder: Path,
        finish: Callable[[], None],
        *,
        frozen: Collection[str] = (),
    ) -> None:
        """Begins to write sharded tensors; ``finish`` is called on one rank, once all have.

        ``frozen``: names of what never changes, whose files are linked from an earlier checkpoint
        where one has them. ``folder`` is one inside the checkpoint's.
        """
        ...

    def wait_for_writes(self) -> None:
        """Waits until the shards that were begun are written."""
        ...

    def close(self) -> None:
        """Leaves the other ranks."""
        ...


class SingleProcess:
    """The only rank of a run in one process."""

    index, count, local, sharded, first = 0, 1, 0, False, True
    reproducible = True

    def group_budget(self, wanted: int, limit: int) -> GroupBudget:
        return LocalGroupBudget(wanted, limit)

    def coordination(self) -> Coordination:
        return Independent()

    def sum(self, values: Sequence[float]) -> list[float]:
        return list(values)

    def gather(self, value: T) -> list[T]:
        return [value]

    def exchange(self, outgoing: Sequence[T]) -> list[T]:
        return list(outgoing)

    def together(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def place(self, module: nn.Module, types: ParameterDtypes | None = None) -> None:
        """All weights are here."""

    def acting(self, module: nn.Module) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def summed_once(self, parts: Iterable[T], count: int) -> Iterable[T]:
        return parts

    def weights_changed(self, module: nn.Module) -> None:
        """No copies are gathered."""

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """All gradients are here."""

    def loss_scale(self) -> float:
        return 1.0

    def norm(self, norm: Tensor) -> float:
        return float(norm)

    def write_shards(
        self,
        tensors: dict[str, Tensor],
        folder: Path,
        finish: Callable[[], None],
        *,
        frozen: Collection[str] = (),
    ) -> None:
        raise NotImplementedError

    def wait_for_writes(self) -> None:
        """Nothing is written in the background."""

    def close(self) -> None:
        """Nothing to leave."""
