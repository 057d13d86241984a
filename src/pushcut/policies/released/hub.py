"""Models of the Hugging Face hub: fetched when asked for, never otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.system.progress import say

SMALL = ("*.json", "*.model", "merges.txt")
"""Files of a repository that say what the rest is; they are fetched first."""

PATTERNS = (*SMALL, "*.safetensors", "proprio_projector--*")
"""Files of a repository that are fetched: no code, no optimiser, no weights as pickles but the
state's projector, which is read as tensors."""

Check = Callable[[Path, list[str]], Any]
"""Sees a folder with a repository's small files, and the names of all its files; may raise."""


def local_folder(path: Path, *, download: bool, check: Check | None = None) -> Path:
    """The folder at ``path``, or of the hub's model of that name, which is fetched if allowed.

    ``check`` is asked before gigabytes follow.
    """
    looks_like_a_model = not path.is_absolute() and len(path.parts) == 2
    if path.exists() or not looks_like_a_model:
        return path
    name = path.as_posix()
    if not download:
        cached = cached_file(name, "config.json")
        if cached is not None:
            say(f"{name}: taken from the local cache ({cached.parent})")
            return cached.parent
        raise UserError(
            f"no policy at {path}, as `pushcut sft` writes it under policy/; if {name} is a model "
            "of the Hugging Face hub, allow fetching it with --policy.released.download"
        )
    try:
        from huggingface_hub import list_repo_files, snapshot_download
    except ImportError:
        raise UserError("fetching models needs pip install 'pushcut[vla]'") from None
    try:
        if check is not None:
            check(Path(snapshot_download(name, allow_patterns=list(SMALL))), list_repo_files(name))
        return Path(snapshot_download(name, allow_patterns=list(PATTERNS)))
    except UserError:
        raise
    # The library and its transports raise many kinds of errors.
    except Exception as error:
        raise UserError(f"could not fetch {name}: {str(error).splitlines()[0]}") from None


def cache_folder() -> Path:
    """Where the hub's library keeps what was downloaded, by the rules of its documentation."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def cached_file(model: str, file: str) -> Path | None:
    """A file of a model of the hub that was downloaded before; nothing is fetched."""
    if model.count("/") != 1:
        return None
    repository = cache_folder() / f"models--{model.replace('/', '--')}"
    found = newest_snapshot(repository, file)
    return None if found is None else found / file


def newest_snapshot(repository: Path, file: str) -> Path | None:
    """The snapshot of its main branch in a repository's cache, or the newest that has a file."""
    snapshots = repository / "snapshots"
    main = repository / "refs" / "main"
    if main.is_file() and (snapshots / main.read_text().strip() / file).is_file():
        return snapshots / main.read_text().strip()
    found = [folder for folder in snapshots.glob("*") if (folder / file).is_file()]
    return max(found, key=lambda folder: folder.stat().st_mtime, default=None)
