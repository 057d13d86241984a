"""Where the policy at a path is: its folder, or what lies there instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pushcut.errors import UserError
from pushcut.policies.pickles import RLINF_WEIGHTS, full_weights, plain, read_state
from pushcut.system.git_lfs import FETCH, is_pointer
from pushcut.system.progress import say

CONFIGS = ("config.json", "configs.json")
"""What a policy's description is called; a few checkpoints of others have the second."""

OPENPI_WEIGHTS = "action_in_proj.weight"
"""A tensor that every pi0 has; LeRobot's files put model. in front."""

OF_LEROBOT = ("pretrained_model", "training_state")
"""Folders in a checkpoint of LeRobot's runs."""

_told: set[Path] = set()


def policy_folder(path: Path) -> Path:
    """The policy at ``path``: itself, that of a checkpoint, or of a run's newest checkpoint.

    Runs of LeRobot and of openpi's PyTorch trainer count too, and a model in the hub's local
    cache; a line says then which folder was taken.

    Raises:
        UserError: It says what is there instead.
    """
    checkpoints = _numbered(path / "checkpoints")
    for folder in (path / "policy", *(checkpoint / "policy" for checkpoint in checkpoints[-1:])):
        if (folder / "config.json").exists():
            return folder
    if _is_policy(path):
        return path
    if (found := _of_others(path)) is not None:
        if path not in _told:
            say(f"{path}: the policy in {found} is taken")
        _told.add(path)
        return found
    if weights := _rlinf_weights(path):
        here = weights.parent
        there = here.parent if here.name == RLINF_WEIGHTS.parent.name else here
        raise UserError(
            f"no policy at {path}: {weights} are weights alone, as RLinf saves them: copy "
            "config.json, dataset_statistics.json and the tokenizer's files of the checkpoint that "
            f"the training began with (its actor.model.model_path) into {there}, and give that"
        )
    if any((checkpoint / name).is_dir() for checkpoint in checkpoints for name in OF_LEROBOT):
        raise UserError(
            f"no policy at {path}: the checkpoints of this run of LeRobot have none, in "
            f"{checkpoints[-1] / OF_LEROBOT[0]} for instance"
        )
    if checkpoints or (path / "progress.json").exists():
        raise UserError(
            f"the weights of {path} are in parts, one for each rank: `pushcut export {path} "
            "--out DIR` makes a policy of them"
        )
    raise UserError(f"no policy at {path}: {_instead(path)}")


def kind_of(description: dict[str, Any]) -> str:
    """What a config.json describes: pushcut and LeRobot name a type, others do not."""
    if "type" in description:
        return str(description["type"])
    if description.get("model_type") == "openvla":
        return "openvla"
    model = str(description.get("model_type", "without type, model_type or action_horizon"))
    if model.lower().startswith("gr00t"):
        return "gr00t_n1_5"  # which refuses others by name
    if {"action_horizon", "paligemma_variant"} <= description.keys():
        return "openpi"
    return model


def holds_openpi(path: Path) -> bool:
    """Whether a folder without a description has the weights of a pi0 of openpi's trainer.

    Those that RLinf saves have the same names.
    """
    if any((path / name).exists() for name in CONFIGS):
        return False
    if (weights := full_weights(path)) is not None:
        try:
            return OPENPI_WEIGHTS in set(map(plain, read_state(weights)))
        except UserError:
            return False
    file = path / "model.safetensors"
    if not file.is_file():
        return False
    try:
        with safe_open(file, framework="pt") as content:
            return OPENPI_WEIGHTS in set(content.keys())
    except (SafetensorError, OSError):
        return False


def _is_policy(path: Path) -> bool:
    described = any((path / name).is_file() for name in CONFIGS)
    return (described and _run_config(path) is None) or holds_openpi(path)


def _numbered(path: Path) -> list[Path]:
    """Folders named by the number of a training step, the newest last."""
    found = [folder for folder in path.glob("[0-9]*") if folder.name.isdigit() and folder.is_dir()]
    return sorted(found, key=lambda folder: int(folder.name))


def _of_others(path: Path) -> Path | None:
    """The newest policy of a run of LeRobot, openpi or RLinf, or of a model in the hub's cache."""
    if (weights := _rlinf_weights(path)) is not None:
        for folder in (weights.parent, weights.parent.parent):
            if _is_policy(folder):
                return folder
    steps = [path, path / "last", *reversed(_numbered(path / "checkpoints"))]
    for step in (*steps, path / "checkpoints" / "last"):
        if _is_policy(step / "pretrained_model"):
            return step / "pretrained_model"
    for step in reversed(_numbered(path)):
        for folder in (step / "pretrained_model", step):
            if _is_policy(folder):
                return folder
    snapshots = path if path.name == "snapshots" else path / "snapshots"
    main = snapshots.parent / "refs" / "main"
    if main.is_file() and _is_policy(snapshots / main.read_text().strip()):
        return snapshots / main.read_text().strip()
    found = [folder for folder in snapshots.glob("*") if _is_policy(folder)]
    return max(found, key=lambda folder: folder.stat().st_mtime, default=None)


def _rlinf_weights(path: Path) -> Path | None:
    """The weights of RLinf at a path, in its actor, or in the newest step of its run."""
    steps = sorted(
        path.glob("checkpoints/global_step_*"), key=lambda step: (len(step.name), step.name)
    )
    for folder in (path, path / "actor", *(step / "actor" for step in reversed(steps))):
        if (folder / RLINF_WEIGHTS).is_file():
            return folder / RLINF_WEIGHTS
        if (folder / RLINF_WEIGHTS.name).is_file():
            return folder / RLINF_WEIGHTS.name
    return path if path.name == RLINF_WEIGHTS.name and path.is_file() else None


def _instead(path: Path) -> str:
    """What is at a path that holds no policy, and what to do."""
    if not path.exists() or path.is_file():
        return _no_folder(path)
    if pointers := [file for file in sorted(path.glob("*")) if is_pointer(file)]:
        return f"{pointers[0]} {FETCH}"
    if (path / "meta" / "info.json").is_file() or next(path.glob("*.hdf5"), None):
        return f"these are demonstrations; `pushcut sft PRESET --dataset {path}` makes one of them"
    if any((folder / "params").is_dir() for folder in (path, *_numbered(path))):
        return (
            "this is a JAX checkpoint of openpi: convert it with openpi's own "
            "examples/convert_jax_model_to_pytorch.py"
        )
    for name in (".", "lora_adapter"):
        if (path / name / "adapter_config.json").is_file():
            return (
                f"{path / name} holds adapters alone: put the config.json of their base and its "
                "statistics beside them, or merge them with peft (merge_and_unload)"
            )
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


def _no_folder(path: Path) -> str:
    if path.is_file():
        return f"it is a file; give a folder, such as {path.parent}"
    if path.is_symlink():
        return f"it is a link to {path.readlink()}, which is not there"
    return (
        "there is no such folder; expected is one with config.json, model.safetensors and "
        "statistics.json, as `pushcut sft` writes it under policy/"
    )


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
