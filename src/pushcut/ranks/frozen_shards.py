"""Shards of what is never trained: written once, and hard-linked into a run's later checkpoints."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard

SAMPLES = 64
"""Numbers of each tensor that a name is made of."""

STRIDE = 7919
"""So far apart are the columns of those numbers; a prime, so that they differ."""


@dataclass(frozen=True)
class FrozenShards:
    """The files of frozen weights in the folder of a sharded checkpoint."""

    name: str
    """Made of the content, whatever the number of ranks."""
    nbytes: int
    """Bytes of the weights, without headers."""

    @staticmethod
    def of(tensors: Mapping[str, Tensor], largest: Callable[[Tensor], Tensor]) -> FrozenShards:
        """Names weights of which each rank has a part; ``largest``: of all ranks' numbers."""
        names = sorted(tensors)
        seen = largest(torch.cat([own_samples(tensors[name]) for name in names]))
        found = hashlib.sha256(seen.numpy().tobytes())
        for name in names:
            tensor = tensors[name]
            found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        nbytes = sum(tensors[name].numel() * tensors[name].dtype.itemsize for name in names)
        return FrozenShards(f"frozen-{found.hexdigest()[:12]}", nbytes)

    def link(self, folder: Path) -> bool:
        """Puts the files of an earlier checkpoint into one that is on its way, where there are any.

        Hard links, or copies where the file system has none. ``folder``: of the shards, inside the
        folder of the checkpoint.
        """
        for earlier in sorted(folder.parent.parent.glob(f"[0-9]*/{folder.name}"), reverse=True):
            if files := self._all_in(earlier):
                folder.mkdir(parents=True, exist_ok=True)
                for file in files:
                    try:
                        os.link(file, folder / file.name)
                    except OSError:  # another file system, or one without hard links
                        shutil.copyfile(file, folder / file.name)
                return True
        return False

    def _all_in(self, folder: Path) -> list[Path]:
        """The files in a folder; none where some are missing or cut off."""
        files = sorted(folder.glob(f"{self.name}-*.safetensors"))
        count = f"-of-{len(files):05d}.safetensors"
        whole = all(file.name.endswith(count) for file in files)
        size = sum(file.stat().st_size for file in files)
        return files if whole and size > self.nbytes else []

    def rename(self, files: list[Path]) -> None:
        """Gives files that were just written the names by which they are found."""
        for number, file in enumerate(files, start=1):
            name = f"{self.name}-{number:05d}-of-{len(files):05d}.safetensors"
            file.chmod(0o444)  # whoever changed it would change all checkpoints
            file.rename(file.with_name(name))


def own_samples(tensor: Tensor) -> Tensor:
    """Some numbers of a tensor, spread over its rows; -inf for rows that this rank lacks."""
    rows = tensor.shape[0] if tensor.dim() else 1
    width = max(1, tensor.numel() // max(1, rows))
    chosen = torch.arange(0, rows, max(1, rows // SAMPLES))[:SAMPLES, None]
    each = min(width, -(-SAMPLES // max(1, len(chosen))))
    columns = (chosen * STRIDE + torch.arange(each) * (width // each)) % width
    places = ((chosen - first_row(tensor)) * width + columns).reshape(-1)
    found = torch.full(places.shape, -torch.inf, dtype=torch.float64)
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    here = (places >= 0) & (places < local.numel())
    flat = local.detach().reshape(-1)
    found[here] = flat[places[here].to(flat.device)].to("cpu", torch.float64)
    return found


def first_row(tensor: Tensor) -> int:
    """The row of the whole tensor at which this rank's part begins."""
    if not isinstance(tensor, DTensor):
        return 0
    mesh = tensor.device_mesh
    for axis, placement in enumerate(tensor.placements):
        if isinstance(placement, Shard):
            assert placement.dim == 0
            return -(-tensor.shape[0] // mesh.size(axis)) * mesh.get_local_rank(axis)
    return 0
