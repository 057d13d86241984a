"""Sharded checkpoints: every rank writes its part in the background, in safetensors files.

On torch.distributed.checkpoint, with its safetensors storage: its default one keeps a pickle.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.tensor import DTensor, distribute_tensor


class ShardWriter:
    """Writes one checkpoint at a time; training goes on meanwhile."""

    def __init__(self, timeout: timedelta) -> None:
        """``timeout``: longest wait for another rank."""
        # Of its own: the ranks' other messages pass at the same time.
        group = dist.new_group(backend="gloo", timeout=timeout)
        assert isinstance(group, dist.ProcessGroup)
        self._group = group
        self._under_way: Future[None] | None = None

    def write(
        self,
        tensors: dict[str, Tensor],
        folder: Path,
        finish: Callable[[], None] | None,
        *,
        apart: Collection[str] = (),
    ) -> None:
        """Copies the tensors and begins to write them; ``finish`` is called once all ranks have.

        Waits for the checkpoint before; raises what went wrong with it.

        Args:
            tensors: By name; each rank has its parts.
            folder: Where the files go.
            finish: None on ranks that have nothing to finish.
            apart: Names of what is in files of its own: those of ``files_apart``.
        """
        self.wait_for_writes()
        places = {name: 2 if name in apart else 1 for name in tensors} if apart else None
        writer = HuggingFaceStorageWriter(str(folder), places, save_distributed=True)
        written: Future[None] = Future()
        self._under_way = written
        saving = async_save(tensors, storage_writer=writer, process_group=self._group)

        def then(saved: Future[object]) -> None:
            try:
                saved.result()
                if finish is not None:
                    finish()
            except BaseException as error:
                written.set_exception(error)
            else:
                written.set_result(None)

        assert isinstance(saving, Future)
        saving.add_done_callback(then)

    def wait_for_writes(self) -> None:
        """Waits until the last checkpoint is written; raises what went wrong."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()


def files_apart(folder: Path) -> list[Path]:
    """The files of what was written ``apart``, by rank."""
    return sorted(folder.glob("shard-*-model-00002-of-00002.safetensors"))


def read_shards(tensors: dict[str, Tensor], folder: Path) -> None:
    """Fills tensors by name from a checkpoint of any number of ranks."""
    reader = HuggingFaceStorageReader(str(folder))
    with warnings.catch_warnings():
        # That a single process reads is what we mean.
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        load(tensors, storage_reader=reader, no_dist=not dist.is_initialized())


def shard_shapes(folder: Path) -> dict[str, torch.Size]:
    """Names and shapes of the tensors in a sharded checkpoint."""
    stored = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {
        name: entry.size
        for name, entry in stored.items()
        if isinstance(entry, TensorStorageMetadata)
    }


def other_names(module: nn.Module) -> set[str]:
    """Names of tied parameters besides the first of each, by which shards hold them."""
    every = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    return every - {name for name, _ in module.named_parameters()}


def local_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def sharded_like(tensor: Tensor, model: Tensor) -> Tensor:
    """Shards a whole tensor, which every rank has, as ``like`` is sharded."""
    if not isinstance(model, DTensor) or isinstance(tensor, DTensor):
        return tensor
    if tensor.shape != model.shape:
        return tensor  # AdamW's step count
    whole = tensor.to(model.device)
    return distribute_tensor(whole, model.device_mesh, model.placements, src_data_rank=None)
