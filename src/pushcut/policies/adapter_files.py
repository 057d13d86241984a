"""Low-rank adapters in files, as the library peft stores them, and the weights they belong to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.policies.adapter_settings import refuse_settings, scale_of
from pushcut.policies.lora import adapted_layers
from pushcut.policies.tensor_files import Later, read_tensors, write_tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

BESIDE = "."
"""Where the weights are that adapters belong to, if they lie in the same folder: in checkpoints."""

START = "base_model.model."
"""peft's prefix of names before those of a model."""

DOWN, UP = ".lora_A.weight", ".lora_B.weight"
MAGNITUDE = ".lora_magnitude_vector"


@dataclass(frozen=True)
class Adapter:
    """The adapter of a linear layer."""

    down: Tensor
    """[rank, inputs]"""
    up: Tensor
    """[outputs, rank]"""
    scale: float
    magnitude: Tensor | None = None
    """The length of each row of the sum, which DoRA gives it; [outputs]."""

    def added_to(self, weight: Tensor) -> Tensor:
        """The weight with the adapter, in float32: bfloat16 would round most of it away."""
        whole = weight.float() + self.up.float() @ self.down.float() * self.scale
        if self.magnitude is None:
            return whole
        return whole * (self.magnitude.float().flatten() / whole.norm(dim=1)).unsqueeze(1)


@dataclass(frozen=True)
class Adapters:
    """The adapters in a folder."""

    path: Path
    layers: Mapping[str, Adapter]
    """By the names of the layers."""
    besides: Mapping[str, Tensor]
    """Weights that lie beside the adapters because they were trained with them."""
    config: Mapping[str, Any]

    @staticmethod
    def read(path: Path, own: Callable[[str], str] = lambda name: name) -> Adapters | None:
        """The adapters in a folder; None where it has none; UserError where they do not fit.

        ``own`` makes a stored name the reader's.
        """
        if not holds_adapters(path):
            return None
        file = path / CONFIG
        try:
            config = json.loads(file.read_text())
        except ValueError as error:
            raise UserError(f"{file} is not valid JSON: {error}") from None
        refuse_settings(file, config)
        tensors = {_plain(name): x for name, x in read_tensors(path / WEIGHTS).items()}
        layers = {}
        try:
            for layer in [name.removesuffix(DOWN) for name in tensors if name.endswith(DOWN)]:
                down, up = tensors.pop(f"{layer}{DOWN}"), tensors.pop(f"{layer}{UP}")
                magnitude = tensors.pop(f"{layer}{MAGNITUDE}", None)
                scale = scale_of(config, layer, rank=len(down))
                layers[own(layer)] = Adapter(down, up, scale, magnitude)
        except (KeyError, TypeError, ValueError) as error:
            raise does_not_fit(path, error) from None
        left = sorted(name for name in tensors if "lora_" in name)
        if left:
            raise UserError(f"{path / WEIGHTS} has {left[0]}, which pushcut does not know")
        return Adapters(path, layers, {own(name): x for name, x in tensors.items()}, config)

    def check(self, module: nn.Module) -> None:
        """UserError where a layer is missing or of another shape."""
        try:
            for name, adapter in self.layers.items():
                weight, shape = weight_of(module, name), (len(adapter.up), adapter.down.shape[1])
                if tuple(weight.shape) != shape:
                    raise ValueError(f"{name} is {tuple(weight.shape)}, its adapter for {shape}")
        except (AttributeError, ValueError) as error:
            raise does_not_fit(self.path, error) from None

    def merge(self, module: nn.Module, dtype: Callable[[str], torch.dtype] | None = None) -> None:
        """Adds the adapters to the weights of a module, one after the other.

        ``dtype``: of a layer's sum, by its name; float32 without.
        """
        for name, adapter in self.layers.items():
            weight = weight_of(module, name)
            whole = adapter.added_to(weight.data)
            weight.data = whole if dtype is None else whole.to(dtype(name))

    def put_into(self, module: nn.Module) -> None:
        """Gives a module's own adapters these numbers; UserError where they do not fit."""
        layers = dict(adapted_layers(module))
        if layers.keys() != self.layers.keys():
            other = sorted(layers.keys() ^ self.layers.keys())[0]
            raise does_not_fit(self.path, ValueError(f"only one of both adapts {other}"))
        try:
            for name, adapter in self.layers.items():
                layers[name].lora_A["default"].load_state_dict({"weight": adapter.down})
                layers[name].lora_B["default"].load_state_dict({"weight": adapter.up})
        except RuntimeError as error:
            raise does_not_fit(self.path, error) from None


def save_adapters(
    module: nn.Module,
    path: Path,
    *,
    base: str,
    prefix: str = "",
    besides: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes a module's adapters into a folder, and where the weights are that they belong to.

    Args:
        module: With adapters.
        path: The folder.
        base: The folder of those weights; ``BESIDE``: this one.
        prefix: Of the module's names in files.
        besides: Weights that were trained with them and lie in no other file.
    """
    layers = {f"{prefix}{name}": layer for name, layer in adapted_layers(module)}
    ranks = {name: int(layer.r["default"]) for name, layer in layers.items()}
    alphas = {name: int(layer.lora_alpha["default"]) for name, layer in layers.items()}
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": max(ranks.values()),
        "lora_alpha": max(alphas.values()),
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "target_modules": sorted(layers),
        "bias": "none",
        "inference_mode": True,
    }
    (path / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    tensors = {f"{START}{prefix}{name}": x for name, x in (besides or {}).items()}
    for name, layer in layers.items():
        tensors[f"{START}{name}{DOWN}"] = layer.lora_A["default"].weight
        tensors[f"{START}{name}{UP}"] = layer.lora_B["default"].weight
    write_tensors(tensors, path / WEIGHTS)


def with_adapters(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor | Later]:
    """The weights of a folder with the adapters that lie beside them, added when written."""
    found, whole = Adapters.read(path), dict[str, Tensor | Later](weights)
    for name, adapter in found.layers.items() if found else ():
        weight = weights[f"{name}.weight"]
        add = partial(adapter.added_to, weight)
        whole[f"{name}.weight"] = Later(weight.shape, torch.float32, add)
    return whole


def holds_adapters(path: Path) -> bool:
    """Whether a folder has adapters; merged ones may keep the configuration alone.

    UserError where it cannot be told whether they are merged.
    """
    if not (path / CONFIG).exists():
        return False
    merged = sorted(path.glob("model*.safetensors*"))
    if not merged or not (path / WEIGHTS).exists():
        return not merged
    if lie_beside(path):
        return True
    raise UserError(
        f"{path} has whole weights ({merged[0].name}) and adapters ({WEIGHTS}), and does not "
        "say whether the one holds the other already: take one of them away"
    )


def lie_beside(path: Path) -> bool:
    """Whether a folder's adapters say that their weights are in the same folder."""
    try:
        return json.loads((path / CONFIG).read_text())["base_model_name_or_path"] == BESIDE
    except (OSError, ValueError, KeyError, TypeError):
        return False


def weight_of(module: nn.Module, layer: str) -> nn.Parameter:
    """The weight of a layer, which may have an adapter."""
    found: Any = module.get_submodule(layer)
    return getattr(found, "base_layer", found).weight


def does_not_fit(path: Path, error: Exception) -> UserError:
    """What there is to say of adapters for other weights."""
    return UserError(f"the adapters in {path} do not fit their base: {error!r}")


def _plain(name: str) -> str:
    """A stored tensor's name in the model that peft adapted, without peft's own parts."""
    name = name.removeprefix(START).replace(".base_layer.", ".")
    name = name.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".")
    return name.replace(".default.", ".").replace(f"{MAGNITUDE}.weight", MAGNITUDE)
