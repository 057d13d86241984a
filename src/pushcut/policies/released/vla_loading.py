"""What loading a released VLA is made of, whoever wrote its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from torch import nn

from pushcut.errors import UserError
from pushcut.policies.adapter_files import WEIGHTS as ADAPTERS
from pushcut.policies.adapter_files import Adapters
from pushcut.policies.networks.gradient_checkpointing import checkpoint_activations
from pushcut.policies.normalisation import DataStats
from pushcut.policies.precision import Compute
from pushcut.policies.released.adapters import adapters_of, base_of
from pushcut.policies.released.files import OURS
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.released.scaling import in_convention
from pushcut.policies.released.tensors import TensorFolder
from pushcut.policies.released.vla import VLAConfig
from pushcut.policies.released.weight_files import tell_unread


class Kept(TypedDict):
    """What a policy has to know about the weights that it was filled with."""

    omitted: set[str]
    compute: Compute
    origin: Path | None


Config = TypeVar("Config", bound=VLAConfig)
Network = TypeVar("Network", bound=nn.Module)
Stored = TypeVar("Stored")


def filled(
    path: Path,
    network: Network,
    load: Callable[[Network, TensorFolder], set[str]],
    tensors: TensorFolder,
    options: ReleasedConfig,
) -> tuple[Kept, Adapters | None]:
    """Fills a network with a folder's tensors; returns what its policy keeps, and adapters."""
    omitted = load(network, tensors)
    adapters = adapters_of(path, network)
    checkpoint_activations(network, options.gradient_checkpointing)
    whole = base_of(path) == path and adapters is None
    origin = path.absolute() if whole else None
    return Kept(omitted=omitted, compute=options.compute, origin=origin), adapters


def tell_unread_weights(path: Path, tensors: TensorFolder) -> None:
    """Says which weights in a folder, and in that of its base, are not read."""
    for folder in dict.fromkeys((path, base_of(path))):
        tell_unread(folder, [*tensors.files.values(), path / ADAPTERS])


def with_data(path: Path, config: Config, data: DataStats) -> tuple[Config, DataStats]:
    """The config for other statistics, and these in the checkpoint's own conventions.

    UserError where the network is too small for them.
    """
    action = in_convention(data["action"], config.gripper)
    try:
        config = replace(config, state_size=data["state"].size, action_size=data["action"].size)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return config, {"state": data["state"], "action": action}


def stored_config(
    path: Path, ours: Mapping[str, Any], options: ReleasedConfig, usual: Config, model: str
) -> Config:
    """Config that pushcut stored with a policy; the steps that are executed may change."""
    try:
        changed = {"cameras": tuple(ours["cameras"]), "chunk": options.chunk or ours["chunk"]}
        return _restored(usual, dict(ours) | changed)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / OURS} does not describe a {model}: {error}") from None


def _restored(usual: Stored, stored: Mapping[str, Any]) -> Stored:
    """A dataclass from JSON; ``usual`` tells which of its fields are dataclasses too."""
    parts = {
        name: _restored(part, stored[name])
        for name, part in vars(usual).items()
        if is_dataclass(part)
    }
    return type(usual)(**(dict(stored) | parts))
