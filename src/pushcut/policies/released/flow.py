"""Released VLAs whose expert denoises actions."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float
from torch import Tensor

from pushcut.batch import Evaluation, PolicySample
from pushcut.policies.base import Mode
from pushcut.policies.flow.chains import Expert
from pushcut.policies.flow.policy import FlowMatchingPolicy
from pushcut.policies.flow.transitions import DEFAULT_STEPS, Denoising, Velocity
from pushcut.policies.networks.expert_output import ExpertOutput
from pushcut.policies.networks.prefix_cache import PrefixCache
from pushcut.policies.noise import DecisionNoise
from pushcut.policies.released.prompts import Prompts
from pushcut.policies.released.scaling import from_border, to_border
from pushcut.policies.released.vla import ReleasedVLA, VLAConfig
from pushcut.policies.value_head import CriticPlacement
from pushcut.transfers import to_device
from pushcut.types import Observation


@dataclass(frozen=True)
class FlowVLAConfig(VLAConfig):
    """A released VLA whose expert denoises actions."""

    num_steps: int = DEFAULT_STEPS
    """Denoising steps K, where nothing else is asked for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.action_size > self.sizes.action_dim or self.state_size > self.sizes.state_dim:
            raise ValueError(
                f"state and action sizes {self.state_size} and {self.action_size} are beyond the "
                f"network's {self.sizes.state_dim} and {self.sizes.action_dim}"
            )


@dataclass(frozen=True)
class CachedPrefix:
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
    def of(trace: dict[str, Tensor]) -> CachedPrefix:
        """What ``trace`` kept."""
        layers = [tuple(layer.unbind(1)) for layer in trace["prefix"].unbind(1)]
        caches = [(keys, values) for keys, values in layers]
        cache = PrefixCache(caches, trace["prefix_visible"], None)
        return CachedPrefix(cache, trace["prefix_state"], trace.get("prefix_mean"))


class ReleasedFlowPolicy(ReleasedVLA, FlowMatchingPolicy):
    """A VLM and the action expert of a released checkpoint, or fresh ones of any size.

    ``config`` is a ``FlowVLAConfig``.
    """

    def begin(self) -> None:
        self.aside |= self.network.take_unused_parts()
        self.network_action_size = self.config.sizes.action_dim
        self.explore(Denoising(num_steps=self.config.num_steps))

    @abstractmethod
    def prompts(self, obs: Observation, state: Float[Tensor, "b s"]) -> Prompts:
        """Prompts of a batch, with its scaled state."""

    @abstractmethod
    def read(
        self, images: Float[Tensor, "b n 3 s s"], prompts: Prompts, state: Float[Tensor, "b d"]
    ) -> Any:
        """The prefix of a batch; ``state`` is scaled and padded."""

    def origin_of(
        self, obs: Observation, action: Float[Tensor, "b h a"]
    ) -> Float[Tensor, "b 1 a"] | float:
        """What predicted actions are relative to."""
        return 0.0

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

    def encode(self, obs: Observation) -> Any:
        """Images, prompt and state of a batch; once per decision."""
        images, scaled = self.pictures(obs), self.scaled_state(obs)
        prompts, state = self.prompts(obs, scaled), to_device(scaled, self.device)
        padding = self.config.sizes.state_dim - state.shape[1]
        return self.read(images, prompts, F.pad(state, (0, padding)))

    def normalise(self, action: Float[Tensor, "b h a"], obs: Observation) -> Float[Tensor, "b h a"]:
        action = from_border(action, self.config.gripper)
        return self.action_scaling.scale(action - self.origin_of(obs, action))

    def denormalise(
        self, action: Float[Tensor, "b h a"], obs: Observation
    ) -> Float[Tensor, "b h a"]:
        action = self.action_scaling.unscale(action)
        return to_border(action + self.origin_of(obs, action), self.config.gripper)


class CachedFlowPolicy(ReleasedFlowPolicy):
    """A policy whose expert sees the keys and values of its VLM."""

    def state_read(self, state: Float[Tensor, "b d"]) -> dict[str, Tensor]:
        """What the VLM itself reads of the state, by argument of its ``encode``: here nothing."""
        return {}

    @abstractmethod
    def denoised(
        self, prefix: CachedPrefix, x: Float[Tensor, "b m h a"], t: Float[Tensor, "b m"]
    ) -> ExpertOutput:
        """The expert on m points of each row's chain, which do not see each other."""

    def read(
        self, images: Float[Tensor, "b n 3 s s"], prompts: Prompts, state: Float[Tensor, "b d"]
    ) -> CachedPrefix:
        there = torch.ones(images.shape[:2], dtype=torch.bool, device=self.device)
        cache = self.network.encode(
            images,
            there,
            to_device(prompts.ids, self.device),
            to_device(prompts.mask, self.device),
            **self.state_read(state),
            output=self.critic_sees_prefix,
        )
        return CachedPrefix(cache, state, cache.mean())

    def prefix_of(self, trace: dict[str, Tensor]) -> CachedPrefix:
        return CachedPrefix.of(trace)

    def expert_on(self, prefix: CachedPrefix) -> Expert:

        def expert(x: Float[Tensor, "b m h a"], t: Float[Tensor, "b m"]) -> Velocity:
            output = self.denoised(prefix, x, t)
            return Velocity(output.velocity, output.features)

        return expert
