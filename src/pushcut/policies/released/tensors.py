"""Tensors of checkpoints, sharded or not, read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.policies.lora import BASE
from pushcut.policies.pickles import full_weights, plain, read_state
from pushcut.policies.tensor_files import (
    INDEX,
    SINGLE,
    Dtypes,
    SharedFiles,
    Tensors,
    read_index,
    save_weights,
)
from pushcut.system.git_lfs import FETCH, is_pointer
from pushcut.system.machine import memory_bytes
from pushcut.system.progress import count, say
from pushcut.weights import ParameterDtypes

SHARD_BYTES = 5_000_000_000
"""Size of a shard, where a folder is written in shards."""

ONLY_TRAINING = ("value_head", "noise_head")
"""Parts of RLinf's policies that do not act: the critic, and Flow-Noise's learnt noise."""

_told: set[Path] = set()
"""Folders of RLinf of which a line has been said."""

NETWORK = "network."
"""How a policy's state names the released network."""

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class TensorFolder:
    """Where each tensor of a checkpoint is; nothing is loaded."""

    path: Path
    files: Mapping[str, Path]
    """Name of a tensor -> its file."""
    shapes: Shapes
    sharded: bool
    stored: Mapping[str, str] | None = None
    """Name of a tensor -> its name in the file, where that is another."""
    loaded: Mapping[str, Tensor] | None = None
    """Tensors by their names in the file, where it is a pickle (memory-mapped)."""

    @staticmethod
    def open(path: Path) -> TensorFolder:
        """Reads the headers; UserError where the folder has no safetensors, or damaged ones."""
        index, single = path / INDEX, path / SINGLE
        if (weights := full_weights(path)) is not None:
            return _read_rlinf(path, weights, instead=index.exists() or single.exists())
        if index.exists():
            names, sharded = read_index(path)
            return _read_headers(path, [path / name for name in names], sharded=sharded)
        if single.exists():
            return _read_headers(path, [single], sharded=False)
        pickles = sorted(path.glob("*.bin")) + sorted(path.glob("model*.pt"))
        if pickles:
            return _read_pickle(path, pickles)
        raise UserError(f"{path} has neither {SINGLE} nor {INDEX}: is the download complete?")

    def renamed(self, rename: Callable[[str], str | None]) -> TensorFolder:
        """The tensors under other names; None leaves one out."""
        names = {name: new for name in self.shapes if (new := rename(name)) is not None}
        return replace(
            self,
            files={new: self.files[old] for old, new in names.items()},
            shapes={new: self.shapes[old] for old, new in names.items()},
            stored={new: self.stored_name(old) for old, new in names.items()},
        )

    def stored_name(self, name: str) -> str:
        """What the file calls a tensor."""
        return name if self.stored is None else self.stored[name]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yields (name, tensor) file by file; a tensor is read when it is its turn."""
        if self.loaded is not None:
            yield from ((name, self.loaded[self.stored_name(name)]) for name in self.files)
            return
        for file in sorted(set(self.files.values())):
            try:
                with safe_open(file, framework="pt") as content:
                    for name in [name for name, at in self.files.items() if at == file]:
                        yield name, content.get_tensor(self.stored_name(name))
            except (SafetensorError, OSError) as error:
                raise UserError(f"{file} is damaged (truncated copy?): {error}") from None


def _read_pickle(path: Path, files: list[Path]) -> TensorFolder:
    """Weights that torch can read without executing anything; UserError for all others."""
    if len(files) > 1:
        raise UserError(
            f"{path} has its weights in {len(files)} pickles ({files[0].name} …): convert them to "
            "safetensors with the program that wrote them"
        )
    loaded = read_state(files[0])
    shapes = {name: tuple(tensor.shape) for name, tensor in loaded.items()}
    return TensorFolder(path, dict.fromkeys(shapes, files[0]), shapes, sharded=False, loaded=loaded)


def _read_rlinf(path: Path, file: Path, *, instead: bool) -> TensorFolder:
    """What RLinf's FSDP trainer saved, without the parts that only train.

    ``instead``: the folder has safetensors too, those that the training began with.
    """
    loaded = read_state(file)
    if adapters := next((name for name in loaded if "lora_" in name), None):
        raise UserError(
            f"{file} holds adapters that are not merged ({adapters}): RLinf's "
            "ckpt_convertor/fsdp_convertor/convert_pt_to_hf.py merges them"
        )
    names = {name: plain(name) for name in loaded}
    parts = {new.partition(".")[0] for new in names.values()} & set(ONLY_TRAINING)
    if path not in _told:
        besides = f", {' and '.join(sorted(parts))} left out: only training needs them"
        say(
            f"{path}: the weights are those of RLinf's {file.name}"
            f"{' and not the safetensors beside it' if instead else ''}{besides if parts else ''}"
        )
    _told.add(path)
    kept = {new: old for old, new in names.items() if new.partition(".")[0] not in parts}
    shapes = {new: tuple(loaded[old].shape) for new, old in kept.items()}
    files = dict.fromkeys(shapes, file)
    return TensorFolder(path, files, shapes, sharded=False, stored=kept, loaded=loaded)


def _read_headers(path: Path, files: list[Path], *, sharded: bool) -> TensorFolder:
    where: dict[str, Path] = {}
    shapes: Shapes = {}
    for file in files:
        if not file.exists():
            raise UserError(f"{file} is missing: is the download complete?")
        if is_pointer(file):
            raise UserError(f"{file} {FETCH}")
        try:
            with safe_open(file, framework="pt") as content:
                for name in content.keys():  # noqa: SIM118 - not a dictionary
                    where[name] = file
                    shapes[name] = tuple(content.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file} is damaged (truncated copy?): {error}") from None
    return TensorFolder(path, where, shapes, sharded)


def count_blocks(shapes: Shapes, start: str) -> int:
    """How many blocks there are whose tensors' names begin with ``start`` and a number."""
    numbers = (int(name[len(start) :].split(".")[0]) for name in shapes if name.startswith(start))
    return 1 + max(numbers, default=-1)


def check_names(
    folder: TensorFolder, wanted: Shapes, *, optional: Collection[str], cause: str
) -> None:
    """Raises UserError that lists tensors that are missing, surplus or of another shape."""
    shapes = [
        f"{name} is {folder.shapes[name]}, expected {wanted[name]}"
        for name in wanted
        if name in folder.shapes and folder.shapes[name] != wanted[name]
    ]
    missing = [f"missing {name}" for name in wanted if name not in {*folder.shapes, *optional}]
    surplus = [f"surplus {name}" for name in folder.shapes if name not in wanted]
    problems = shapes + missing + surplus
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{folder.path} does not fit: {'; '.join(problems[:3])}{more} ({cause})")


def check_host_memory(network: nn.Module, kept: ParameterDtypes, *, path: object) -> None:
    """Raises UserError if weights, in the precision they will be kept in, do not fit here.

    Those that are views of files take no memory yet; the others have it already.
    """
    needed = 0
    for name, parameter in network.named_parameters():
        its = kept[name].kept if name in kept else parameter.dtype
        if its != parameter.dtype or in_file(parameter):
            needed += parameter.numel() * its.itemsize
    memory = memory_bytes()
    if memory is not None and needed > memory[1]:
        raise UserError(
            f"{path} needs {needed / 1e9:.1f} GB of memory, {memory[1] / 1e9:.1f} GB are "
            "free: `pushcut plan PRESET` says what a run takes and what helps"
        )


def released_shapes(network: nn.Module) -> Shapes:
    """Names and shapes of a network's tensors, as if there were no adapters."""
    return {
        name.replace(BASE, "."): tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if ".lora_" not in name
    }


def load_tensors(network: nn.Module, folder: TensorFolder) -> None:
    """Puts the folder's tensors into a network, which may be on ``meta``, in the files' precision.

    A network on ``meta`` then has views of the files, which the system reads when they are used
    and whose memory all processes of a machine share; see ``leave_files``. Names that the network
    lacks (adapted layers) are left out.
    """
    owners = {
        f"{prefix}.{name}" if prefix else name: (module, name)
        for prefix, module in network.named_modules()
        for name, _ in module.named_parameters(recurse=False)
    }
    for name, tensor in folder.tensors():
        if name in owners:
            fill(*owners[name], tensor)
        del tensor  # before the next one is read


def fill(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Gives a parameter its value; it stays the same object unless it is on ``meta``.

    An optimiser may hold it already, and it may be frozen.
    """
    old = module.get_parameter(name)
    if old.is_meta:
        module.register_parameter(name, nn.Parameter(tensor, old.requires_grad))
    else:
        # Knows what to do with weights of which this process holds a part only.
        module.load_state_dict({name: tensor}, strict=False)


def once_stored(
    words: nn.Embedding, head: nn.Linear, omitted: Collection[str], *, names: tuple[str, str]
) -> bool:
    """Whether input and output words are the same, stored once or twice; fills missing input words.

    ``names``: how files call the two.
    """
    if names[0] in omitted:
        fill(words, "weight", head.weight.detach())
    return not set(omitted).isdisjoint(names) or torch.equal(head.weight, words.weight)


def in_file(parameter: Tensor) -> bool:
    """Whether a weight is a view of a file."""
    return not (parameter.is_meta or parameter.untyped_storage().resizable())


def leave_files(network: nn.Module) -> None:
    """Copies weights that are views of files into memory, one after the other."""
    mapped = [parameter for parameter in network.parameters() if in_file(parameter)]
    total, done = sum(parameter.nbytes for parameter in mapped), 0
    for parameter in mapped:
        parameter.data = parameter.data.clone()
        done += parameter.nbytes
        count("loading weights, MB", done // 10**6, total // 10**6)


def save_tensors(
    state: Tensors,
    path: Path,
    *,
    sharded: bool,
    dtypes: Dtypes | None = None,
    frozen: Collection[str] = (),
    shared: SharedFiles | None = None,
) -> None:
    """Writes tensors as one file or as shards with their index; see ``save_weights``."""
    save_weights(
        state,
        path,
        shard_bytes=SHARD_BYTES if sharded else None,
        dtypes=dtypes,
        frozen=frozen,
        shared=shared,
    )
