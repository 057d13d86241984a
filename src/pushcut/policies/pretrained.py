"""Reading and writing policy folders: config.json, model.safetensors, statistics.json."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.policies.base import Policy
from pushcut.policies.lora import BASE, merged_state, plain_state
from pushcut.policies.normalisation import DataStats, small_stats_json
from pushcut.policies.places import CONFIGS, holds_openpi
from pushcut.policies.tensor_files import (
    SharedFiles,
    TensorFile,
    save_weights,
    weight_files,
    write_tensors,
)
from pushcut.policies.told import write_told
from pushcut.system.git_lfs import FETCH, is_pointer

WEIGHTS = "model.safetensors"
TRAINING_PARTS_FILE = "training_parts.safetensors"
TRAINING_PARTS = "training_parts."
FROZEN_PARTS = "frozen_parts"
"""How the file of a checkpoint is called that has the layers below adapters."""


def save_checkpoint(
    module: nn.Module,
    kind: str,
    config: Any,
    shape: Any,
    statistics: DataStats,
    path: Path,
    *,
    shared: SharedFiles | None = None,
) -> None:
    """Writes a policy folder; ``config`` and ``shape`` are dataclasses of JSON values.

    ``shared``: who has a file of the frozen weights already.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    description = {"type": kind, "config": asdict(config), "shape": asdict(shape)}
    (path / "config.json").write_text(json.dumps(description, indent=2) + "\n")
    stored = small_stats_json(statistics)
    (path / "statistics.json").write_text(json.dumps(stored, indent=2) + "\n")
    save_weights(policy_weights(module), path, frozen=frozen_names(module), shared=shared)
    write_told(getattr(module, "told", {}), path)


def policy_weights(module: nn.Module) -> dict[str, Tensor]:
    """The state of a policy without its training parts, adapters merged."""
    return {
        name: tensor.contiguous()
        for name, tensor in merged_state(module).items()
        if not name.startswith(TRAINING_PARTS)
    }


def frozen_names(module: nn.Module) -> set[str]:
    """Weights that are never trained, nor changed by an adapter, by their names in files."""
    adapted = {name for name, _ in module.named_parameters() if BASE in name}
    return {
        name
        for name, parameter in module.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad and name not in adapted
    }


def training_state(module: nn.Module) -> dict[str, Tensor]:
    """The part of a policy's state that its folder lacks: training parts and adapted layers."""
    saved, apart = plain_state(module), getattr(module, "adapters_apart", False)
    return {
        name: tensor.contiguous()
        for name, tensor in module.state_dict().items()
        if name not in saved or name.startswith(TRAINING_PARTS)
        if not (apart and BASE in name)
    }


def save_training_parts(policy: Policy, path: Path, shared: SharedFiles | None = None) -> None:
    """Writes what the policy's folder lacks; nothing where it lacks nothing.

    ``shared``: who has a file of the layers below adapters already.
    """
    weights = training_state(policy)
    frozen = {name: x for name, x in weights.items() if BASE in name}
    if shared is not None and frozen:
        shared.place(TensorFile(frozen, {}), path.parent, FROZEN_PARTS)
        weights = {name: x for name, x in weights.items() if name not in frozen}
    if weights:
        write_tensors(weights, path)


def load_training_parts(policy: Policy, path: Path) -> None:
    """Reads what ``save_training_parts`` wrote; UserError where it does not fit."""
    wanted = training_state(policy)
    if not wanted:
        return
    weights = read_tensors(path)
    for file in path.parent.glob(f"{FROZEN_PARTS}-*.safetensors"):
        weights |= read_tensors(file)
    if weights.keys() != wanted.keys():
        raise UserError(f"{path} does not fit: {sorted(weights.keys() ^ wanted.keys())[0]}")
    try:
        policy.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit: {' '.join(str(error).split())}") from None


def load_noise_network(policy: Policy, checkpoint: Path) -> None:
    """Reads the noise network of a run's checkpoint, where policy and checkpoint have one."""
    file, name = checkpoint / TRAINING_PARTS_FILE, "noise_network"
    if name not in policy.training_parts or not file.exists():
        return
    start = f"{TRAINING_PARTS}{name}."
    found = {key: x for key, x in read_tensors(file).items() if key.startswith(start)}
    try:
        policy.load_state_dict(found, strict=False)
    except RuntimeError as error:
        raise UserError(f"{file} does not fit: {' '.join(str(error).split())}") from None


def read_description(path: Path) -> dict[str, Any]:
    """Reads a policy folder's config.json; raises UserError where it is no policy folder.

    openpi's own PyTorch trainer writes none: its weights say what they are.
    """
    file = next((path / name for name in CONFIGS if (path / name).exists()), None)
    if file is None and holds_openpi(path):
        return {"model_type": "openpi"}
    if file is None:
        raise UserError(
            f"no policy at {path}: expected a folder with config.json, model.safetensors and "
            "statistics.json, as `pushcut sft` writes it under policy/"
        )
    try:
        description = json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(description, dict):
        raise UserError(f"{file} holds no JSON object: is it a policy?")
    return description


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a policy folder; raises UserError where they are missing or damaged."""
    return {name: x for file in weight_files(path) for name, x in read_tensors(file).items()}


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Reads a safetensors file; raises UserError where it is missing or damaged."""
    if not file.exists():
        raise UserError(f"{file} is missing")
    if is_pointer(file):
        raise UserError(f"{file} {FETCH}")
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is damaged (truncated copy?): {error}") from None


def load_weights(module: nn.Module, path: Path) -> None:
    """Loads weights into a policy; raises UserError that names those that do not fit."""
    weights = read_weights(path)
    wanted = {
        name: tensor
        for name, tensor in plain_state(module).items()
        if not name.startswith(TRAINING_PARTS)
    }
    missing = sorted(wanted.keys() - weights.keys())
    surplus = sorted(weights.keys() - wanted.keys())
    shapes = [
        f"{name} is {tuple(weights[name].shape)}, config.json says {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & weights.keys())
        if wanted[name].shape != weights[name].shape
    ]
    problems = [f"missing {name}" for name in missing] + [f"surplus {name}" for name in surplus]
    problems = shapes + problems
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{path / WEIGHTS} does not fit: {problems[0]}{more}")
    # Not strict: training parts and adapters are not in the file; the rest was compared above.
    module.load_state_dict(weights, strict=False)
