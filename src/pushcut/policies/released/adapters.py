"""Low-rank adapters beside the checkpoint that they belong to, as the library peft stores them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.policies.lora import BASE
from pushcut.policies.pretrained import read_tensors
from pushcut.policies.released.files import read_json
from pushcut.policies.released.tensors import fill

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

START, LEROBOT = "base_model.model.", "model."
"""Prefixes of names: peft's before those of a model, LeRobot's before those of a network."""

DOWN, UP = ".lora_A.weight", ".lora_B.weight"


def adapted_layers(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers with adapters, by their names in the network."""
    for name, layer in network.named_modules():
        if isinstance(getattr(layer, "base_layer", None), nn.Linear):
            yield name, layer


def trained_besides(network: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that are trained and are no adapters: an action expert, projections of actions."""
    return {
        name: parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and "lora_" not in name and BASE not in name
    }


def save_adapters(network: nn.Module, path: Path, *, base: Path, prefix: str = "") -> None:
    """Writes all that is trained, and the path of the weights that it belongs to."""
    layers = {f"{prefix}{name}": layer for name, layer in adapted_layers(network)}
    ranks = {name: int(layer.r["default"]) for name, layer in layers.items()}
    alphas = {name: int(layer.lora_alpha["default"]) for name, layer in layers.items()}
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(base),
        "r": max(ranks.values()),
        "lora_alpha": max(alphas.values()),
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "target_modules": sorted(layers),
        "bias": "none",
        "inference_mode": True,
    }
    (path / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    tensors: dict[str, Tensor] = {}
    for name, layer in layers.items():
        tensors[f"{START}{name}{DOWN}"] = layer.lora_A["default"].weight
        tensors[f"{START}{name}{UP}"] = layer.lora_B["default"].weight
    for name, parameter in trained_besides(network).items():
        tensors[f"{START}{prefix}{name}"] = parameter
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        path / WEIGHTS,
    )


def base_of(path: Path) -> Path:
    """The folder with the weights: ``path``, or the base of the adapters that it holds."""
    if not _holds_adapters(path):
        return path
    base = Path(str(read_json(path / CONFIG).get("base_model_name_or_path")))
    if not (base / "config.json").exists():
        raise UserError(
            f"{path} holds adapters of {base}, which is not there: put the checkpoint back, or "
            f"change base_model_name_or_path in {path / CONFIG}"
        )
    return base


def merge_adapters(network: nn.Module, path: Path) -> None:
    """Adds the adapters in a folder, where it holds any, to the weights of a network.

    The sums are float32: bfloat16 would round most of a small adapter away.
    """
    if not _holds_adapters(path):
        return
    config = read_json(path / CONFIG)
    if config.get("use_dora") or config.get("use_rslora"):
        raise UserError(f"{path / CONFIG}: adapters of another kind (DoRA, rsLoRA) are unknown")
    tensors = _own_names(read_tensors(path / WEIGHTS))
    alphas = {_own(name): value for name, value in (config.get("alpha_pattern") or {}).items()}
    try:
        for name in [name for name in tensors if name.endswith(DOWN)]:
            layer = name.removesuffix(DOWN)
            down, up = tensors.pop(name).float(), tensors.pop(f"{layer}{UP}").float()
            scale = float(alphas.get(layer, config["lora_alpha"])) / len(down)
            parameter = network.get_parameter(f"{layer}.weight")
            parameter.data = parameter.data.float() + up @ down * scale
        _copy(network, tensors)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise UserError(f"the adapters in {path} do not fit their base: {error!r}") from None


def read_trained(network: nn.Module, path: Path) -> None:
    """Reads what ``save_adapters`` wrote besides adapters, which belong to the training parts."""
    tensors = _own_names(read_tensors(path / WEIGHTS))
    rest = {name: x for name, x in tensors.items() if not name.endswith((DOWN, UP))}
    try:
        _copy(network, rest)
    except (AttributeError, RuntimeError) as error:
        raise UserError(f"{path / WEIGHTS} does not fit: {error!r}") from None


def _copy(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        module, _, own = name.rpartition(".")
        fill(network.get_submodule(module), own, tensor)


def _own_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {_own(name.removeprefix(START)): tensor for name, tensor in tensors.items()}


def _own(name: str) -> str:
    """The name in our network, without the prefix of LeRobot."""
    return name.removeprefix(LEROBOT)


def _holds_adapters(path: Path) -> bool:
    """Whether a folder has adapters; merged ones may keep the configuration alone."""
    return (path / CONFIG).exists() and not list(path.glob("model*.safetensors*"))
