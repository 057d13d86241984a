"""A small transformer VLA with action tokens, for laptops and tests."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pushcut.policies.from_data import DataShape
from pushcut.policies.normalisation import DataStats
from pushcut.policies.small.observation_tokens import (
    SmallConfig,
    SmallPolicy,
    initialise,
)
from pushcut.policies.small.transformer import Block
from pushcut.policies.tokens.head import ActionTokenizer, ActionTokens, TokenHead
from pushcut.policies.tokens.policy import TokenPolicy
from pushcut.types import Observation


@dataclass(frozen=True)
class TinyConfig(SmallConfig):
    """Shape of the tiny VLA; the defaults make about 2.2 M parameters."""

    bins: int = 256
    """Action tokens per action dimension (OpenVLA: 256)."""


class TinyPolicy(SmallPolicy, TokenPolicy):
    """Image patches, words, state and placeholder action queries in one transformer.

    Sequence: [camera patches …, words, state, one query per step of the chunk]; the outputs at
    the queries go to the token head, which has the logits of every action dimension (parallel
    decoding as in OpenVLA-OFT, which has a query per step and dimension).
    """

    kind = "tiny"
    config_type = TinyConfig
    config: TinyConfig

    def __init__(self, config: TinyConfig, shape: DataShape, statistics: DataStats) -> None:
        super().__init__(config, shape, statistics)
        self.query = nn.Parameter(torch.zeros(config.chunk, config.width))
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.head = TokenHead(config.width, shape.action_size, config.bins)
        self.tokens = ActionTokens(ActionTokenizer(config.bins))
        seen = self.observation
        initialise(seen.patch_position, seen.word_position, self.query, seen.word.weight)

    @property
    def adaptable(self) -> dict[str, nn.Module]:
        return {"language": self.blocks}

    @property
    def prefix_width(self) -> int:
        """Size of the observation's tokens before the last block."""
        return self.config.width

    def normalise(self, action: Float[Tensor, "b h a"]) -> Float[Tensor, "b h a"]:
        return self.actions.normalise(action)

    def denormalise(self, action: Float[Tensor, "b h a"]) -> Float[Tensor, "b h a"]:
        return self.actions.denormalise(action)

    def logits(
        self, obs: Observation
    ) -> tuple[Float[Tensor, "b h a bins"], Float[Tensor, " b"] | None]:
        """Logits of the bins at temperature 1, and the value."""
        queries = self.query.expand(len(obs), -1, -1)
        tokens = torch.cat((self.observation(obs), queries), dim=1)
        for block in self.blocks[:-1]:
            tokens = block(tokens, tokens.shape[1])
        value = None
        if self.critic is not None:
            prefix = tokens[:, : -len(self.query)]
            value = self.critic(self.observation.mean_of_visible(prefix, obs))
        queries = self.norm(self.blocks[-1](tokens, len(self.query)))
        return self.head.logits(queries), value
