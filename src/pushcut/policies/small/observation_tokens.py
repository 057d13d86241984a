"""What the small policies share: sizes, and observations as tokens."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pushcut.policies.base import Reading
from pushcut.policies.from_data import DataShape, PolicyConfig, PolicyFromData, words
from pushcut.policies.normalisation import DataStats, known
from pushcut.transfers import to_device
from pushcut.types import Observation

PAD, UNKNOWN = 0, 1


@dataclass(frozen=True)
class SmallConfig(PolicyConfig):
    """What the small policies have in common."""

    width: int = 192
    """Size of a token."""
    depth: int = 4
    """Transformer blocks."""
    heads: int = 6
    """Attention heads; must divide ``width``."""
    stem_channels: int = 32
    """Channels of an image after the first of four convolutions; the next two double them."""
    max_words: int | None = None
    """Longest instruction, in words; None takes the longest of the demonstrations."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        super().__post_init__()
        if self.image_size % 16:
            raise ValueError(f"image_size must be a multiple of 16, got {self.image_size}")
        if self.stem_channels < 1:
            raise ValueError(f"stem_channels must be >= 1, got {self.stem_channels}")


def conv_stem(channels: int, width: int) -> nn.Sequential:
    """Four stride-2 convolutions: one token for each 16 x 16 pixels.

    He initialisation: with torch's default the image fades from layer to layer.
    """
    layers: list[nn.Module] = []
    sizes = (3, channels, 2 * channels, 4 * channels, width)
    for channels_in, channels_out in zip(sizes, sizes[1:], strict=False):
        convolution = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        layers += [convolution, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def initialise(*embeddings: Tensor) -> None:
    """Small random numbers, so that no token stands out at first."""
    for parameter in embeddings:
        nn.init.normal_(parameter, std=0.02)


class ObservationTokens(nn.Module):
    """[camera patches …, words, state] as tokens of one width.

    Positions and words are left for the policy to initialise (``initialise``).
    """

    def __init__(self, config: SmallConfig, shape: DataShape, statistics: DataStats) -> None:
        super().__init__()
        self.cameras, width = config.cameras, config.width
        self.max_words, self.state_stats = shape.max_words, statistics["state"]
        patches = (config.image_size // 16) ** 2
        self.stem = conv_stem(config.stem_channels, width) if self.cameras else nn.Identity()
        self.patch_position = nn.Parameter(torch.zeros(len(self.cameras), patches, width))
        self.word = nn.Embedding(2 + len(shape.vocabulary), width)
        self.word_position = nn.Parameter(torch.zeros(shape.max_words, width))
        self.state = nn.Linear(shape.state_size, width) if config.use_state else None
        self._word_index = {word: 2 + i for i, word in enumerate(shape.vocabulary)}

    def forward(self, obs: Observation) -> Float[Tensor, "b t d"]:
        """Tokens of a batch of observations, on the device of the weights."""
        parts = [
            self.stem(self._pixels(obs, camera)).flatten(2).transpose(1, 2) + position
            for camera, position in zip(self.cameras, self.patch_position, strict=True)
        ]
        parts.append(self.word(self._word_ids(obs.instruction)) + self.word_position)
        if self.state is not None:
            parts.append(self.state(self._normalised_state(obs)).unsqueeze(1))
        return torch.cat(parts, dim=1)

    def mean_of_visible(
        self, tokens: Float[Tensor, "b t d"], obs: Observation
    ) -> Float[Tensor, "b d"]:
        """Mean over the tokens of an observation that stand for something, not for padding."""
        visible = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        patches = self.patch_position.shape[0] * self.patch_position.shape[1]
        visible[:, patches : patches + self.max_words] = self._word_ids(obs.instruction) != PAD
        mask = visible.unsqueeze(-1)
        return (tokens * mask).sum(1) / mask.sum(1)

    @property
    def _device(self) -> torch.device:
        return self.patch_position.device

    def _pixels(self, obs: Observation, camera: str) -> Float[Tensor, "b 3 height width"]:
        images = to_device(torch.from_numpy(np.ascontiguousarray(obs.images[camera])), self._device)
        return images.permute(0, 3, 1, 2).float() / 127.5 - 1

    def _normalised_state(self, obs: Observation) -> Float[Tensor, "b s"]:
        mean = np.asarray(known(self.state_stats.mean, "mean"), dtype=np.float32)
        std = np.asarray(known(self.state_stats.std, "std"), dtype=np.float32)
        return to_device(torch.from_numpy((obs.state - mean) / (std + 1e-6)), self._device)

    def _word_ids(self, instructions: list[str]) -> Int[Tensor, "b words"]:
        ids = np.full((len(instructions), self.max_words), PAD)
        for row, text in enumerate(instructions):
            known = [self._word_index.get(word, UNKNOWN) for word in words(text)]
            known = known[: self.max_words]
            ids[row, : len(known)] = known
        return to_device(torch.from_numpy(ids), self._device)


class SmallPolicy(PolicyFromData):
    """A policy that sees its observations as tokens; a subclass adds its network."""

    config: Any
    """A ``SmallConfig``."""

    def __init__(self, config: SmallConfig, shape: DataShape, statistics: DataStats) -> None:
        super().__init__(config, shape, statistics)
        self.observation = ObservationTokens(config, shape, statistics)

    @classmethod
    def shape_of(
        cls, config: Any, statistics: DataStats, instructions: Collection[str]
    ) -> DataShape:
        return DataShape.of(statistics, instructions, config.max_words)

    def reading(self, instruction: str) -> Reading:
        """The words that it reads, and those of them that no demonstration had."""
        text, room = words(instruction), self.shape.max_words
        read, known = tuple(text[:room]), set(self.shape.vocabulary)
        unknown = tuple(word for word in read if word not in known)
        return Reading(read, unknown, tuple(text[room:]))
