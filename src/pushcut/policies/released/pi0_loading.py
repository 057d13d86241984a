"""Loading a pi0 or pi0.5 from the folders that LeRobot, openpi and pushcut write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pushcut.errors import UserError
from pushcut.policies.adapter_files import WEIGHTS as ADAPTERS
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.meta_init import meta_init
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.normalisation import DataStats
from pushcut.policies.released.adapters import base_of
from pushcut.policies.released.camera_order import cameras_of
from pushcut.policies.released.files import OURS, read_json, small_files
from pushcut.policies.released.flow_loading import assembled
from pushcut.policies.released.flow_policy import FlowVLAConfig
from pushcut.policies.released.lerobot_processors import for_robot
from pushcut.policies.released.lerobot_renames import check_renames
from pushcut.policies.released.lerobot_steps import check_steps, pads_state, tokenizer_name
from pushcut.policies.released.options import ReleasedConfig, tell_stored
from pushcut.policies.released.pi0 import Pi0Config, Pi0Policy, StateDigits
from pushcut.policies.released.pi0_agreement import (
    POSE,
    check_options,
    check_resolution,
    horizon_of,
    vector_size,
)
from pushcut.policies.released.pi0_facts import read_facts, with_statistics
from pushcut.policies.released.pi0_folder import (
    VISION_HEADS,
    Layout,
    Pi0Facts,
    load_network,
    plain_name,
    sizes_of,
)
from pushcut.policies.released.scaling import in_convention
from pushcut.policies.released.stated import check_pi0
from pushcut.policies.released.tensors import TensorFolder
from pushcut.policies.released.tokenizer_files import PALIGEMMA, read_tokenizer
from pushcut.policies.released.weight_files import tell_unread
from pushcut.system.progress import say

Config = TypeVar("Config", bound=FlowVLAConfig)

GRIPPER = "plus_closes"
"""Default meaning of the gripper command of a checkpoint."""

BOS = "<bos>"
"""First token of PaliGemma's prompts."""


def load_pi0(
    path: Path,
    description: dict[str, Any],
    options: ReleasedConfig,
    data: DataStats | None = None,
) -> Pi0Policy:
    """Loads the policy in a folder; raises UserError where something is missing or unfit.

    ``data`` takes the place of its own statistics, in the folder that is saved too.
    """
    facts = read_facts(path, description, options.statistics, replaced=data is not None)
    base = base_of(path)
    model = tokenizer_name(path, description) if facts.layout == "lerobot" else PALIGEMMA
    content = read_tokenizer(path, options.tokenizer, model=model)
    tensors = TensorFolder.open(base).renamed(plain_name)
    ours = read_json(path / OURS) if (path / OURS).exists() else None
    if ours:
        config = stored_config(path, ours, options)
    else:
        chunk = horizon_of(path, facts, options)
        shapes = tensors.shapes
        sizes = sizes_of(shapes, facts, chunk=chunk, vision_heads=VISION_HEADS, path=path)
        config = first_config(path, description, facts, sizes, options, data)
        for folder in dict.fromkeys((path, base)):
            tell_unread(folder, [*tensors.files.values(), path / ADAPTERS])
    if data is not None:
        facts = with_data(facts, data, config)
        config = with_sizes(path, config, data)
    files = saved_files(path, facts, config, options, replaced=data is not None)
    with meta_init():
        network = Pi0Network(config.sizes)
    omitted = load_network(network, tensors)
    return assembled(
        Pi0Policy,
        path,
        config,
        network,
        statistics=facts.statistics,
        tokenizer=content,
        bos=BOS,
        files=files,
        omitted=omitted,
        options=options,
    )


def with_sizes(path: Path, config: Config, data: DataStats) -> Config:
    """The config with the sizes of the data; UserError where the network is too small."""
    try:
        return replace(config, state_size=data["state"].size, action_size=data["action"].size)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def saved_files(
    path: Path, facts: Pi0Facts, config: FlowVLAConfig, options: ReleasedConfig, *, replaced: bool
) -> dict[str, bytes]:
    """The small files to save: of the folder, with what is not as the folder says any more."""
    files = small_files(path)
    if "config.json" not in files and "configs.json" in files:
        files["config.json"] = files.pop("configs.json")
    named = options.statistics
    replaced = replaced or named is not None
    if facts.layout == "lerobot" and (replaced or config.cameras != facts.seen):
        statistics = None
        if replaced:
            sizes = {"state": config.state_size, "action": config.action_size}
            statistics = {name: facts.statistics[name].first(size) for name, size in sizes.items()}
        return for_robot(files, cameras=config.cameras, statistics=statistics)
    if facts.layout == "openpi" and replaced:
        return with_statistics(files, facts, named and _inside(path, Path(named)))
    return files


def _inside(path: Path, file: Path) -> str | None:
    """A file's place in the folder at ``path``, if it is there."""
    if file.absolute().is_relative_to(path.absolute()):
        return str(file.absolute().relative_to(path.absolute()))
    path, file = path.resolve(), file.resolve()
    return str(file.relative_to(path)) if file.is_relative_to(path) else None


def with_data(facts: Pi0Facts, data: DataStats, config: Pi0Config) -> Pi0Facts:
    """The facts with other statistics, turned into the checkpoint's own conventions."""
    if config.delta:
        raise UserError(
            "statistics of the data are of actions, this checkpoint predicts differences: keep its "
            "own statistics, or teach it actions (--policy.released.delta False)"
        )
    action = in_convention(data["action"], config.gripper)
    return replace(facts, statistics={"state": data["state"], "action": action})


def first_config(
    path: Path,
    description: Mapping[str, Any],
    facts: Pi0Facts,
    sizes: Pi0Sizes,
    options: ReleasedConfig,
    data: DataStats | None = None,
) -> Pi0Config:
    """Config for a folder that pushcut did not write; ``data`` decides sizes where it is given."""
    check_pi0(path, description, sizes)
    shown = description.get("discrete_state_input")  # openpi's name for the state in the prompt
    if shown is not None and sizes.pi05 and facts.layout == "openpi":
        if options.state_in_prompt not in (None, bool(shown)):
            say(
                f"{path}: config.json states discrete_state_input {shown}: "
                f"--policy.released.state-in-prompt {options.state_in_prompt} is not used"
            )
        options = replace(options, state_in_prompt=bool(shown))
    if facts.layout == "lerobot":
        check_steps(path)
        check_renames(path, description)
        check_resolution(path, description, sizes)
    cameras = cameras_of(path, facts, options)
    state_size = vector_size("state", path, facts, sizes, options, data)
    action_size = vector_size("action", path, facts, sizes, options, data)
    # Only openpi's models predict differences, and only its pi0.5 may do without the state.
    delta = bool(options.delta) and facts.layout == "openpi"
    if delta and min(state_size, action_size) < POSE:
        raise UserError(
            f"{path}: differences from the hand's pose (delta) need its {POSE} numbers first in "
            f"state and actions; the statistics are of {state_size} and {action_size} numbers"
        )
    check_options(path, facts, sizes, options, action_size)
    try:
        return Pi0Config(
            sizes=sizes,
            cameras=cameras,
            image_size=options.image_size or 256,
            state_size=state_size,
            action_size=action_size,
            chunk=options.chunk or facts.executed or min(5, sizes.chunk),
            num_steps=facts.num_steps,
            max_tokens=facts.max_tokens or (200 if sizes.pi05 else 48),
            state_digits=_digits(path, description, facts, sizes, options),
            delta=delta,
            gripper=options.gripper or GRIPPER,
            resize="torch" if facts.layout == "lerobot" else "pil",
            layout=facts.layout,
            scaling=dict(facts.kinds),
        )
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _digits(
    path: Path,
    description: Mapping[str, Any],
    facts: Pi0Facts,
    sizes: Pi0Sizes,
    options: ReleasedConfig,
) -> StateDigits:
    """Whether and how the prompt holds the state; says so where the folder does not tell."""
    shown: StateDigits = "own"
    if not sizes.pi05 or (facts.layout == "openpi" and options.state_in_prompt is False):
        shown = "none"
    if options.state_digits is not None:
        return _asked_digits(path, shown, facts.layout, options.state_digits)
    if shown == "none" or facts.layout == "openpi":
        return shown
    padded = pads_state(path, description)
    if padded is not False:
        version, other = ("0.4", "own") if padded else ("0.5 or later", "padded")
        say(
            f"{path}: taken for a pi0.5 that LeRobot {version} trained, whose prompts hold the "
            f"state {'padded' if padded else 'without padding'}; if it was another version: "
            f"--policy.released.state-digits {other}"
        )
    return "padded" if padded else "own"


def _asked_digits(
    path: Path, shown: StateDigits, layout: Layout, wanted: StateDigits
) -> StateDigits:
    """What the user asks for; UserError where it could have no effect."""
    if shown == "none":
        raise UserError(
            f"{path}: its prompts hold no state: leave out --policy.released.state-digits"
        )
    if layout == "openpi" and wanted == "padded":
        raise UserError(
            f"{path}: openpi never pads the state of a prompt: leave out "
            "--policy.released.state-digits"
        )
    return wanted


def stored_config(path: Path, ours: Mapping[str, Any], options: ReleasedConfig) -> Pi0Config:
    """Config that pushcut stored with a policy; executed steps and padded digits may change."""
    try:
        sizes = dict(ours["sizes"])
        parts = {
            "vision": SiglipSizes(**sizes["vision"]),
            "vlm": GemmaSizes(**sizes["vlm"]),
            "expert": GemmaSizes(**sizes["expert"]),
        }
        restored: dict[str, Any] = {
            "sizes": Pi0Sizes(**(sizes | parts)),
            "cameras": tuple(ours["cameras"]),
            "chunk": options.chunk or ours["chunk"],
        }
        if options.state_digits is not None:
            shown, layout = ours["state_digits"], ours["layout"]
            restored["state_digits"] = _asked_digits(path, shown, layout, options.state_digits)
        config = Pi0Config(**(dict(ours) | restored))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / OURS} does not describe a pi0: {error}") from None
    found: dict[str, object] = {"horizon": config.sizes.chunk, "camera_names": config.cameras}
    if config.sizes.pi05:
        found["state_in_prompt"] = config.state_digits != "none"
    tell_stored(path, config, options, shown=found)
    return config
