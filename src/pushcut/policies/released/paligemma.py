"""What policies on PaliGemma have in common: precision, pictures, scales, what a folder keeps."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pushcut.errors import UserError
from pushcut.policies.networks.paligemma import is_vision, stays_float32
from pushcut.policies.normalisation import DataStats
from pushcut.policies.precision import Compute
from pushcut.policies.released.images import fitted_pixels, fitted_values, siglip_pixel_values
from pushcut.policies.released.pi0_folder import LEROBOT_PREFIX, Layout, make_scaling
from pushcut.policies.released.policy import ReleasedPolicy
from pushcut.policies.released.prompts import PromptTokenizer
from pushcut.policies.released.scaling import Scaling
from pushcut.transfers import to_device
from pushcut.types import Observation


class PaliGemmaPolicy(ReleasedPolicy):
    """A released checkpoint whose PaliGemma reads pictures, prompt and perhaps the state.

    ``network`` is a PaliGemmaNetwork; ``config`` has its sizes, cameras, image_size, state_size,
    action_size, chunk, gripper and scaling.
    """

    resize: Literal["pil", "torch"]
    """Whose resizing: openpi's client or LeRobot."""
    layout: Layout
    """Program whose layout of a folder is written."""

    def set_up(
        self,
        statistics: DataStats,
        tokenizer: PromptTokenizer,
        *,
        files: Mapping[str, bytes],
        omitted: Collection[str],
        compute: Compute | None,
        origin: Path | None,
    ) -> None:
        """Takes what its folder says; config and network are there already.

        ``files`` and all weights but the ``omitted`` are saved back as they were.
        """
        config = self.config
        self.tokenizer, self.statistics = tokenizer, dict(statistics)
        self.files, self.omitted = dict(files), frozenset(omitted)
        self.compute, self.origin = compute or Compute(), origin
        self.cameras, self.image_size = config.cameras, config.image_size
        self.chunk, self.action_size = config.chunk, config.action_size
        self.state_size = config.state_size if self.sees_state else 0
        self.state_scaling = (
            self._scaling("state", config.state_size)
            if self.sees_state
            else Scaling.identity(config.state_size)
        )
        # Prompts are written on the host: no module, so that it stays there.
        self._state_on_host = (copy.deepcopy(self.state_scaling),)
        self.action_scaling = self._scaling("action", config.action_size)
        if tokenizer.size > config.sizes.vocab_size:
            raise UserError(
                f"the tokenizer has {tokenizer.size} words, the network {config.sizes.vocab_size}: "
                "is it the tokenizer of another model?"
            )

    @property
    def sees_state(self) -> bool:
        """Whether the network is told the state."""
        return True

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

    def prepare(self, obs: Observation) -> Observation:
        """Images of the cameras in use, in the network's size where that keeps whole levels.

        LeRobot's resize gives fractions of a level: that of uint8 images is done on the device.
        """
        if obs.prepared:
            return obs
        size, seen = self.network.sizes.vision.image_size, {}
        for camera in self.cameras:
            image = obs.images[camera]
            seen[camera] = image if self.resize == "torch" else fitted_pixels(image, size)
        return replace(obs, images=seen, prepared=True)

    def pictures(self, obs: Observation) -> Float[Tensor, "b n 3 s s"]:
        """Prepared images in [-1, 1], on the device."""
        size, seen = self.network.sizes.vision.image_size, []
        for camera in self.cameras:
            pixels = torch.from_numpy(np.ascontiguousarray(obs.images[camera]))
            pixels = to_device(pixels, self.device)
            whole = self.resize == "pil"
            seen.append(siglip_pixel_values(pixels) if whole else fitted_values(pixels, size))
        return torch.stack(seen, dim=1)

    def scaled_state(self, obs: Observation) -> Float[Tensor, "b s"]:
        """The state in the network's units, on the host."""
        if not self.sees_state:
            return torch.zeros(len(obs), 0)
        return self._state_on_host[0].scale(torch.from_numpy(np.ascontiguousarray(obs.state)))

    @property
    def prefix(self) -> str:
        """Prefix of the names in files of LeRobot."""
        return LEROBOT_PREFIX if self.layout == "lerobot" else ""

    def _scaling(self, name: str, size: int) -> Scaling:
        kind = self.config.scaling[name]
        return make_scaling(kind, self.statistics, name, size, layout=self.layout)
