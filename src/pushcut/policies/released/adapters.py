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
from pushcut.policies.released.adapter_settings import refuse_settings, scale_of
from pushcut.policies.released.files import read_json
from pushcut.policies.released.hub import cached_file
from pushcut.policies.released.tensors import fill

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

START, LEROBOT = "base_model.model.", "model."
"""Prefixes of names: peft's before those of a model, LeRobot's before those of a network."""

DOWN, UP = ".lora_A.weight", ".lora_B.weight"
MAGNITUDE = ".lora_magnitude_vector"


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
    """The folder with the weights: ``path``, or the base of the adapters that it holds.

    The base is looked for where it is said to be, from the adapters' folder too, and in the hub's
    local cache.
    """
    if not _holds_adapters(path):
        return path
    name = str(read_json(path / CONFIG).get("base_model_name_or_path"))
    for base in (Path(name), path / name):
        if (base / "config.json").exists():
            return base
    if (cached := cached_file(name, "config.json")) is not None:
        return cached.parent
    raise UserError(
        f"{path} holds adapters of {name}, which is not there: put the checkpoint back, or "
        f"change base_model_name_or_path in {path / CONFIG}"
    )


def merge_adapters(network: nn.Module, path: Path) -> None:
    """Adds the adapters in a folder, where it holds any, to the weights of a network.

    The sums are float32: bfloat16 would round most of a small adapter away.
    """
    if not _holds_adapters(path):
        return
    config = read_json(path / CONFIG)
    refuse_settings(path / CONFIG, config)
    tensors = {_plain(name): x for name, x in read_tensors(path / WEIGHTS).items()}
    try:
        for name in [name for name in tensors if name.endswith(DOWN)]:
            layer = name.removesuffix(DOWN)
            down, up = tensors.pop(name).float(), tensors.pop(f"{layer}{UP}").float()
            magnitude = tensors.pop(f"{layer}{MAGNITUDE}", None)
            delta = up @ down * scale_of(config, layer, rank=len(down))
            parameter = network.get_parameter(f"{_own(layer)}.weight")
            parameter.data = _merged(parameter.data.float(), delta, magnitude)
        left = sorted(name for name in tensors if "lora_" in name)
        if left:
            raise UserError(f"{path / WEIGHTS} has {left[0]}, which pushcut does not know")
        _copy(network, {_own(name): tensor for name, tensor in tensors.items()})
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"the adapters in {path} do not fit their base: {error!r}") from None


def _merged(weight: Tensor, delta: Tensor, magnitude: Tensor | None) -> Tensor:
    """The weight with an adapter; DoRA gives each row of the sum a length of its own."""
    whole = weight + delta
    if magnitude is None:
        return whole
    return whole * (magnitude.float().flatten() / whole.norm(dim=1)).unsqueeze(1)


def read_trained(network: nn.Module, path: Path) -> None:
    """Reads what ``save_adapters`` wrote besides adapters, which belong to the training parts."""
    tensors = {_own(_plain(name)): x for name, x in read_tensors(path / WEIGHTS).items()}
    rest = {name: x for name, x in tensors.items() if not name.endswith((DOWN, UP))}
    try:
        _copy(network, rest)
    except (AttributeError, RuntimeError) as error:
        raise UserError(f"{path / WEIGHTS} does not fit: {error!r}") from None


def _copy(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        module, _, own = name.rpartition(".")
        fill(network.get_submodule(module), own, tensor)


def _plain(name: str) -> str:
    """A stored tensor's name in the model that peft adapted, without peft's own parts."""
    name = name.removeprefix(START).replace(".base_layer.", ".")
    name = name.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".")
    return name.replace(".default.", ".").replace(f"{MAGNITUDE}.weight", MAGNITUDE)


def _own(name: str) -> str:
    """The name in our network, without the prefix of LeRobot."""
    return name.removeprefix(LEROBOT)


def _holds_adapters(path: Path) -> bool:
    """Whether a folder has adapters; merged ones may keep the configuration alone."""
    if not (path / CONFIG).exists():
        return False
    merged = sorted(path.glob("model*.safetensors*"))
    if merged and (path / WEIGHTS).exists():
        raise UserError(
            f"{path} has whole weights ({merged[0].name}) and adapters ({WEIGHTS}), and does not "
            "say whether the one holds the other already: take one of them away"
        )
    return not merged
