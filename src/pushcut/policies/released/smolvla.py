"""SmolVLA as a policy: the released network with its own images, prompts and scales."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pushcut.policies.flow.chains import Expert
from pushcut.policies.flow.transitions import Velocity
from pushcut.policies.networks.pi0 import PrefixCache
from pushcut.policies.networks.smolvla import SmolVLANetwork, SmolVLASizes, is_inside
from pushcut.policies.released.flow_policy import (
    FlowVLAConfig,
    ReleasedFlowPolicy,
    Seen,
    VLAPrefix,
)
from pushcut.policies.released.images import fitted_values
from pushcut.policies.released.pi0_folder import LEROBOT_PREFIX, plain_name
from pushcut.policies.released.prompts import Prompts, pad_right, without_newline
from pushcut.policies.released.smolvla_folder import load_network
from pushcut.policies.released.tensors import TensorFolder, released_shapes
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
    prefix = LEROBOT_PREFIX

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

    def read(self, seen: Seen, state: Float[Tensor, "b d"]) -> PrefixCache:
        """The VLM on images, prompt and state."""
        return self.network.encode(*seen, state, output=self.critic_sees_prefix)

    def expert_on(self, prefix: VLAPrefix) -> Expert:

        def expert(x: Float[Tensor, "b m h a"], t: Float[Tensor, "b m"]) -> Velocity:
            output = self.network.denoise(prefix.cache, x, t)
            return Velocity(output.velocity, output.features)

        return expert

    def prompts(self, obs: Observation, state: Float[Tensor, "b s"]) -> Prompts:
        """The instructions, each with one newline at its end and no token before it."""
        rows = [self.tokenizer.plain(f"{without_newline(text)}\n") for text in obs.instruction]
        return pad_right(rows, self.config.max_tokens)

    def fill(self, path: Path) -> None:
        """Reads the weights of a folder into the network."""
        tensors, used = TensorFolder.open(path).renamed(plain_name), released_shapes(self.network)
        unused = self.aside.keys() - used.keys()
        load_network(self.network, tensors.renamed(lambda x: None if x in unused else x))
