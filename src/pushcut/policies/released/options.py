"""Options for reading a released checkpoint, where its folder does not say enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pushcut.policies.precision import Compute, Precision
from pushcut.system.progress import say
from pushcut.types import Gripper

ReleasedNetwork = Literal["pi0", "pi05", "smolvla", "openvla-oft"]
"""The VLAs that are known at their released sizes."""


@dataclass(frozen=True)
class ReleasedConfig:
    """How a released checkpoint (OpenVLA-OFT, pi0, pi0.5, SmolVLA) is read.

    None: as its folder says, or as is usual. Folders that pushcut wrote say it all themselves.
    """

    cameras: tuple[str, ...] | None = None
    """Cameras of the environment for its images, in its order; images beyond them are empty."""
    camera_names: tuple[str, ...] | None = None
    """New names of cameras, each THEIRS=OURS: what LeRobot's folder (its rename_map, or the model
    itself) and the environment call it; the order stays the folder's."""
    image_size: int | None = None
    """Height and width of the images that the environment gives, before its own resizing."""
    chunk: int | None = None
    """Steps that are executed of each predicted chunk. None: n_action_steps of LeRobot's folder,
    5 for openpi's, all for OpenVLA-OFT's."""
    horizon: int | None = None
    """Steps that are predicted. OpenVLA-OFT's folder does not say it (LIBERO 8), nor does that of
    openpi's own PyTorch trainer; others of pi0 do, and `pushcut plan` wants it."""
    state_size: int | None = None
    """Length of the state, where statistics of pi0 are padded and do not tell."""
    action_size: int | None = None
    """Length of an action, where statistics of pi0 are padded and do not tell."""
    statistics: str | None = None
    """Which statistics un-normalise actions: a key of norm_stats (OpenVLA-OFT), or a
    norm_stats.json (openpi)."""
    tokenizer: Path | None = None
    """A tokenizer.json, where neither the folder nor the hub's local cache has one."""
    gripper: Gripper | None = None
    """Meaning of the gripper command: which of ±1, or of 0 and 1, opens."""
    delta: bool | None = None
    """openpi's pi0 for LIBERO: predicted are actions minus the hand's pose. LeRobot's never do."""
    state_in_prompt: bool | None = None
    """openpi's pi0.5: whether the state is written into the prompt (pi05_libero does not).
    LeRobot's always do."""
    state_digits: Literal["own", "padded"] | None = None
    """LeRobot's pi0.5: whether the state in the prompt is padded first, as 0.4 did, or not, as 0.5
    and later do. None: as its settings tell; where they do not, a line says what was assumed."""
    download: bool = False
    """Whether the path may name a model of the Hugging Face hub (owner/name), which is fetched."""
    precision: Precision = "float32"
    """Precision in which the network computes."""
    master_weights: bool = True
    """With bfloat16: keep what is trained, its gradients and the optimiser in float32."""
    gradient_checkpointing: bool = False
    """Activations are made anew in the backward pass: less memory, more time."""

    @property
    def compute(self) -> Compute:
        """Precision of network and trained weights."""
        return Compute(self.precision, self.master_weights)

    def __post_init__(self) -> None:
        for name in ("image_size", "chunk", "horizon", "state_size", "action_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if any(not all(pair.partition("=")) for pair in self.camera_names or ()):
            names = " ".join(self.camera_names or ())
            raise ValueError(
                f"camera_names must be THEIRS=OURS each, for example image=top, got {names}"
            )

    @property
    def renamed(self) -> dict[str, str]:
        """The folder's name of a camera -> the environment's."""
        pairs = (pair.partition("=") for pair in self.camera_names or ())
        return {theirs: ours for theirs, _, ours in pairs}


def tell_stored(
    path: Path, config: Any, options: ReleasedConfig, *, shown: Mapping[str, object]
) -> None:
    """Says which options are not used, for a folder that pushcut wrote says otherwise itself.

    Args:
        path: The folder.
        config: What it says, by names that are those of options.
        options: What is asked for.
        shown: What it says under other names than its own.
    """
    stored = {
        name: getattr(config, name)
        for name in ("cameras", "image_size", "state_size", "action_size", "gripper", "delta")
        if hasattr(config, name)
    }
    differ = [
        f"{name} {value} (not {getattr(options, name)})"
        for name, value in (stored | dict(shown)).items()
        if getattr(options, name) not in (None, value)
    ]
    if differ:
        say(f"{path} was saved with settings of its own, which stand: {', '.join(differ)}")
