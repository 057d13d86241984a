"""A small flow-matching VLA in the manner of pi0, for laptops and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pushcut.policies.evidence import NOT_YET, SMALL, PolicyFacts, Shown
from pushcut.policies.flow.chains import Expert
from pushcut.policies.flow.policy import FlowMatchingPolicy
from pushcut.policies.flow.transitions import DEFAULT_STEPS, Denoising, Velocity
from pushcut.policies.from_data import DataShape
from pushcut.policies.networks.times import time_embedding
from pushcut.policies.normalisation import DataStats
from pushcut.policies.small.observation_tokens import (
    SmallConfig,
    SmallPolicy,
    initialise,
)
from pushcut.policies.small.transformer import Block, KeyValue
from pushcut.policies.value_head import CriticPlacement
from pushcut.types import Observation


@dataclass(frozen=True)
class FlowConfig(SmallConfig):
    """Shape of the small flow VLA; the action expert has as many blocks as the prefix encoder."""

    expert_width: int = 128
    """Size of a token of the action expert; even."""
    num_steps: int = DEFAULT_STEPS
    """Denoising steps K, where nothing else is asked for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be >= 1, got {self.num_steps}")
        if self.expert_width % 2:
            raise ValueError(f"expert_width must be even, got {self.expert_width}")


@dataclass(frozen=True)
class Prefix:
    """What a decision computes once: the encoded observation."""

    caches: list[KeyValue]
    """Keys and values at each block."""
    mean: Float[Tensor, "b d"] | None
    """Mean over the visible tokens after the last block, where a critic looks at it."""

    def trace(self) -> dict[str, Tensor]:
        """As tensors that a rollout can keep."""
        layers = [torch.stack(cache, dim=1) for cache in self.caches]
        means = {} if self.mean is None else {"prefix_mean": self.mean}
        return {"prefix": torch.stack(layers, dim=1)} | means

    @staticmethod
    def of(trace: dict[str, Tensor]) -> Prefix:
        """What ``trace`` kept."""
        layers = [layer.unbind(1) for layer in trace["prefix"].unbind(1)]
        return Prefix([(keys, values) for keys, values in layers], trace.get("prefix_mean"))


class ActionExpert(nn.Module):
    """Velocity of noisy action chunks, given the keys and values of the prefix (pi0).

    Several points of a chain go through it side by side: they see the prefix and their own
    chunk, not each other.
    """

    def __init__(self, config: FlowConfig, action_size: int) -> None:
        super().__init__()
        width = config.expert_width
        self.action_in = nn.Linear(action_size, width)
        self.position = nn.Parameter(torch.zeros(config.chunk, width))
        self.mix = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(
            Block(width, config.heads, inner=config.width) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.action_out = nn.Linear(width, action_size)

    def forward(
        self,
        prefix: Sequence[KeyValue],
        x: Float[Tensor, "b m h a"],
        t: Float[Tensor, "b m"],
    ) -> Velocity:
        """Velocity of m points of each row's chain at their times."""
        b, m, h, _ = x.shape
        actions = self.action_in(x) + self.position
        times = time_embedding(t, actions.shape[-1]).unsqueeze(2).expand_as(actions)
        tokens = self.mix(torch.cat((actions, times), dim=-1)).view(b, m * h, -1)
        mask = apart(m, h, prefix[0][0].shape[2], x.device) if m > 1 else None
        for block, context in zip(self.blocks, prefix, strict=True):
            assert isinstance(block, Block)
            tokens = block.attend(tokens, context, mask)
        features = self.norm(tokens).view(b, m, h, -1)
        return Velocity(self.action_out(features), features)


def apart(m: int, h: int, context: int, device: torch.device) -> Bool[Tensor, "q k"]:
    """Attention mask: all see the context, each of m chunks of h tokens sees itself."""
    own = torch.arange(m, device=device).repeat_interleave(h)
    everyone = torch.ones(m * h, context, dtype=torch.bool, device=device)
    return torch.cat((everyone, own.unsqueeze(1) == own), dim=1)


def zero_output(block: nn.Module) -> None:
    """Makes a block add nothing to its tokens."""
    assert isinstance(block, Block)
    for layer in (block.out, block.mlp[-1]):
        assert isinstance(layer, nn.Linear)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


FACTS = PolicyFacts(
    title="small flow policy",
    acts="flow matching",
    folder="config.json, model.safetensors, statistics.json; `pushcut sft` makes it",
    parity=Shown("none: it is pushcut's own"),
    full_size=SMALL,
    gpu=NOT_YET,
    checkpoint=Shown("its own", ("benchmarks/records/2026-11-21-flow-ppo.json",)),
)


class FlowPolicy(SmallPolicy, FlowMatchingPolicy):
    """Prefix encoder (image patches, words, state) and an action expert that attends to it.

    The prefix is computed once per decision; each denoising step is a pass of the expert.
    How it explores is not part of the weights: ``explore`` sets it.
    """

    kind = "flow"
    config_type = FlowConfig
    config: FlowConfig

    def __init__(self, config: FlowConfig, shape: DataShape, statistics: DataStats) -> None:
        super().__init__(config, shape, statistics)
        self.prefix_blocks = nn.ModuleList(
            Block(config.width, config.heads) for _ in range(config.depth)
        )
        # Nothing but a critic sees the last block's output, so fine-tuning does not train it:
        # until something does, it gives back what it gets.
        zero_output(self.prefix_blocks[-1])
        self.expert = ActionExpert(config, shape.action_size)
        seen = self.observation
        initialise(seen.patch_position, seen.word_position, seen.word.weight, self.expert.position)
        self.network_action_size = shape.action_size
        self.explore(Denoising(num_steps=config.num_steps))

    @property
    def encoder_parts(self) -> list[nn.Module]:
        return [self.observation, self.prefix_blocks]

    @property
    def adaptable(self) -> dict[str, nn.Module]:
        """The blocks of the encoder, and the expert's."""
        return {"language": self.prefix_blocks, "expert": self.expert.blocks}

    def width_at(self, placement: CriticPlacement) -> int:
        """Size of a token of the encoder or the expert."""
        return self.config.width if placement == "vlm" else self.config.expert_width

    def normalise(self, action: Float[Tensor, "b h a"], obs: Observation) -> Float[Tensor, "b h a"]:
        return self.actions.normalise(action)

    def denormalise(
        self, action: Float[Tensor, "b h a"], obs: Observation
    ) -> Float[Tensor, "b h a"]:
        """By quantiles; as for tokens, nothing beyond the demonstrated ones."""
        return self.actions.denormalise(action.clamp(-1, 1))

    def encode(self, obs: Observation) -> Prefix:
        """The prefix of a batch; once per decision."""
        tokens, caches = self.observation(obs), []
        *first, last = (block for block in self.prefix_blocks if isinstance(block, Block))
        for block in first:
            tokens, cache = block.encode(tokens)
            caches.append(cache)
        if not self.critic_sees_prefix:
            return Prefix([*caches, last.cache(tokens)], None)
        tokens, cache = last.encode(tokens)
        return Prefix([*caches, cache], self.observation.mean_of_visible(tokens, obs))

    def prefix_of(self, trace: dict[str, Tensor]) -> Prefix:
        return Prefix.of(trace)

    def expert_on(self, prefix: Prefix) -> Expert:
        return lambda x, t: self.expert(prefix.caches, x, t)
