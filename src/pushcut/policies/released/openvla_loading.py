"""Loading an OpenVLA-OFT from the folders that others and pushcut write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.policies.networks.gradient_checkpointing import checkpoint_activations
from pushcut.policies.networks.llama import LlamaSizes
from pushcut.policies.networks.meta_init import meta_init
from pushcut.policies.networks.openvla import OpenVLANetwork, OpenVLASizes
from pushcut.policies.networks.vit import ViTSizes
from pushcut.policies.normalisation import DataStats
from pushcut.policies.released.adapters import base_of, merge_adapters
from pushcut.policies.released.files import OURS, read_json, small_files
from pushcut.policies.released.openvla_folder import (
    CHUNKS,
    GRIPPER,
    PROPRIO,
    STATISTICS_FILE,
    OpenVLAStats,
    is_two_arms,
    load_network,
    read_proprio_projector,
    read_statistics,
    refuse_regression,
    sizes_of,
    statistics_json,
    statistics_of_data,
)
from pushcut.policies.released.openvla_oft import OpenVLAOFTConfig, OpenVLAOFTPolicy
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.released.prompts import PromptTokenizer, read_tokenizer
from pushcut.policies.released.tensors import TensorFolder

BOS = "<s>"
"""First token of Llama's prompts."""


def load_openvla_oft(
    path: Path,
    description: Mapping[str, Any],
    options: ReleasedConfig,
    data: DataStats | None = None,
) -> OpenVLAOFTPolicy:
    """Loads the policy in a folder; raises UserError where something is missing or unfit.

    ``data`` takes the place of its own statistics, in the folder that is saved too.
    """
    refuse_regression(path)
    if options.state_digits is not None:
        raise UserError(
            f"{path}: OpenVLA's prompts hold no state: leave out --policy.released.state-digits"
        )
    base = base_of(path)
    tensors = TensorFolder.open(base)
    projector = read_proprio_projector(base)
    ours = read_json(path / OURS) if (path / OURS).exists() else None
    files = small_files(path)
    if data is None:
        key = options.statistics if ours is None else ours.get("statistics")
        statistics = read_statistics(path, description, key)
    else:
        statistics = statistics_of_data(data, options.gripper)
        files |= {STATISTICS_FILE: statistics_json(statistics)}
    if ours is None:
        proprio = 0 if projector is None else projector[1][f"{PROPRIO}fc1.weight"].shape[1]
        config = first_config(path, description, tensors, statistics, options, int(proprio))
    else:
        config = replace(stored_config(path, ours, options), statistics=statistics.key)
    with meta_init():
        network = OpenVLANetwork(config.sizes)
    load_network(network, tensors, {} if projector is None else projector[1])
    merge_adapters(network, path)
    checkpoint_activations(network, options.gradient_checkpointing)
    content = read_tokenizer(path, options.tokenizer)
    policy = OpenVLAOFTPolicy(
        config,
        network,
        statistics,
        PromptTokenizer(content, source=f"{path}'s tokenizer.json", bos=BOS),
        files=files | {"tokenizer.json": content},
        sharded=tensors.sharded,
        proprio_file=None if projector is None else projector[0].name,
        compute=options.compute,
        origin=None if base != path else path.absolute(),
    )
    return policy.eval()


def first_config(
    path: Path,
    description: Mapping[str, Any],
    tensors: TensorFolder,
    statistics: OpenVLAStats,
    options: ReleasedConfig,
    proprio_dim: int,
) -> OpenVLAOFTConfig:
    """Config for a folder that pushcut did not write."""
    if not options.cameras:
        raise UserError(
            f"{path} does not name its cameras: give the environment's in its order, for instance "
            "--policy.released.cameras agentview"
        )
    action_dim = statistics.action.size
    two_arms = is_two_arms(action_dim)
    horizon = options.horizon or CHUNKS.get(action_dim, 8)
    sizes = sizes_of(
        tensors.shapes,
        description,
        num_images=len(options.cameras),
        chunk=horizon,
        action_dim=action_dim,
        proprio_dim=proprio_dim,
        path=path,
    )
    try:
        return OpenVLAOFTConfig(
            sizes=sizes,
            cameras=options.cameras,
            image_size=options.image_size or 256,
            chunk=options.chunk or horizon,
            statistics=statistics.key,
            scaling="bounds" if two_arms else "quantiles",
            gripper=options.gripper or (None if two_arms else GRIPPER),
            image_transform="robotwin" if two_arms else "libero",
        )
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def stored_config(path: Path, ours: Mapping[str, Any], options: ReleasedConfig) -> OpenVLAOFTConfig:
    """Config that pushcut stored with a policy; the steps that are executed may change."""
    try:
        sizes = dict(ours["sizes"])
        parts = {
            "dino": ViTSizes(**sizes["dino"]),
            "siglip": ViTSizes(**sizes["siglip"]),
            "llm": LlamaSizes(**sizes["llm"]),
        }
        restored: dict[str, Any] = {
            "sizes": OpenVLASizes(**(sizes | parts)),
            "cameras": tuple(ours["cameras"]),
            "chunk": options.chunk or ours["chunk"],
        }
        fields = {"image_transform" if name == "pictures" else name: x for name, x in ours.items()}
        return OpenVLAOFTConfig(**(fields | restored))  # up to 0.1.0 it was called pictures
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / OURS} does not describe an OpenVLA-OFT: {error}") from None
