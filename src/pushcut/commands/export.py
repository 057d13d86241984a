"""A checkpoint as one policy folder, which anything can read."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from pushcut.config import AnyPolicySource
from pushcut.errors import UserError
from pushcut.learning import checkpoint
from pushcut.runs.config_json import from_json


@dataclass(frozen=True)
class ExportConfig:
    """Which checkpoint becomes a policy folder, and where."""

    path: Path
    """A run, whose newest checkpoint is taken, or one of its checkpoints."""
    out: Path
    """Folder of the policy: config, weights in safetensors, statistics."""


def run_export(config: ExportConfig) -> Path:
    """Writes the policy; sharded weights are read into one process. UserError in one line."""
    if config.out.exists():
        raise UserError(f"{config.out} exists; choose another folder with --out")
    source = checkpoint_of(config.path)
    if (source / checkpoint.SHARDS).exists():
        policy = stored_policy(source.parent.parent).load()
        checkpoint.load_policy(source / checkpoint.SHARDS, policy)
        policy.save_pretrained(config.out)
    else:
        shutil.copytree(source / "policy", config.out)
    return config.out


def checkpoint_of(path: Path) -> Path:
    """The checkpoint at a path, or the newest of a run."""
    if (path / "progress.json").exists():
        return path.absolute()
    return checkpoint.latest(path / "checkpoints").absolute()


def stored_policy(run: Path) -> AnyPolicySource:
    """The policy that a run trains, as its config.json describes it."""
    try:
        stored = json.loads((run / "config.json").read_text())["config"]["policy"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{run / 'config.json'} does not say what the run trains: {error}"
        ) from None
    return from_json(AnyPolicySource, stored)
