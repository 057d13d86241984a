"""Released VLAs whose expert denoises actions: images, prompts, scales and weights in common."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from pushcut.batch import Evaluation, PolicySample
from pushcut.errors import UserError
from pushcut.policies.base import Mode
from pushcut.policies.flow.policy import FlowMatchingPolicy
from pushcut.policies.flow.transitions import DEFAULT_STEPS, Denoising
from pushcut.policies.networks.pi0 import PrefixCache
from pushcut.policies.noise import DecisionNoise
from pushcut.policies.normalisation import DataStats
from pushcut.policies.precision import Compute
from pushcut.policies.released.pi0_folder import Layout, make_scaling
from pushcut.policies.released.policy import ReleasedPolicy
from pushcut.policies.released.prompts import Prompts, PromptTokenizer
from pushcut.policies.released.scaling import Scaling, ScalingKind
from pushcut.policies.value_head import CriticPlacement
from pushcut.transfers import to_device
from pushcut.types import TO_BORDER, Gripper, Observation

Seen = tuple[Tensor, Tensor, Tensor, Tensor]
"""Images [b, n, 3, s, s], which of them are there [b, n], token ids and their mask [b, l]."""


@dataclass(frozen=True)
class FlowVLAConfig:
    """A released flow VLA and everything about it that is not in its weights."""

    sizes: Any
    """Shape of the network."""
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
    gripper: Gripper = "plus_closes"
    """What the gripper command of the data means."""
    scaling: Mapping[str, ScalingKind] = field(
        default_factory=lambda: {"state": "mean_std", "action": "mean_std"}
    )
    """How "state" and "action" are scaled."""
    layout: Layout = "lerobot"
    """Program whose layout of a folder is written."""

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ValueError("a released VLA needs at least one camera")
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
class VLAPrefix:
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
    def of(trace: dict[str, Tensor]) -> VLAPrefix:
        """What ``trace`` kept."""
        layers = [tuple(layer.unbind(1)) for layer in trace["prefix"].unbind(1)]
        caches = [(keys, values) for keys, values in layers]
        cache = PrefixCache(caches, trace["prefix_visible"], None)
        return VLAPrefix(cache, trace["prefix_state"], trace.get("prefix_mean"))


class ReleasedFlowPolicy(ReleasedPolicy, FlowMatchingPolicy):
    """A VLM and the action expert of a released checkpoint, or fresh ones of any size."""

    config: Any
    """A ``FlowVLAConfig``."""

    def __init__(
        self,
        config: FlowVLAConfig,
        network: Any,
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
        self.config, self.network, self.tokenizer = config, network, tokenizer
        self.statistics, self.files = dict(statistics), dict(files or {})
        self.omitted = frozenset(omitted)
        self.aside |= network.take_unused_heads()
        self.compute, self.origin = compute or Compute(), origin
        self.cameras, self.image_size = config.cameras, config.image_size
        self.chunk, self.action_size = config.chunk, config.action_size
        self.state_size = config.state_size if self.sees_state else 0
        self.network_action_size = config.sizes.action_dim
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
        self.explore(Denoising(num_steps=config.num_steps))

    @abstractmethod
    def pixel_values(self, pixels: UInt8[Tensor, "b _ _ 3"]) -> Float[Tensor, "b 3 s s"]:
        """What the network takes of images that ``fitted`` made, on their device."""

    def fitted(self, image: UInt8[np.ndarray, "b _ _ 3"]) -> np.ndarray:
        """Images in whole levels as the host prepares them: here as they are."""
        return image

    @abstractmethod
    def prompts(self, obs: Observation, state: Float[Tensor, "b s"]) -> Prompts:
        """Prompts of a batch, with its scaled state."""

    @abstractmethod
    def read(self, seen: Seen, state: Float[Tensor, "b d"]) -> PrefixCache:
        """The network's encoder on a batch; ``state`` is scaled and padded."""

    def origin_of(
        self, obs: Observation, action: Float[Tensor, "b h a"]
    ) -> Float[Tensor, "b 1 a"] | float:
        """What predicted actions are relative to."""
        return 0.0

    @property
    def sees_state(self) -> bool:
        """Whether anything depends on the state."""
        return True

    @property
    def horizon(self) -> int:
        return self.config.sizes.chunk

    @property
    def adaptable(self) -> dict[str, Any]:
        return self.network.adaptable

    def width_at(self, placement: CriticPlacement) -> int:
        """Size of a token of the VLM or the expert."""
        sizes = self.config.sizes
        return sizes.vlm.width if placement == "vlm" else sizes.expert.width

    def sample(self, obs: Observation, noise: DecisionNoise, mode: Mode) -> PolicySample:
        """Acts on a batch; ``greedy`` follows the ODE from the row's noise."""
        with self.computing():
            return super().sample(obs, noise, mode)

    def evaluate(self, obs: Observation, trace: dict[str, Tensor]) -> Evaluation:
        with self.computing():
            return super().evaluate(obs, trace)

    def bc_loss(
        self,
        obs: Observation,
        action_chunk: Float[Tensor, "b h a"],
        valid: Bool[Tensor, "b h"],
        generator: np.random.Generator,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Conditional flow matching over the whole predicted chunk."""
        with self.computing():
            return super().bc_loss(obs, action_chunk, valid, generator)

    def prepare(self, obs: Observation) -> Observation:
        """Images of the cameras in use, as the host prepares them."""
        if obs.prepared:
            return obs
        seen = {camera: self.fitted(obs.images[camera]) for camera in self.cameras}
        return replace(obs, images=seen, prepared=True)

    def _images(self, obs: Observation) -> Float[Tensor, "b n 3 s s"]:
        seen = []
        for camera in self.cameras:
            pixels = torch.from_numpy(np.ascontiguousarray(obs.images[camera]))
            seen.append(self.pixel_values(to_device(pixels, self.device)))
        return torch.stack(seen, dim=1)

    def encode(self, obs: Observation) -> VLAPrefix:
        """Images, prompt and state of a batch; once per decision."""
        images = self._images(self.prepare(obs))
        there = torch.ones(images.shape[:2], dtype=torch.bool, device=self.device)
        scaled = self._scaled_state(obs)
        prompts, state = self.prompts(obs, scaled), to_device(scaled, self.device)
        ids, mask = to_device(prompts.ids, self.device), to_device(prompts.mask, self.device)
        padded = F.pad(state, (0, self.config.sizes.state_dim - state.shape[1]))
        cache = self.read((images, there, ids, mask), padded)
        mean = None
        if cache.output is not None:
            shown = cache.visible.unsqueeze(-1)
            mean = (cache.output.float() * shown).sum(1) / shown.sum(1)
        return VLAPrefix(cache, padded, mean)

    def prefix_of(self, trace: dict[str, Tensor]) -> VLAPrefix:
        return VLAPrefix.of(trace)

    def normalise(self, action: Float[Tensor, "b h a"], obs: Observation) -> Float[Tensor, "b h a"]:
        factor, offset = TO_BORDER[self.config.gripper]
        action = action.clone()
        action[..., -1] = (action[..., -1] - offset) / factor
        return self.action_scaling.scale(action - self.origin_of(obs, action))

    def denormalise(
        self, action: Float[Tensor, "b h a"], obs: Observation
    ) -> Float[Tensor, "b h a"]:
        action = self.action_scaling.unscale(action)
        action = action + self.origin_of(obs, action)
        factor, offset = TO_BORDER[self.config.gripper]
        action[..., -1] = action[..., -1] * factor + offset
        return action

    def _scaling(self, name: str, size: int) -> Scaling:
        kind, layout = self.config.scaling[name], self.config.layout
        return make_scaling(kind, self.statistics, name, size, layout=layout)

    def _scaled_state(self, obs: Observation) -> Float[Tensor, "b s"]:
        """The state in the network's units, on the host."""
        if not self.sees_state:
            return torch.zeros(len(obs), 0)
        return self._state_on_host[0].scale(torch.from_numpy(np.ascontiguousarray(obs.state)))

    def save_weights(self, path: Path) -> None:
        """Writes one file, without the tensors that the folder did without."""
        weights = self.released_weights()
        kept = {name: tensor for name, tensor in weights.items() if name not in self.omitted}
        self.write(kept, path, sharded=False)
