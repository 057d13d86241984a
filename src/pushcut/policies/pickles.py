"""Weights in files of torch.save: read without executing anything, as views of the file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pushcut.errors import UserError

RLINF_WEIGHTS = Path("model_state_dict") / "full_weights.pt"
"""Where RLinf's FSDP trainer writes a model as a whole, in the folder of an actor's step."""

WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
"""What training programs put between the parts of a name."""

NESTED = ("model", "module", "state_dict", "model_state_dict")
"""Keys under which some programs put the weights of a file."""


def full_weights(folder: Path) -> Path | None:
    """RLinf's whole weights in a folder, or in its ``model_state_dict``."""
    places = (folder / RLINF_WEIGHTS.name, folder / RLINF_WEIGHTS)
    return next((file for file in places if file.is_file()), None)


def read_state(file: Path) -> dict[str, Tensor]:
    """Tensors by their names; UserError for a file that holds more, or is damaged."""
    try:
        # Only the newer format, a zip, can be mapped.
        mapped = zipfile.is_zipfile(file)
        loaded: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    # torch.load raises many kinds of errors on damaged and on hostile files.
    except Exception:
        raise _not_tensors(file) from None
    if isinstance(loaded, Mapping):
        nested = [key for key in NESTED if isinstance(loaded.get(key), Mapping)]
        loaded = loaded[nested[0]] if len(loaded) == len(nested) == 1 else loaded
    if not isinstance(loaded, Mapping) or not all(map(torch.is_tensor, loaded.values())):
        raise _not_tensors(file)
    return {str(name): tensor for name, tensor in loaded.items()}


def _not_tensors(file: Path) -> UserError:
    return UserError(
        f"{file.parent} has its weights as a pickle ({file.name}) that holds more than tensors or "
        "is damaged; it could run any code and was not executed: convert it to model.safetensors "
        "with the program that wrote it"
    )


def plain(name: str) -> str:
    """A tensor's name without the wrappers of a training program."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name.removeprefix("module.")
