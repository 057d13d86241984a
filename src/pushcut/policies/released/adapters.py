"""Adapters of released VLAs: where their weights are, and how they get into a network."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.policies.adapter_files import (
    CONFIG,
    Adapters,
    does_not_fit,
    holds_adapters,
    lie_beside,
)
from pushcut.policies.lora import BASE, adapted_layers, wear_adapters
from pushcut.policies.released.files import read_json
from pushcut.policies.released.hub import cached_file
from pushcut.policies.released.tensors import fill

LEROBOT = "model."
"""LeRobot's prefix of the names of a network."""


def trained_besides(network: nn.Module) -> dict[str, Tensor]:
    """Parameters that are trained and are no adapters: an action expert, projections of actions."""
    return {
        name: parameter
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and "lora_" not in name and BASE not in name
    }


def base_of(path: Path) -> Path:
    """The folder with the weights: ``path``, or the base of the adapters that it holds.

    The base is looked for where it is said to be, from the adapters' folder too, and in the hub's
    local cache.
    """
    if not holds_adapters(path) or lie_beside(path):
        return path
    name = str(read_json(path / CONFIG).get("base_model_name_or_path"))
    for base in (Path(name), path / name):
        if (base / "config.json").exists():
            if holds_adapters(base):
                raise UserError(
                    f"{path} holds adapters of {base}, which holds adapters itself: make one "
                    f"folder of that first, by `pushcut export {base} --out DIR`, and name it in "
                    f"base_model_name_or_path of {path / CONFIG}"
                )
            return base
    if (cached := cached_file(name, "config.json")) is not None:
        return cached.parent
    raise UserError(
        f"{path} holds adapters of {name}, which is not there: put the checkpoint back, or "
        f"change base_model_name_or_path in {path / CONFIG}"
    )


def adapters_of(path: Path, network: nn.Module) -> Adapters | None:
    """The adapters in a folder, for the layers of a network; UserError where they do not fit.

    What was trained besides them is put into the network.
    """
    found = Adapters.read(path, own_name)
    if found is not None:
        found.check(network)
        put_besides(network, found)
    return found


def put_besides(network: nn.Module, adapters: Adapters) -> None:
    """Gives a network what was trained with adapters and is none."""
    try:
        for name, tensor in adapters.besides.items():
            module, _, own = name.rpartition(".")
            fill(network.get_submodule(module), own, tensor)
    except (AttributeError, RuntimeError) as error:
        raise does_not_fit(adapters.path, error) from None


def can_be_worn(adapters: Adapters, network: nn.Module, adaptable: list[nn.Module]) -> bool:
    """Whether layers may compute with these adapters beside their weights, as in training.

    Other layers' weights may be read by who knows of no adapter. DoRA's are merged.
    """
    known = {id(layer) for part in adaptable for layer in part.modules()}
    return all(
        adapter.magnitude is None and id(network.get_submodule(name)) in known
        for name, adapter in adapters.layers.items()
    )


def wear(adapters: Adapters, network: nn.Module) -> None:
    """Gives a network's layers their adapters, which stay apart: it acts as it did in training."""
    ranks = {name: len(adapter.down) for name, adapter in adapters.layers.items()}
    wear_adapters(network, ranks)
    layers = dict(adapted_layers(network))
    for name, adapter in adapters.layers.items():
        layers[name].scaling["default"] = adapter.scale
        layers[name].lora_A["default"].weight.data = adapter.down
        layers[name].lora_B["default"].weight.data = adapter.up


def own_name(name: str) -> str:
    """The name in our network, without the prefix of LeRobot."""
    return name.removeprefix(LEROBOT)
