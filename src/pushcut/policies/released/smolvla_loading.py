"""Loading a SmolVLA from the folders that LeRobot and pushcut write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.policies.adapter_files import WEIGHTS as ADAPTERS
from pushcut.policies.networks.context_block import BlockSizes
from pushcut.policies.networks.meta_init import meta_init
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.networks.smolvla import SmolVLANetwork, SmolVLASizes
from pushcut.policies.normalisation import DataStats
from pushcut.policies.released.adapters import base_of
from pushcut.policies.released.camera_order import cameras_of
from pushcut.policies.released.files import OURS, read_json
from pushcut.policies.released.flow_loading import assembled
from pushcut.policies.released.lerobot_renames import check_renames
from pushcut.policies.released.lerobot_steps import check_steps, tokenizer_name
from pushcut.policies.released.options import ReleasedConfig, tell_stored
from pushcut.policies.released.pi0_agreement import horizon_of, vector_size
from pushcut.policies.released.pi0_facts import lerobot_facts
from pushcut.policies.released.pi0_folder import Pi0Facts, plain_name
from pushcut.policies.released.pi0_loading import GRIPPER, saved_files, with_sizes
from pushcut.policies.released.scaling import in_convention
from pushcut.policies.released.smolvla import SmolVLAConfig, SmolVLAPolicy
from pushcut.policies.released.smolvla_folder import load_network, sizes_of
from pushcut.policies.released.stated import check_smolvla
from pushcut.policies.released.tensors import TensorFolder
from pushcut.policies.released.tokenizer_files import read_tokenizer
from pushcut.policies.released.weight_files import tell_unread

MAX_TOKENS = 48


def load_smolvla(
    path: Path,
    description: dict[str, Any],
    options: ReleasedConfig,
    data: DataStats | None = None,
) -> SmolVLAPolicy:
    """Loads the policy in a folder; raises UserError where something is missing or unfit.

    ``data`` takes the place of its own statistics, in the folder that is saved too.
    """
    facts = _facts(path, description, options, replaced=data is not None)
    base = base_of(path)
    content = read_tokenizer(path, options.tokenizer, model=tokenizer_name(path, description))
    tensors = TensorFolder.open(base).renamed(plain_name)
    ours = read_json(path / OURS) if (path / OURS).exists() else None
    if ours:
        config = stored_config(path, ours, options)
    else:
        sizes = sizes_of(tensors.shapes, description, path)
        config = first_config(path, description, facts, sizes, options, data)
        for folder in dict.fromkeys((path, base)):
            tell_unread(folder, [*tensors.files.values(), path / ADAPTERS])
    if data is not None:
        action = in_convention(data["action"], config.gripper)
        facts = replace(facts, statistics={"state": data["state"], "action": action})
        config = with_sizes(path, config, data)
    files = saved_files(path, facts, config, options, replaced=data is not None)
    with meta_init():
        network = SmolVLANetwork(config.sizes)
    omitted = load_network(network, tensors)
    return assembled(
        SmolVLAPolicy,
        path,
        config,
        network,
        statistics=facts.statistics,
        tokenizer=content,
        bos=None,
        files=files,
        omitted=omitted,
        options=options,
    )


def _facts(
    path: Path, description: dict[str, Any], options: ReleasedConfig, *, replaced: bool
) -> Pi0Facts:
    try:
        return lerobot_facts(
            path, description, options.statistics, replaced, steps=description["num_steps"]
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / 'config.json'} does not describe a SmolVLA: {error!r}") from None


def first_config(
    path: Path,
    description: Mapping[str, Any],
    facts: Pi0Facts,
    sizes: SmolVLASizes,
    options: ReleasedConfig,
    data: DataStats | None = None,
) -> SmolVLAConfig:
    """Config for a folder that pushcut did not write; ``data`` decides sizes where it is given."""
    check_smolvla(path, description, sizes)
    check_steps(path)
    check_renames(path, description)
    horizon_of(path, facts, options)  # says which option is not used
    try:
        return SmolVLAConfig(
            sizes=sizes,
            cameras=cameras_of(path, facts, options),
            image_size=options.image_size or 256,
            state_size=vector_size("state", path, facts, sizes, options, data),
            action_size=vector_size("action", path, facts, sizes, options, data),
            chunk=options.chunk or facts.executed or min(5, sizes.chunk),
            num_steps=facts.num_steps,
            max_tokens=facts.max_tokens or MAX_TOKENS,
            gripper=options.gripper or GRIPPER,
            scaling=dict(facts.kinds),
        )
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def stored_config(path: Path, ours: Mapping[str, Any], options: ReleasedConfig) -> SmolVLAConfig:
    """Config that pushcut stored with a policy; executed steps may change."""
    try:
        sizes = dict(ours["sizes"])
        parts = {
            "vision": SiglipSizes(**sizes["vision"]),
            "vlm": BlockSizes(**sizes["vlm"]),
            "expert": BlockSizes(**sizes["expert"]),
        }
        restored: dict[str, Any] = {
            "sizes": SmolVLASizes(**(sizes | parts)),
            "cameras": tuple(ours["cameras"]),
            "chunk": options.chunk or ours["chunk"],
        }
        config = SmolVLAConfig(**(dict(ours) | restored))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / OURS} does not describe a SmolVLA: {error}") from None
    found: dict[str, object] = {"horizon": config.sizes.chunk, "camera_names": config.cameras}
    tell_stored(path, config, options, shown=found)
    return config
