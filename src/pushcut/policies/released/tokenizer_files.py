"""Where a checkpoint's tokenizer is: in its folder, or in the local cache of the hub."""

from __future__ import annotations

from pathlib import Path

from pushcut.errors import UserError
from pushcut.policies.released.hub import cached_file
from pushcut.policies.released.tokenizer_parts import PARTS, VOCABULARY, assembled
from pushcut.system.git_lfs import FETCH, is_pointer
from pushcut.system.progress import say

TOKENIZER = "tokenizer.json"
"""A checkpoint's tokenizer, in the format of the library tokenizers."""

PALIGEMMA, OPENVLA = "google/paligemma-3b-pt-224", "openvla/openvla-7b"
"""Models of the hub that have the tokenizers of pi0 and pi0.5, and of OpenVLA-OFT."""

EAGLE = "lerobot/eagle2hg-processor-groot-n1p5"
"""The hub's repository with the tokenizer of GR00T N1.5, in its parts; NVIDIA's program has it in
gr00t/model/backbone/eagle2_hg_model."""

GATED = "google/"
"""Owners of models whose licence has to be accepted before anything is downloaded."""


def read_tokenizer(folder: Path, given: Path | None, *, model: str) -> bytes:
    """Content of the checkpoint's tokenizer.json, or of one that the user names.

    Without either, that of ``model`` is taken where it was downloaded before.
    """
    file = find_tokenizer(folder, given, model=model)
    if is_pointer(file):
        raise UserError(f"{file} {FETCH}")
    return assembled(file.parent) if file.name == VOCABULARY else file.read_bytes()


def find_tokenizer(folder: Path, given: Path | None, *, model: str) -> Path:
    """The file, or the vocabulary where it is in parts; UserError that says how to get it."""
    if given is not None:
        file = _inside(given) if given.is_dir() else given
        if file is None or not file.is_file():
            named = file or given / TOKENIZER
            raise UserError(f"{named}, named with --policy.released.tokenizer, is missing")
        return file
    for place in (folder, folder / "tokenizer"):
        if (file := _inside(place)) is not None:
            return file
    cached = _inside(Path(model)) or _cached(model)
    if cached is not None:
        say(f"{folder} has no {TOKENIZER}: taken is that of {model} ({cached})")
        return cached
    raise UserError(
        f"{folder / TOKENIZER} is missing: put the {TOKENIZER} that the model was trained with "
        f"there, or name it with --policy.released.tokenizer; it is that of {model}, {_how(model)}"
    )


def _inside(folder: Path) -> Path | None:
    """A folder's tokenizer, whole or in parts."""
    if (folder / TOKENIZER).is_file():
        return folder / TOKENIZER
    return folder / VOCABULARY if all((folder / part).is_file() for part in PARTS) else None


def _cached(model: str) -> Path | None:
    """What was downloaded of a model's tokenizer before."""
    for name in (TOKENIZER, VOCABULARY):
        if (file := cached_file(model, name)) is not None and _inside(file.parent) is not None:
            return file
    return None


def _how(model: str) -> str:
    files = " ".join(PARTS) if model == EAGLE else TOKENIZER
    download = f"`hf download {model} {files}`"
    if not model.startswith(GATED):
        return f"and found here after {download}"
    return (
        f"a gated repository: accept its licence at https://huggingface.co/{model}, then `hf auth "
        f"login` and {download}; it is found here afterwards"
    )
