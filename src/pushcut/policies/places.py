"""Where the policy at a path is: its folder, or what lies there instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pushcut.errors import UserError


def policy_folder(path: Path) -> Path:
    """The policy at ``path``: itself, that of a checkpoint, or of a run's newest checkpoint.

    UserError, which says what is there instead.
    """
    checkpoints = sorted((path / "checkpoints").glob("[0-9]*"))
    for folder in (path / "policy", *(checkpoint / "policy" for checkpoint in checkpoints[-1:])):
        if (folder / "config.json").exists():
            return folder
    if checkpoints or (path / "progress.json").exists():
        raise UserError(
            f"the weights of {path} are in parts, one for each rank: `pushcut export {path} "
            "--out DIR` makes a policy of them"
        )
    if (path / "config.json").is_file() and _run_config(path) is None:
        return path
    raise UserError(f"no policy at {path}: {_instead(path)}")


def _instead(path: Path) -> str:
    """What is at a path that holds no policy, and what to do."""
    if not path.exists():
        return (
            "there is no such folder; expected is one with config.json, model.safetensors and "
            "statistics.json, as `pushcut sft` writes it under policy/"
        )
    if path.is_file():
        return f"it is a file; give a folder, such as {path.parent}"
    if (path / "meta" / "info.json").is_file() or next(path.glob("*.hdf5"), None):
        return f"these are demonstrations; `pushcut sft PRESET --dataset {path}` makes one of them"
    if inside := _policies_in(path):
        return f"did you mean {' or '.join(map(str, inside))}?"
    config = _run_config(path)
    if config is None:
        # Hidden files are those of a lock, or of an attempt.
        empty = all(entry.name.startswith(".") for entry in path.iterdir())
        return "the folder is empty" if empty else "the folder has no config.json of a policy"
    kind = str(config.get("type", "")).removesuffix("Config").lower()
    if kind == "sft":
        return "this run of `pushcut sft` has not written its policy yet; it does so at its end"
    start = (config.get("policy") or {}).get("path")
    began = f"; it began with {start}" if start else ""
    return f"this is a run that has no checkpoint yet{began}"


def _policies_in(path: Path) -> list[Path]:
    """Folders inside that hold a policy, runs too; the newest first."""
    found = []
    for child in path.iterdir():
        marks = (child / "model.safetensors", child / "policy", child / "checkpoints")
        if any(mark.exists() for mark in marks):
            found.append(child)
    return sorted(found, key=lambda child: child.stat().st_mtime, reverse=True)[:3]


def _run_config(path: Path) -> dict[str, Any] | None:
    """The settings of the run whose folder this is; a policy's config.json names its type."""
    try:
        content = json.loads((path / "config.json").read_text())
    except (OSError, ValueError):
        return None
    if isinstance(content, dict) and "type" not in content and "command" in content:
        return content["config"] if isinstance(content.get("config"), dict) else None
    return None
