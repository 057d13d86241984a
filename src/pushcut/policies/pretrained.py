"""Reading and writing policy folders: config.json, model.safetensors, statistics.json."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.policies.adapter_files import BESIDE, Adapters, holds_adapters, save_adapters
from pushcut.policies.base import Policy
from pushcut.policies.lora import ADAPTER, BASE, adapted_layers, plain_state, with_adapter
from pushcut.policies.normalisation import DataStats, small_stats_json
from pushcut.policies.places import CONFIGS, holds_openpi
from pushcut.policies.tensor_files import (
    Later,
    SharedFiles,
    read_tensors,
    save_weights,
    weight_files,
    write_tensors,
)
from pushcut.policies.told import write_told

WEIGHTS = "model.safetensors"
TRAINING_PARTS_FILE = "training_parts.safetensors"
TRAINING_PARTS = "training_parts."
FROZEN_PARTS = "frozen_parts"
"""How checkpoints up to 0.2.0 called the file of the layers below adapters."""


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
    merged = shared is None
    weights, frozen = policy_weights(module, merged=merged), frozen_names(module, merged=merged)
    save_weights(weights, path, frozen=frozen, shared=shared)
    if not merged and next(adapted_layers(module), None):
        save_adapters(module, path, base=BESIDE)
    write_told(getattr(module, "told", {}), path)


def policy_weights(module: nn.Module, *, merged: bool) -> dict[str, Tensor | Later]:
    """The state of a policy without its training parts and adapters.

    ``merged``: adapters are added to the weights, when these are written.
    """
    state: dict[str, Tensor | Later] = {
        name: tensor.contiguous()
        for name, tensor in plain_state(module).items()
        if not name.startswith(TRAINING_PARTS)
    }
    for layer, adapted in adapted_layers(module) if merged else ():
        state[f"{layer}.weight"] = with_adapter(adapted.base_layer.weight, adapted)
    return state


def frozen_names(module: nn.Module, *, merged: bool) -> set[str]:
    """Weights that are never trained, by their names in files.

    ``merged``: nor changed by an adapter.
    """
    return {
        name.replace(BASE, ".")
        for name, parameter in module.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad and not (merged and BASE in name)
    }


def training_state(module: nn.Module) -> dict[str, Tensor]:
    """The part of a policy's state that its folder lacks."""
    return {
        name: tensor.contiguous()
        for name, tensor in module.state_dict().items()
        if name.startswith(TRAINING_PARTS)
    }


def save_training_parts(policy: Policy, path: Path) -> None:
    """Writes what the policy's folder lacks; nothing where it lacks nothing."""
    weights = training_state(policy)
    if weights:
        write_tensors(weights, path)


def load_training_parts(policy: Policy, path: Path) -> None:
    """Reads what ``save_training_parts`` wrote; UserError where it does not fit."""
    adapters = _adapters_state(policy)
    # Up to 0.2.0 adapters lay here, too, and what they adapt where the policy had them merged.
    older = bool(adapters) and not holds_adapters(path.parent / "policy")
    wanted = training_state(policy) | (adapters if older else {})
    if not wanted:
        return
    weights = read_tensors(path)
    for file in path.parent.glob(f"{FROZEN_PARTS}-*.safetensors"):
        weights |= read_tensors(file)
    weights = {name: x for name, x in weights.items() if older or name not in adapters}
    if weights.keys() != wanted.keys():
        raise UserError(f"{path} does not fit: {sorted(weights.keys() ^ wanted.keys())[0]}")
    try:
        policy.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit: {' '.join(str(error).split())}") from None


def _adapters_state(policy: Policy) -> dict[str, Tensor]:
    """A policy's adapters and the layers below them."""
    state = policy.state_dict()
    return {name: x for name, x in state.items() if ADAPTER in name or BASE in name}


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
    below = {f"{layer}.{name}" for layer, adapted in adapted_layers(module)
             for name, _ in adapted.base_layer.named_parameters()}  # fmt: skip
    own = {_below(name) if name in below else name: tensor for name, tensor in weights.items()}
    # Not strict: training parts and adapters are not in the file; the rest was compared above.
    module.load_state_dict(own, strict=False)
    adapters = Adapters.read(path)
    if adapters is not None and below:
        adapters.put_into(module)
    elif adapters is not None:
        adapters.check(module)
        adapters.merge(module)


def _below(name: str) -> str:
    """The name of an adapted layer's own weight."""
    layer, _, own = name.rpartition(".")
    return f"{layer}{BASE}{own}"
