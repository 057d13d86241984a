"""Models of the Hugging Face hub: fetched when asked for, never otherwise."""

from __future__ import annotations

from pathlib import Path

from pushcut.errors import UserError

PATTERNS = ("*.json", "*.safetensors", "*.model", "proprio_projector--*", "action_head--*")
"""Files of a repository that are fetched: no code, no optimiser, no weights as pickles but the
state's projector, which is read as tensors; an action head is fetched to be refused."""


def local_folder(path: Path, *, download: bool) -> Path:
    """The folder at ``path``, or of the hub's model of that name, which is fetched if allowed."""
    looks_like_a_model = not path.is_absolute() and len(path.parts) == 2
    if path.exists() or not looks_like_a_model:
        return path
    name = path.as_posix()
    if not download:
        raise UserError(
            f"no policy at {path}, as `pushcut sft` writes it under policy/; if {name} is a model "
            "of the Hugging Face hub, allow fetching it with --policy.released.download"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError("fetching models needs pip install 'pushcut[vla]'") from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(PATTERNS)))
    # The library and its transports raise many kinds of errors.
    except Exception as error:
        raise UserError(f"could not fetch {name}: {str(error).splitlines()[0]}") from None
