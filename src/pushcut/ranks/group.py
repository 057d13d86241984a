"""Ranks on torch.distributed, started by torchrun or Ray."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from pushcut.errors import TOLD, RankLostError, UserError
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.devices import choose_device
from pushcut.ranks.frozen_shards import FrozenShards
from pushcut.ranks.group_budget import GroupBudget
from pushcut.ranks.lockstep import Coordination, Independent, Lockstep, OtherRankFailedError
from pushcut.ranks.lost import lost_by_torch, lost_ranks
from pushcut.ranks.rendezvous import meet
from pushcut.ranks.shard_files import ShardWriter, files_apart
from pushcut.ranks.sharding import Shards
from pushcut.ranks.shared_budget import CLOSED, SharedGroupBudget
from pushcut.system.gpus import gpu_number
from pushcut.weights import ParameterDtypes

T = TypeVar("T")


class ProcessGroup:
    """The ranks of torch.distributed; see ``Ranks`` for what the methods promise."""

    def __init__(self, config: RanksConfig, *, gpus: bool = True) -> None:
        """Meets the other ranks at the address in the environment, which the launcher set."""
        timeout = timedelta(seconds=config.timeout_s)
        self._group_budgets = 0
        with lost_ranks("meet the other ranks"):
            store, self.index, self.count = next(rendezvous("env://", timeout=timeout))
            self.local = gpu_number(self.index)
            gpus = gpus and torch.cuda.is_available()
            device = _take_gpu(self.local) if gpus else None
            store.set_timeout(timeout)
            check_groups(config.shard_over, self.index, self.count)
            name = meet(store, self.index, self.count, config.timeout_s)
            self._store = PrefixStore(name, store)
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if gpus else "gloo",
                store=PrefixStore("group", self._store),
                rank=self.index,
                world_size=self.count,
                timeout=timeout,
                device_id=device,
            )
        if gpus:
            with self.together():
                choose_device("cuda", self.local)
        self.sharded = config.weights == "sharded"
        self.reproducible = config.reproducible
        self._shards = None
        if self.sharded:
            self._shards = Shards(
                self.count,
                config.shard_over,
                gpu=self.local if gpus else None,
                sum_once_gb=config.sum_once_gb,
            )
        self._writer = ShardWriter(timeout) if self.sharded else None
        self._in_step = config.act_in_step
        self._timeout_s = config.timeout_s

    @property
    def first(self) -> bool:
        """Rank 0 writes the files and talks to the user."""
        return self.index == 0

    def group_budget(self, wanted: int, limit: int) -> GroupBudget:
        """A count in the store that the ranks met at."""
        self._group_budgets += 1
        return SharedGroupBudget(
            self._store,
            self._group_budget_key,
            wanted,
            limit,
            rank=self.index,
            ranks=self.count,
            timeout_s=self._timeout_s,
        )

    def coordination(self) -> Coordination:
        """In step, where weights are gathered as they are used."""
        return Lockstep(self.sum) if self._in_step else Independent()

    def sum(self, values: Sequence[float]) -> list[float]:
        total = torch.tensor(values, dtype=torch.float64)
        with lost_ranks("add up numbers"):
            dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: T) -> list[T]:
        values: list[Any] = [None] * self.count
        with lost_ranks("exchange results"):
            dist.all_gather_object(values, value)
        return values

    def exchange(self, outgoing: Sequence[T]) -> list[T]:
        parts = [
            b"" if value is None or rank == self.index else pickle.dumps(value)
            for rank, value in enumerate(outgoing)
        ]
        sizes = torch.tensor([len(part) for part in parts])
        matrix = torch.empty(self.count, self.count, dtype=torch.long)
        with lost_ranks("exchange decisions"):
            dist.all_gather(list(matrix), sizes)
            received = matrix[:, self.index]
            buffer = torch.empty(int(received.sum()), dtype=torch.uint8)
            if matrix.any():  # on any rank: all must take part
                sent = torch.frombuffer(bytearray(b"".join(parts) or b"\0"), dtype=torch.uint8)
                sent = sent[: int(sizes.sum())]
                dist.all_to_all_single(buffer, sent, received.tolist(), sizes.tolist())
        incoming: list[Any] = [
            pickle.loads(part.numpy().tobytes()) if len(part) else None
            for part in buffer.split(received.tolist())
        ]
        incoming[self.index] = outgoing[self.index]
        return incoming

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What one rank raises is raised by all, once all are done."""
        problem: Exception | None = None
        try:
            yield
        except OtherRankFailedError:
            pass  # it says why below
        except RankLostError:
            raise  # the others cannot be told
        except Exception as error:
            problem = error
            if self._group_budgets:  # the others need not wait for what will not be played here
                with lost_ranks("tell of a failure"):
                    self._store.set(self._group_budget_key, CLOSED)
        problems = self.gather(None if problem is None else _picklable(problem))
        theirs = next(((r, error) for r, error in enumerate(problems) if error is not None), None)
        if theirs is None:
            return
        rank, error = theirs
        if problem is None and isinstance(error, UserError):
            problem = type(error)(f"rank {rank}: {error}")
        problem = problem or error
        if not self.first:
            problem.add_note(TOLD)
        raise problem

    def place(self, module: nn.Module, types: ParameterDtypes | None = None) -> None:
        """Shards the weights; replicas start from those of rank 0."""
        if self._shards is not None:
            self._shards.shard(module, types or {})
            return
        with lost_ranks("share the weights"):
            for tensor in [*module.parameters(), *module.buffers()]:
                dist.broadcast(tensor.data, src=0)

    def acting(self, module: nn.Module) -> AbstractContextManager[None]:
        """Gathers sharded weights, unless the ranks act in step."""
        if self._shards is None or self._in_step:
            return contextlib.nullcontext()
        return self._shards.gathered(module)

    def summed_once(self, parts: Iterable[T], count: int) -> Iterable[T]:
        """Leaves gradients of shards unsummed until the last part, where they are small enough."""
        return parts if self._shards is None else self._shards.summed_once(parts, count)

    def weights_changed(self, module: nn.Module) -> None:
        if self._shards is not None:
            self._shards.let_go(module)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Adds up the gradients of replicas; those of shards were added in the backward pass."""
        if self.sharded:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        with lost_ranks("add up gradients"):
            for group in _buckets(gradients):
                flat = torch.cat([gradient.flatten() for gradient in group])
                dist.all_reduce(flat)
                sizes = [gradient.numel() for gradient in group]
                for gradient, total in zip(group, flat.split(sizes), strict=True):
                    gradient.copy_(total.view_as(gradient))

    def loss_scale(self) -> float:
        return float(self.count) if self.sharded else 1.0

    def norm(self, norm: Tensor) -> float:
        return float(norm) if self._shards is None else self._shards.full(norm)

    @property
    def _group_budget_key(self) -> str:
        return f"groups/{self._group_budgets}"

    def write_shards(
        self,
        tensors: dict[str, Tensor],
        folder: Path,
        finish: Callable[[], None],
        *,
        frozen: Collection[str] = (),
    ) -> None:
        """Every rank writes its part; the first links what is there already, and finishes."""
        assert self._writer is not None
        ending = finish
        if frozen:
            shared = FrozenShards.of({name: tensors[name] for name in frozen}, self._largest)
            with self.together():
                linked = self.first and shared.link(folder)
            if self.gather(linked)[0]:
                tensors = {name: x for name, x in tensors.items() if name not in frozen}
                frozen = ()
            else:

                def ending() -> None:
                    shared.rename(files_apart(folder))
                    finish()

        self._writer.write(tensors, folder, ending if self.first else None, apart=frozen)

    def _largest(self, numbers: Tensor) -> Tensor:
        """The largest of all ranks' numbers at each place."""
        with lost_ranks("name frozen weights"):
            dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return numbers

    def wait_for_writes(self) -> None:
        if self._writer is not None:
            with lost_by_torch("write a checkpoint"):
                self._writer.wait_for_writes()

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()


def _take_gpu(number: int) -> torch.device | None:
    """Makes a GPU this process's own, before torch asks for one or opens another.

    Returns what a process group is bound to: None where torch refuses it, or has fewer GPUs, which
    is said once the others can be told.
    """
    if number >= torch.cuda.device_count():
        return None
    torch.cuda.set_device(number)
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or accelerator.type != "cuda":
        return None
    return torch.device("cuda", number)


def check_groups(shard_over: int, rank: int, ranks: int) -> None:
    """Raises UserError unless the ranks divide into groups of that size."""
    if shard_over and ranks % shard_over:
        fitting = ", ".join(str(size) for size in range(2, ranks + 1) if ranks % size == 0)
        error = UserError(
            f"--ranks.shard-over {shard_over} does not divide {ranks} ranks; {fitting} would"
        )
        if rank:
            error.add_note(TOLD)
        raise error


def _picklable(error: Exception) -> Exception:
    """The error; one with its text where it cannot be pickled."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RankLostError(f"another rank failed: {type(error).__name__}: {error}")


def _buckets(tensors: Sequence[Tensor], size: int = 2**24) -> Iterator[list[Tensor]]:
    """Splits tensors into lists of one dtype and device, about ``size`` elements each."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        alike = bucket and (tensor.dtype, tensor.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and (not alike or sum(x.numel() for x in bucket) + tensor.numel() > size):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
