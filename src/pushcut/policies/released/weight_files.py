"""Files of weights beside those of the network: read, refused by name, or said to be left out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from pushcut.errors import UserError
from pushcut.policies.released.files import WEIGHTS
from pushcut.system.progress import say

PROJECTOR = "proprio_projector"
"""The part of OpenVLA-OFT that is read from a file of its own."""

TOKENS = "use a checkpoint with action tokens, such as those of SimpleVLA-RL"

PARTS = {
    "action_head": (
        "an L1-regression head ({file}): it predicts one action and no distribution, so there is "
        f"nothing to sample and no log-probability; {TOKENS}"
    ),
    "noisy_action_projector": (
        "a projector of noisy actions ({file}): its actions come from OpenVLA-OFT's diffusion "
        f"head, which pushcut does not have; {TOKENS}"
    ),
    "vision_backbone": (
        "a vision tower of its own ({file}): the instruction modulates it (FiLM), which pushcut "
        "does not do; use a checkpoint without FiLM"
    ),
}
"""Parts of OpenVLA-OFT's variants, by the names of their files."""

APART = re.compile(r"(?P<part>\w+)--(\w+_)?checkpoint\.pt")
"""How OpenVLA-OFT's program names a part's file: part--step_checkpoint.pt."""

TRAINING = re.compile(
    r"(optimizer|optim_|scheduler|scaler|rng_state|random_states|training_args|training_parts|"
    r"training_state|metadata\.pt|global_step|zero_pp|mp_rank|dcp_checkpoint|local_shard|__\d)"
)
"""Beginnings of the names of files that only go on with a training; no policy is in them."""


def refuse_parts(path: Path, names: Iterable[str]) -> None:
    """Raises UserError for a folder with a part that pushcut does not know, by its file."""
    files = sorted(Path(name).name for name in names)
    # The more particular part first: diffusion has a head too.
    for part in reversed(PARTS):
        for file in files:
            if file.startswith((f"{part}--", f"{part}.")):
                raise UserError(f"{path} has {PARTS[part].format(file=file)}")
    for file in files:
        found = APART.fullmatch(file)
        if found and found["part"] != PROJECTOR:
            raise UserError(
                f"{path} has the part {found['part']} in a file of its own ({file}), which pushcut "
                "does not know: use a checkpoint without it"
            )


def holds_weights(path: Path) -> bool:
    """Whether a folder has whole weights, in one file or in several."""
    return any(
        next(path.glob(name), None) for name in ("model*.safetensors*", "*.bin", "model*.pt")
    )


def tell_unread(path: Path, read: Collection[Path]) -> None:
    """Says which files of weights in a folder are not read; silent on those of a training."""
    known = {file.resolve() for file in read}
    unread = [
        str(file.relative_to(path))
        for file in sorted([*path.glob("*"), *path.glob("[!.]*/*")])
        if file.name.endswith(WEIGHTS)
        and not file.name.endswith(".index.json")
        and "processor" not in file.name
        and not TRAINING.match(file.name)
        and not TRAINING.match(file.parent.name)
        and file.resolve() not in known
    ]
    if unread:
        more = f" and {len(unread) - 3} more" if len(unread) > 3 else ""
        say(f"{path}: not read, for nothing says what for: {', '.join(unread[:3])}{more}")
