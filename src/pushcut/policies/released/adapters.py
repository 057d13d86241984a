"""Low-rank adapters beside the checkpoint that they belong to, as the library peft stores them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from pushcut.errors import UserError
from pushcut.policies.pretrained import read_tensors
from pushcut.policies.released.files import read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

START = "base_model.model."
"""What peft puts in front of the names of the model."""


def adapted_layers(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers with adapters, by their names in the network."""
    for name, layer in network.named_modules():
        if isinstance(getattr(layer, "base_layer", None), nn.Linear):
            yield name, layer


def save_adapters(network: nn.Module, path: Path, *, base: Path) -> None:
    """Writes the adapters and where the weights are that they belong to."""
    layers = dict(adapted_layers(network))
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
    tensors = {
        f"{START}{name}.{kind}.weight": getattr(layer, kind)["default"].weight.detach().cpu()
        for name, layer in layers.items()
        for kind in ("lora_A", "lora_B")
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path / WEIGHTS)


def base_of(path: Path) -> Path:
    """The folder with the weights: ``path``, or the base of the adapters that it holds."""
    if not (path / CONFIG).exists():
        return path
    base = Path(str(read_json(path / CONFIG).get("base_model_name_or_path")))
    if not (base / "config.json").exists():
        raise UserError(
            f"{path} holds adapters of {base}, which is not there: put the checkpoint back, or "
            f"change base_model_name_or_path in {path / CONFIG}"
        )
    return base


def merge_adapters(network: nn.Module, path: Path) -> None:
    """Adds the adapters in a folder, where it holds any, to the weights of a network."""
    if not (path / CONFIG).exists():
        return
    config, tensors = read_json(path / CONFIG), read_tensors(path / WEIGHTS)
    try:
        for name, rank in config["rank_pattern"].items():
            down = tensors[f"{START}{name}.lora_A.weight"].float()
            up = tensors[f"{START}{name}.lora_B.weight"].float()
            layer = network.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            with torch.no_grad():
                weight = layer.weight
                merged = weight.float() + up @ down * (config["alpha_pattern"][name] / rank)
                weight.copy_(merged)
    except (KeyError, AttributeError, AssertionError, RuntimeError) as error:
        raise UserError(f"the adapters in {path} do not fit their base: {error!r}") from None
