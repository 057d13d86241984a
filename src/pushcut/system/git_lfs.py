"""Tells files that were cloned without their content, which Git LFS keeps elsewhere."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_POINTER = b"version https://git-lfs"

FETCH = "is a pointer of Git LFS, not the file: fetch it with `git lfs pull`"
"""What is wrong with such a file, and what to do."""


def is_pointer(path: Path) -> bool:
    """Whether a file is a pointer to its content."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER
    return False
