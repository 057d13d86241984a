"""Files of weights: written tensor by tensor, in whole or with what never changes in a file apart.

Weights that nobody trains are most of a large policy. The checkpoints of a run share one file of
them by hard links, so that each folder is complete and the disk holds them once.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pushcut.errors import UserError
from pushcut.system.git_lfs import FETCH, is_pointer
from pushcut.system.progress import count

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
TRAINED = "model-trained.safetensors"
"""What is trained, in a folder whose frozen weights are apart."""

LAYOUT = "pushcut_layout"
"""Entry of an index that says how the folder is laid out once it is whole: "single" file, or
"shards"."""

SAMPLES = 64
"""Numbers of each tensor that a name is made of."""

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""How safetensors calls them."""

Dtypes = Mapping[str, torch.dtype]
"""By the name of a tensor; those that are not here are written as they are."""


@dataclass(frozen=True)
class Later:
    """A tensor whose numbers are made when they are written: all at once would fill the memory."""

    shape: torch.Size
    dtype: torch.dtype
    make: Callable[[], Tensor]

    def contiguous(self) -> Later:
        """Itself, as tensors have it."""
        return self


Tensors = Mapping[str, Tensor | Later]
"""By their names in a file."""


@dataclass(frozen=True)
class TensorFile:
    """A safetensors file on its way: tensors, and the precision that each is written in.

    They get to the host and into their precision one at a time.
    """

    tensors: Tensors
    dtypes: Dtypes

    def dtype(self, name: str) -> torch.dtype:
        """What a tensor is written in."""
        return self.dtypes.get(name, self.tensors[name].dtype)

    def size(self, name: str) -> int:
        """Bytes of a tensor in the file."""
        return math.prod(self.tensors[name].shape) * self.dtype(name).itemsize

    @property
    def order(self) -> list[str]:
        """Wide numbers first, so that all are aligned."""
        return sorted(self.tensors, key=lambda name: (-self.dtype(name).itemsize, name))

    def header(self) -> bytes:
        """What stands before the numbers."""
        content: dict[str, object] = {"__metadata__": {"format": "pt"}}
        at = 0
        for name in self.order:
            end = at + self.size(name)
            content[name] = {
                "dtype": DTYPES[self.dtype(name)],
                "shape": list(self.tensors[name].shape),
                "data_offsets": [at, end],
            }
            at = end
        text = json.dumps(content, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return len(self.header()) + sum(map(self.size, self.tensors))

    def digest(self) -> str:
        """A name for the content: of the header and of some numbers of each tensor."""
        found = hashlib.sha256(self.header())
        for name in self.order:
            flat = made(self.tensors[name]).detach().reshape(-1)
            some = flat[:: max(1, flat.numel() // SAMPLES)][:SAMPLES]
            found.update(_bytes(some, self.dtype(name)))
        return found.hexdigest()[:12]

    def write(self, file: Path) -> None:
        """Writes the file anew; says how far it is, where it is large."""
        total, done = self.nbytes, 0
        with file.open("wb") as out:
            out.write(self.header())
            for name in self.order:
                out.write(_bytes(made(self.tensors[name]), self.dtype(name)))
                done += self.size(name)
                count("writing weights, MB", done // 10**6, total // 10**6)


def made(tensor: Tensor | Later) -> Tensor:
    """The tensor with its numbers."""
    return tensor.make() if isinstance(tensor, Later) else tensor


def _bytes(tensor: Tensor, dtype: torch.dtype) -> memoryview:
    flat = tensor.detach().to("cpu", dtype).contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def write_tensors(tensors: Tensors, file: Path, dtypes: Dtypes | None = None) -> None:
    """Writes a safetensors file, one tensor after the other."""
    TensorFile(tensors, dtypes or {}).write(file)


@dataclass(frozen=True)
class SharedFiles:
    """The checkpoints of a run, which share the files of what is frozen."""

    checkpoints: Path

    def place(self, content: TensorFile, folder: Path, kind: str) -> str:
        """Puts a file with this content into a folder; returns its name, which the content makes.

        A hard link to that of an earlier checkpoint; a copy where there are no hard links.
        """
        name = f"{kind}-{content.digest()}.safetensors"
        for earlier in self._earlier(name):
            if earlier.stat().st_size == content.nbytes:
                try:
                    os.link(earlier, folder / name)
                except OSError:  # another file system, or one without hard links
                    shutil.copyfile(earlier, folder / name)
                return name
        content.write(folder / name)
        (folder / name).chmod(0o444)  # whoever changed it would change all checkpoints
        return name

    def has(self, content: TensorFile, kind: str) -> bool:
        """Whether an earlier checkpoint has a file with this content, and it can be linked."""
        return bool(self._earlier(f"{kind}-{content.digest()}.safetensors"))

    def _earlier(self, name: str) -> list[Path]:
        found = [*self.checkpoints.glob(f"[0-9]*/{name}")]
        return [*found, *self.checkpoints.glob(f"[0-9]*/*/{name}")]


def save_weights(
    tensors: Tensors,
    path: Path,
    *,
    shard_bytes: int | None = None,
    dtypes: Dtypes | None = None,
    frozen: Collection[str] = (),
    shared: SharedFiles | None = None,
) -> None:
    """Writes the weights of a policy folder: one file, or shards with their index.

    Args:
        tensors: By their names in the file.
        path: The folder, without weights yet.
        shard_bytes: Size of a shard, for folders that are in shards as large checkpoints of
            transformers are; None: one file.
        dtypes: The precision of the files.
        frozen: Names of what is never trained.
        shared: Who has a file of the frozen ones already. They are in a file of their own then.
    """
    dtypes = dtypes or {}
    apart = {name: x for name, x in tensors.items() if shared is not None and name in frozen}
    own = {name: x for name, x in tensors.items() if name not in apart}
    files: dict[str, Collection[str]] = {}
    if apart and shared is not None:
        name = shared.place(TensorFile(apart, dtypes), path, "frozen")
        files[name] = apart
        if own:
            files[TRAINED] = own
            write_tensors(own, path / TRAINED, dtypes)
    elif shard_bytes is not None:
        shards = _pack(own, dtypes, shard_bytes)
        for number, shard in enumerate(shards, start=1):
            name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            files[name] = shard
            write_tensors(shard, path / name, dtypes)
    else:
        write_tensors(own, path / SINGLE, dtypes)
        return
    whole = TensorFile(tensors, dtypes)
    metadata: dict[str, object] = {"total_size": sum(map(whole.size, tensors))}
    if apart:
        metadata[LAYOUT] = "single" if shard_bytes is None else "shards"
    weight_map = {name: file for file, names in files.items() for name in names}
    index = {"metadata": metadata, "weight_map": weight_map}
    (path / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _pack(tensors: Tensors, dtypes: Dtypes, shard_bytes: int) -> list[dict[str, Tensor | Later]]:
    whole = TensorFile(tensors, dtypes)
    shards: list[dict[str, Tensor | Later]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + whole.size(name) > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += whole.size(name)
    return shards


def read_index(path: Path) -> tuple[list[str], bool]:
    """The files of a folder in several, and whether its layout is shards; UserError if damaged.

    Where only the frozen weights are apart, the layout is one file.
    """
    index = path / INDEX
    try:
        content = json.loads(index.read_text())
        files = sorted(set(map(str, content["weight_map"].values())))
        return files, (content.get("metadata") or {}).get(LAYOUT) != "single"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is not an index of shards: {error!r}") from None


def weight_files(path: Path) -> list[Path]:
    """The files that hold the weights of a policy folder."""
    if (path / INDEX).exists():
        return [path / name for name in read_index(path)[0]]
    return [path / SINGLE]


def in_parts(path: Path) -> bool:
    """Whether a folder has its frozen weights apart, as checkpoints of a run do."""
    if not (path / INDEX).exists():
        return False
    content = json.loads((path / INDEX).read_text())
    return LAYOUT in (content.get("metadata") or {})


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Reads a safetensors file; raises UserError where it is missing or damaged."""
    if not file.exists():
        raise UserError(f"{file} is missing")
    if is_pointer(file):
        raise UserError(f"{file} {FETCH}")
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is damaged (truncated copy?): {error}") from None
