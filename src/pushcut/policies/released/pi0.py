"""pi0 and pi0.5 as policies: released networks with their own images, prompts and scales."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pushcut.policies.flow.chains import Expert
from pushcut.policies.flow.transitions import Velocity
from pushcut.policies.networks.pi0 import (
    Pi0Network,
    Pi0Sizes,
    PrefixCache,
    is_vision,
    stays_float32,
)
from pushcut.policies.released.flow_policy import (
    FlowVLAConfig,
    ReleasedFlowPolicy,
    Seen,
    VLAPrefix,
)
from pushcut.policies.released.images import fitted_pixels, fitted_values, siglip_pixel_values
from pushcut.policies.released.pi0_folder import (
    LEROBOT_PREFIX,
    Layout,
    load_network,
    norm_stats_json,
    plain_name,
)
from pushcut.policies.released.prompts import (
    Prompts,
    clean,
    pad_right,
    pi05_prompt,
    without_newline,
)
from pushcut.policies.released.tensors import TensorFolder, released_shapes
from pushcut.transfers import to_device
from pushcut.types import Observation

StateDigits = Literal["none", "own", "padded"]


@dataclass(frozen=True)
class Pi0Config(FlowVLAConfig):
    """A pi0 or pi0.5 and everything about it that is not in its weights."""

    sizes: Pi0Sizes = Pi0Sizes()
    state_digits: StateDigits = "none"
    """Whether the prompt holds the state (pi0.5), padded to ``state_dim`` as LeRobot does or
    not."""
    delta: bool = False
    """Whether the hand's six numbers are predicted as differences from its pose (openpi's
    pi0_libero)."""
    resize: Literal["pil", "torch"] = "pil"
    """Whose resizing: openpi's client or LeRobot."""
    layout: Layout = "openpi"


class Pi0Policy(ReleasedFlowPolicy):
    """PaliGemma and the action expert of a released checkpoint, or fresh ones of any size."""

    config: Pi0Config
    network: Pi0Network

    @property
    def encoder_parts(self) -> list[nn.Module]:
        """PaliGemma, without the words that nobody asks it for."""
        return [self.network.vlm.model]

    def stays_float32(self, name: str) -> bool:
        return stays_float32(name) or (self._sees_exactly and is_vision(name))

    @property
    def _sees_exactly(self) -> bool:
        """Whether the folder leaves the tower of images in float32 beside bfloat16.

        LeRobot does, from 0.5.1 on, and computes it so.
        """
        if not self.is_mixed:
            return False
        return all(x == torch.float32 for name, x in self.file_dtypes.items() if is_vision(name))

    def _remember_files(self) -> None:
        super()._remember_files()
        self.network.exact_vision = self._sees_exactly

    def fitted(self, image: UInt8[np.ndarray, "b _ _ 3"]) -> np.ndarray:
        """Images in the network's size where that keeps whole levels.

        LeRobot's resize gives fractions of a level: that of uint8 images is done on the device.
        """
        if self.config.resize == "torch":
            return image
        return fitted_pixels(image, self.config.sizes.vision.image_size)

    def pixel_values(self, pixels: UInt8[Tensor, "b _ _ 3"]) -> Float[Tensor, "b 3 s s"]:
        """Levels in [-1, 1]."""
        if self.config.resize == "pil":
            return siglip_pixel_values(pixels)
        return fitted_values(pixels, self.config.sizes.vision.image_size)

    def read(self, seen: Seen, state: Float[Tensor, "b d"]) -> PrefixCache:
        """PaliGemma on images and prompt; the expert sees the state."""
        return self.network.encode(*seen, output=self.critic_sees_prefix)

    def expert_on(self, prefix: VLAPrefix) -> Expert:

        def expert(x: Float[Tensor, "b m h a"], t: Float[Tensor, "b m"]) -> Velocity:
            output = self.network.denoise(prefix.cache, prefix.state, x, t)
            return Velocity(output.velocity, output.features)

        return expert

    @property
    def prefix(self) -> str:
        """Prefix of the names in files of LeRobot."""
        return LEROBOT_PREFIX if self.config.layout == "lerobot" else ""

    def fill(self, path: Path) -> None:
        """Reads the weights of a folder into the network."""
        tensors, used = TensorFolder.open(path).renamed(plain_name), released_shapes(self.network)
        unused = self.aside.keys() - used.keys()
        load_network(self.network, tensors.renamed(lambda x: None if x in unused else x))

    def save_weights(self, path: Path) -> None:
        """Writes one file, and statistics where no file has them."""
        if self.config.layout == "openpi" and not list(path.rglob("norm_stats.json")):
            (path / "norm_stats.json").write_bytes(norm_stats_json(self.statistics))
        super().save_weights(path)

    @property
    def sees_state(self) -> bool:
        """Whether the expert, the prompt or what actions are relative to has the state."""
        config = self.config
        return not config.sizes.pi05 or config.state_digits != "none" or config.delta

    def prompts(self, obs: Observation, state: Float[Tensor, "b s"]) -> Prompts:
        """Prompts of a batch; pi0.5's may hold the state."""
        config = self.config
        if config.state_digits == "none":
            newline = self.tokenizer.plain("\n")
            line = without_newline if config.layout == "lerobot" else clean
            rows = [self.tokenizer.encode(line(text)) + newline for text in obs.instruction]
            return pad_right(rows, config.max_tokens)
        if config.state_digits == "padded":
            state = F.pad(state, (0, config.sizes.state_dim - state.shape[1]))
        written = [
            pi05_prompt(text, row) for text, row in zip(obs.instruction, state.numpy(), strict=True)
        ]
        return pad_right([self.tokenizer.encode(text) for text in written], config.max_tokens)

    def origin_of(
        self, obs: Observation, action: Float[Tensor, "b h a"]
    ) -> Float[Tensor, "b 1 a"] | float:
        """The hand's pose, where actions are predicted as differences from it."""
        pose = torch.zeros(len(obs), 1, self.action_size, device=action.device)
        if self.config.delta:
            hand = torch.from_numpy(np.ascontiguousarray(obs.state[:, :6])).to(pose.dtype)
            pose[:, 0, :6] = to_device(hand, pose.device)
        return pose
