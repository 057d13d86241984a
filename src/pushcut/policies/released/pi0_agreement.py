"""Whether a pi0's folder and the options agree: the folder rules, or the line says what is wrong.

Options may come from a preset, which knows nothing of the folder. What a folder states is never
cut, padded or permuted for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pushcut.errors import UserError
from pushcut.policies.networks.pi0 import Pi0Sizes
from pushcut.policies.networks.smolvla import SmolVLASizes
from pushcut.policies.normalisation import DataStats, NormStats
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.released.pi0_folder import Pi0Facts
from pushcut.system.progress import say

POSE = 6
"""Numbers of a hand's pose, position and rotation."""

PADDING = 1e-6
"""Statistics up to here are those of zeros."""


def horizon_of(path: Path, facts: Pi0Facts, options: ReleasedConfig) -> int:
    """Steps that are predicted: as the folder states, or as the user says."""
    asked = options.horizon
    if facts.chunk is not None:
        if asked not in (None, facts.chunk):
            say(
                f"{path} predicts {facts.chunk} steps, as its config.json states: "
                f"--policy.released.horizon {asked} is not used"
            )
        return facts.chunk
    if asked is None:
        raise UserError(
            f"{path} is a checkpoint of openpi's own PyTorch trainer: it has no config.json, and "
            "nothing says how many steps it predicts: give --policy.released.horizon, the "
            "action_horizon that it was trained with"
        )
    say(
        f"{path} has no config.json: taken for a checkpoint of openpi's own PyTorch trainer that "
        f"predicts {asked} steps (--policy.released.horizon); sizes are those of its tensors"
    )
    return asked


def check_resolution(path: Path, description: Mapping[str, Any], sizes: Pi0Sizes) -> None:
    """Refuses a folder of LeRobot whose network takes images of another size than it states."""
    stated, own = description.get("image_resolution"), sizes.vision.image_size
    if stated is not None and list(stated) != [own, own]:
        raise UserError(
            f"{path}: config.json states image_resolution {list(stated)}, the network's tensors "
            f"are for {own}"
        )


def vector_size(
    name: Literal["state", "action"],
    path: Path,
    facts: Pi0Facts,
    sizes: Pi0Sizes | SmolVLASizes,
    options: ReleasedConfig,
    data: DataStats | None,
) -> int:
    """Length of state or action; UserError where folder, statistics and options disagree."""
    if data is not None:
        return data[name].size
    asked = options.state_size if name == "state" else options.action_size
    stated, found = facts.stated.get(name), facts.statistics.get(name)
    flag = f"--policy.released.{name}-size"
    if asked is not None and stated not in (None, asked):
        raise UserError(
            f"{path} is for {name}s of {stated} numbers, as its config.json states; asked are "
            f"{asked} ({flag}, or the preset): it belongs to another robot or preset, unless "
            "`pushcut sft --statistics data` teaches it yours"
        )
    width = sizes.state_dim if name == "state" else sizes.action_dim
    size = asked or stated or (found.size if found else width)
    if found is not None and found.size > size and not _is_padding(found, size):
        raise UserError(
            f"{path} has statistics of {name}s of {found.size} numbers, {size} are asked "
            f"({flag}, or the preset), and the others are no padding: it belongs to another robot "
            "or preset, unless `pushcut sft --statistics data` teaches it yours"
        )
    return size


def _is_padding(statistics: NormStats, size: int) -> bool:
    """Whether the numbers beyond a size were zero in all frames."""
    values = statistics.by_name()
    spread = values.pop("std", [])
    # Some programs pad deviations with ones.
    tail = [x for numbers in values.values() for x in numbers[size:]]
    return all(abs(x) <= PADDING for x in tail) and all(
        x <= PADDING or x == 1.0 for x in spread[size:]
    )


def check_options(
    path: Path, facts: Pi0Facts, sizes: Pi0Sizes, options: ReleasedConfig, action_size: int
) -> None:
    """Refuses an option that could have no effect, and says what is assumed without one."""
    if options.state_in_prompt and not sizes.pi05:
        raise UserError(
            f"{path} is a pi0, which never reads its state from the prompt: leave out "
            "--policy.released.state-in-prompt"
        )
    if facts.layout == "lerobot":
        # Presets name openpi's conventions, so these are no errors.
        if options.delta:
            say(f"{path}: LeRobot's models predict actions: --policy.released.delta is not used")
        if options.state_in_prompt is False and sizes.pi05:
            say(
                f"{path}: LeRobot's pi0.5 always reads its state from the prompt: "
                "--policy.released.state-in-prompt False is not used"
            )
        return
    assumed = []
    if sizes.pi05 and options.state_in_prompt is None and options.state_digits is None:
        assumed.append(
            "its prompts hold the state (openpi's pi05_libero does without: "
            "--policy.released.state-in-prompt False)"
        )
    if options.delta is None and not sizes.pi05 and action_size > POSE:
        assumed.append(
            "it predicts actions (openpi's pi0_libero predicts differences: "
            "--policy.released.delta True)"
        )
    if assumed:
        say(f"{path}: taken is that {'; that '.join(assumed)}")
