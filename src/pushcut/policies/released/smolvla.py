"""SmolVLA as a policy: the released network with its own images, prompts and scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pushcut.policies.flow.chains import Expert
from pushcut.policies.flow.transitions import Velocity
from pushcut.policies.networks.smolvla import SmolVLANetwork, SmolVLASizes, is_inside
from pushcut.policies.released.flow import CachedPrefix, FlowVLAConfig, ReleasedFlowPolicy
from pushcut.policies.released.images import fitted_values
from pushcut.policies.released.pi0_folder import LEROBOT_PREFIX
from pushcut.policies.released.prompts import Prompts, pad_right, without_newline
from pushcut.policies.released.smolvla_folder import load_network
from pushcut.policies.released.tensors import TensorFolder
from pushcut.transfers import to_device
from pushcut.types import Observation


@dataclass(frozen=True)
class SmolVLAConfig(FlowVLAConfig):
    """A SmolVLA and everything about it that is not in its weights."""

    sizes: SmolVLASizes = SmolVLASizes()
    num_steps: int = 10


class SmolVLAPolicy(ReleasedFlowPolicy):
    """SmolVLM2 and the action expert of a released checkpoint, or fresh ones of any size.

    The state is a token of the VLM: with a frozen encoder its projection is frozen too.
    """

    config: SmolVLAConfig
    network: SmolVLANetwork
    lerobot_prefix = LEROBOT_PREFIX

    @property
    def layout(self) -> Literal["lerobot"]:
        return "lerobot"

    @property
    def encoder_parts(self) -> list[nn.Module]:
        """The VLM, without the words that nobody asks it for, and the state's projection."""
        return [self.network.vlm.model, *self.state_parts]

    @property
    def state_parts(self) -> list[nn.Module]:
        return [self.network.state_proj]

    def stays_float32(self, name: str) -> bool:
        return not is_inside(name)

    def pixel_values(self, pixels: UInt8[Tensor, "b _ _ 3"]) -> Float[Tensor, "b 3 s s"]:
        """Levels in [-1, 1]; the image lies at the bottom and at the right of a black square."""
        return fitted_values(pixels, self.config.sizes.image_size, corner=True)

    def read(
        self, images: Float[Tensor, "b n 3 s s"], prompts: Prompts, state: Float[Tensor, "b d"]
    ) -> CachedPrefix:
        """The VLM on images, prompt and state."""
        cache = self.network.encode(
            images,
            torch.ones(images.shape[:2], dtype=torch.bool, device=self.device),
            to_device(prompts.ids, self.device),
            to_device(prompts.mask, self.device),
            state,
            output=self.critic_sees_prefix,
        )
        return CachedPrefix(cache, state, cache.mean())

    def prefix_of(self, trace: dict[str, Tensor]) -> CachedPrefix:
        return CachedPrefix.of(trace)

    def expert_on(self, prefix: CachedPrefix) -> Expert:

        def expert(x: Float[Tensor, "b m h a"], t: Float[Tensor, "b m"]) -> Velocity:
            output = self.network.denoise(prefix.cache, x, t)
            return Velocity(output.velocity, output.features)

        return expert

    def prompts(self, obs: Observation, state: Float[Tensor, "b s"]) -> Prompts:
        """The instructions, each with one newline at its end and no token before it."""
        rows = [self.tokenizer.plain(f"{without_newline(text)}\n") for text in obs.instruction]
        return pad_right(rows, self.config.max_tokens)

    def load(self, tensors: TensorFolder) -> None:
        load_network(self.network, tensors)
