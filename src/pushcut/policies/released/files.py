"""The small files of a checkpoint's folder: read, remembered and written back."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.system.git_lfs import FETCH, is_pointer

OURS = "pushcut.json"
"""File that pushcut adds to a released folder; it says how the folder is read."""

LARGEST = 64_000_000
"""Bytes up to which a file counts as small: tokenizers do, weights do not."""

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".distcp", ".index.json")


def small_files(folder: Path) -> dict[str, bytes]:
    """The small files of a folder (no weights), by their paths in it."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and _is_kept(file.relative_to(folder), file.stat().st_size)
    }


def _is_kept(path: Path, size: int) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    # LeRobot keeps statistics in small safetensors files of their own.
    is_weights = path.name.endswith(WEIGHTS) and "processor" not in path.name
    return size <= LARGEST and not hidden and not is_weights and path.name != OURS


def write_small_files(files: dict[str, bytes], folder: Path) -> None:
    """Writes small files into a folder."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def write_ours(config: Any, path: Path) -> None:
    """Writes what pushcut adds to a released folder: a dataclass that says how it is read."""
    (path / OURS).write_text(json.dumps(asdict(config), indent=2) + "\n")


def read_json(file: Path) -> dict[str, Any]:
    """Reads a JSON object; raises UserError where the file holds none."""
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(f"{file} is missing") from None
    except (ValueError, OSError) as error:
        if is_pointer(file):
            raise UserError(f"{file} {FETCH}") from None
        raise UserError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no JSON object")
    return content
