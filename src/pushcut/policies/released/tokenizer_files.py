"""Where a checkpoint's tokenizer is: in its folder, or in the local cache of the hub."""

from __future__ import annotations

from pathlib import Path

from pushcut.errors import UserError
from pushcut.policies.released.hub import cached_file
from pushcut.system.git_lfs import FETCH, is_pointer
from pushcut.system.progress import say

TOKENIZER = "tokenizer.json"
"""A checkpoint's tokenizer, in the format of the library tokenizers."""

PALIGEMMA, OPENVLA = "google/paligemma-3b-pt-224", "openvla/openvla-7b"
"""Models of the hub that have the tokenizers of pi0 and pi0.5, and of OpenVLA-OFT."""

GATED = "google/"
"""Owners of models whose licence has to be accepted before anything is downloaded."""


def read_tokenizer(folder: Path, given: Path | None, *, model: str) -> bytes:
    """Content of the checkpoint's tokenizer.json, or of one that the user names.

    Without either, that of ``model`` is taken where it was downloaded before.
    """
    file = find_tokenizer(folder, given, model=model)
    if is_pointer(file):
        raise UserError(f"{file} {FETCH}")
    return file.read_bytes()


def find_tokenizer(folder: Path, given: Path | None, *, model: str) -> Path:
    """The file; UserError that says how to get it where there is none."""
    if given is not None:
        file = given / TOKENIZER if given.is_dir() else given
        if not file.is_file():
            raise UserError(f"{file}, named with --policy.released.tokenizer, is missing")
        return file
    for file in (folder / TOKENIZER, folder / "tokenizer" / TOKENIZER):
        if file.is_file():
            return file
    local = Path(model) / TOKENIZER
    if (cached := local if local.is_file() else cached_file(model, TOKENIZER)) is not None:
        say(f"{folder} has no {TOKENIZER}: taken is that of {model} ({cached})")
        return cached
    raise UserError(
        f"{folder / TOKENIZER} is missing: put the {TOKENIZER} that the model was trained with "
        f"there, or name it with --policy.released.tokenizer; it is that of {model}, {_how(model)}"
    )


def _how(model: str) -> str:
    download = f"`hf download {model} {TOKENIZER}`"
    if not model.startswith(GATED):
        return f"and found here after {download}"
    return (
        f"a gated repository: accept its licence at https://huggingface.co/{model}, then `hf auth "
        f"login` and {download}; it is found here afterwards"
    )
