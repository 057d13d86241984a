"""pi0 and pi0.5 as policies: released networks with their own images, prompts and scales."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Float
from torch import Tensor, nn

from pushcut.policies.flow.chains import Expert
from pushcut.policies.flow.transitions import DEFAULT_STEPS, Denoising, Velocity
from pushcut.policies.networks.paligemma import PrefixCache
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes
from pushcut.policies.normalisation import DataStats
from pushcut.policies.precision import Compute
from pushcut.policies.released.flow import ReleasedFlowPolicy
from pushcut.policies.released.paligemma import PaliGemmaPolicy
from pushcut.policies.released.pi0_folder import (
    Layout,
    load_network,
    norm_stats_json,
    plain_name,
)
from pushcut.policies.released.prompts import (
    Prompts,
    PromptTokenizer,
    clean,
    pad_right,
    pi05_prompt,
    without_newline,
)
from pushcut.policies.released.scaling import ScalingKind, from_border, to_border
from pushcut.policies.released.tensors import TensorFolder, released_shapes
from pushcut.policies.value_head import CriticPlacement
from pushcut.transfers import to_device
from pushcut.types import Gripper, Observation

StateDigits = Literal["none", "own", "padded"]


@dataclass(frozen=True)
class Pi0Config:
    """A pi0 or pi0.5 and everything about it that is not in its weights."""

    sizes: Pi0Sizes = Pi0Sizes()
    cameras: tuple[str, ...] = ("image",)
    """Cameras of the environment, in the order of the network's images. Images that a checkpoint
    knows and that are empty here are left out: nothing would look at them."""
    image_size: int = 256
    """Images of the environment, pixels."""
    state_size: int = 8
    action_size: int = 7
    chunk: int = 5
    """Steps that are executed."""
    num_steps: int = DEFAULT_STEPS
    """Denoising steps K, where nothing else is asked for."""
    max_tokens: int = 48
    """Length that prompts are padded to."""
    state_digits: StateDigits = "none"
    """Whether the prompt holds the state (pi0.5), padded to ``state_dim`` as LeRobot does or
    not."""
    delta: bool = False
    """Whether the hand's six numbers are predicted as differences from its pose (openpi's
    pi0_libero)."""
    gripper: Gripper = "plus_closes"
    """What the gripper command of the data means."""
    resize: Literal["pil", "torch"] = "pil"
    """Whose resizing: openpi's client or LeRobot."""
    layout: Layout = "openpi"
    """Program whose layout of a folder is written."""
    scaling: Mapping[str, ScalingKind] = field(
        default_factory=lambda: {"state": "mean_std", "action": "mean_std"}
    )
    """How "state" and "action" are scaled."""

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ValueError("pi0 needs at least one camera")
        if not 1 <= self.chunk <= self.sizes.chunk:
            raise ValueError(
                f"chunk must be in 1..{self.sizes.chunk}, the steps that the checkpoint predicts; "
                f"got {self.chunk}"
            )
        if self.action_size > self.sizes.action_dim or self.state_size > self.sizes.state_dim:
            raise ValueError(
                f"state and action sizes {self.state_size} and {self.action_size} are beyond the "
                f"network's {self.sizes.state_dim} and {self.sizes.action_dim}"
            )


@dataclass(frozen=True)
class Pi0Prefix:
    """What is computed once for each decision: the expert's view of images, prompt and state."""

    cache: PrefixCache
    state: Float[Tensor, "b s"]
    """The state, scaled and padded."""
    mean: Float[Tensor, "b d"] | None

    def trace(self) -> dict[str, Tensor]:
        """The prefix as tensors that a rollout can keep."""
        layers = [torch.stack(cache, dim=1) for cache in self.cache.caches]
        means = {} if self.mean is None else {"prefix_mean": self.mean}
        own = {"prefix_visible": self.cache.visible, "prefix_state": self.state}
        return {"prefix": torch.stack(layers, dim=1)} | own | means

    @staticmethod
    def of(trace: dict[str, Tensor]) -> Pi0Prefix:
        """What ``trace`` kept."""
        layers = [tuple(layer.unbind(1)) for layer in trace["prefix"].unbind(1)]
        caches = [(keys, values) for keys, values in layers]
        cache = PrefixCache(caches, trace["prefix_visible"], None)
        return Pi0Prefix(cache, trace["prefix_state"], trace.get("prefix_mean"))


class Pi0Policy(PaliGemmaPolicy, ReleasedFlowPolicy):
    """PaliGemma and the action expert of a released checkpoint, or fresh ones of any size."""

    config: Pi0Config
    network: Pi0Network

    def __init__(
        self,
        config: Pi0Config,
        network: Pi0Network,
        statistics: DataStats,
        tokenizer: PromptTokenizer,
        *,
        files: Mapping[str, bytes] | None = None,
        omitted: Collection[str] = (),
        compute: Compute | None = None,
        origin: Path | None = None,
    ) -> None:
        """``files`` and all weights but the ``omitted`` are saved back as they were."""
        super().__init__()
        self.config, self.network = config, network
        self.resize, self.layout = config.resize, config.layout
        self.aside |= network.take_unused_heads()
        self.network_action_size = config.sizes.action_dim
        self.set_up(
            statistics,
            tokenizer,
            files=files or {},
            omitted=omitted,
            compute=compute,
            origin=origin,
        )
        self.explore(Denoising(num_steps=config.num_steps))

    @property
    def horizon(self) -> int:
        return self.config.sizes.chunk

    @property
    def encoder_parts(self) -> list[nn.Module]:
        """PaliGemma, without the words that nobody asks it for."""
        return [self.network.vlm.model]

    @property
    def adaptable(self) -> dict[str, nn.Module]:
        return self.network.adaptable

    def width_at(self, placement: CriticPlacement) -> int:
        """Size of a token of PaliGemma or the expert."""
        sizes = self.config.sizes
        return sizes.vlm.width if placement == "vlm" else sizes.expert.width

    def encode(self, obs: Observation) -> Pi0Prefix:
        """Images, prompt and state of a batch; once per decision."""
        images = self.pictures(self.prepare(obs))
        scaled = self.scaled_state(obs)
        prompts, state = self._prompts(obs, scaled), to_device(scaled, self.device)
        cache = self.network.encode(
            images,
            torch.ones(images.shape[:2], dtype=torch.bool, device=self.device),
            to_device(prompts.ids, self.device),
            to_device(prompts.mask, self.device),
            output=self.critic_sees_prefix,
        )
        mean = None
        if cache.output is not None:
            mask = cache.visible.unsqueeze(-1)
            mean = (cache.output.float() * mask).sum(1) / mask.sum(1)
        padded = F.pad(state, (0, self.config.sizes.state_dim - state.shape[1]))
        return Pi0Prefix(cache, padded, mean)

    def prefix_of(self, trace: dict[str, Tensor]) -> Pi0Prefix:
        return Pi0Prefix.of(trace)

    def expert_on(self, prefix: Pi0Prefix) -> Expert:

        def expert(x: Float[Tensor, "b m h a"], t: Float[Tensor, "b m"]) -> Velocity:
            output = self.network.denoise(prefix.cache, prefix.state, x, t)
            return Velocity(output.velocity, output.features)

        return expert

    def normalise(self, action: Float[Tensor, "b h a"], obs: Observation) -> Float[Tensor, "b h a"]:
        action = from_border(action, self.config.gripper)
        return self.action_scaling.scale(action - self._pose(obs, action))

    def denormalise(
        self, action: Float[Tensor, "b h a"], obs: Observation
    ) -> Float[Tensor, "b h a"]:
        action = self.action_scaling.unscale(action)
        action = action + self._pose(obs, action)
        return to_border(action, self.config.gripper)

    def fill(self, path: Path) -> None:
        """Reads the weights of a folder into the network."""
        tensors, used = TensorFolder.open(path).renamed(plain_name), released_shapes(self.network)
        unused = self.aside.keys() - used.keys()
        load_network(self.network, tensors.renamed(lambda x: None if x in unused else x))

    def save_weights(self, path: Path) -> None:
        """Writes one file, and statistics where no file has them."""
        if self.config.layout == "openpi" and not list(path.rglob("norm_stats.json")):
            (path / "norm_stats.json").write_bytes(norm_stats_json(self.statistics))
        weights = self.released_weights()
        kept = {name: tensor for name, tensor in weights.items() if name not in self.omitted}
        self.write(kept, path, sharded=False)

    @property
    def sees_state(self) -> bool:
        config = self.config
        return not config.sizes.pi05 or config.state_digits != "none" or config.delta

    def _prompts(self, obs: Observation, state: Float[Tensor, "b s"]) -> Prompts:
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

    def _pose(self, obs: Observation, action: Tensor) -> Float[Tensor, "b 1 a"]:
        """The hand's pose that predicted actions are relative to, or None."""
        pose = torch.zeros(len(obs), 1, self.action_size, device=action.device)
        if self.config.delta:
            hand = torch.from_numpy(np.ascontiguousarray(obs.state[:, :6])).to(pose.dtype)
            pose[:, 0, :6] = to_device(hand, pose.device)
        return pose
