"""A small transformer VLA with action tokens, for laptops and tests."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pushcut.batch import Evaluation, PolicySample
from pushcut.policies.base import ActionNormaliser, Mode, Policy, Statistics
from pushcut.policies.pretrained import save_checkpoint
from pushcut.policies.token_head import TokenHead
from pushcut.streams import DecisionNoise
from pushcut.types import Observation

PAD, UNKNOWN = 0, 1


@dataclass(frozen=True)
class TinyConfig:
    """Shape of the tiny VLA; the defaults make about 2.4 M parameters."""

    cameras: tuple[str, ...] = ("corner2",)
    """Cameras it looks through."""
    image_size: int = 64
    """Height and width of its square images, in pixels."""
    width: int = 192
    """Size of a token."""
    depth: int = 4
    """Transformer blocks."""
    heads: int = 6
    """Attention heads; must divide ``width``."""
    bins: int = 256
    """Action tokens per action dimension (OpenVLA: 256)."""
    chunk: int = 5
    """Steps of an action chunk."""
    use_state: bool = True
    """Whether it sees the proprioceptive state."""
    max_words: int | None = None
    """Longest instruction, in words; None takes the longest of the demonstrations."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        if self.image_size % 16:
            raise ValueError(f"image_size must be a multiple of 16, got {self.image_size}")


@dataclass(frozen=True)
class TinyShape:
    """What the data decides about a tiny policy."""

    state_size: int
    action_size: int
    vocabulary: tuple[str, ...]
    """Known words; all others read as one unknown word."""
    max_words: int
    """Words of an instruction that are read; shorter ones are padded."""


def words(instruction: str) -> list[str]:
    """The lower-case words of an instruction."""
    return re.findall(r"[a-z0-9]+", instruction.lower())


class Block(nn.Module):
    """Pre-norm transformer block with bidirectional attention and no dropout.

    ReLU, because the tanh GELU takes a fifth of a forward pass on a CPU.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Float[Tensor, "b t d"], last: int) -> Float[Tensor, "b last d"]:
        """The last tokens attend to all tokens, then the MLP; the others are not computed."""
        b, t, d = x.shape
        size = d // self.heads
        normed = self.attention_norm(x)
        query = self.query(normed[:, -last:]).view(b, last, self.heads, size).transpose(1, 2)
        key, value = self.key_value(normed).view(b, t, 2, self.heads, size).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x[:, -last:] + self.out(attended.transpose(1, 2).reshape(b, last, d))
        return x + self.mlp(self.mlp_norm(x))


def conv_stem(width: int) -> nn.Sequential:
    """Four stride-2 convolutions: one token for each 16 x 16 pixels.

    He initialisation: with torch's default the picture fades from layer to layer.
    """
    layers: list[nn.Module] = []
    sizes = (3, 32, 64, 128, width)
    for channels_in, channels_out in zip(sizes, sizes[1:], strict=False):
        convolution = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        layers += [convolution, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class TinyPolicy(Policy):
    """Image patches, words, state and placeholder action queries in one transformer.

    Sequence: [camera patches …, words, state, one query per (step, action dimension)];
    the outputs at the queries go to the token head (parallel decoding as in OpenVLA-OFT).
    """

    def __init__(self, config: TinyConfig, shape: TinyShape, statistics: Statistics) -> None:
        super().__init__()
        self.config, self.shape, self.statistics = config, shape, statistics
        self.cameras, self.image_size = config.cameras, config.image_size
        self.chunk, self.action_size = config.chunk, shape.action_size
        self.state_size = shape.state_size if config.use_state else 0
        width, patches = config.width, (config.image_size // 16) ** 2
        self.stem = conv_stem(width)
        self.patch_position = nn.Parameter(torch.zeros(len(config.cameras), patches, width))
        self.word = nn.Embedding(2 + len(shape.vocabulary), width)
        self.word_position = nn.Parameter(torch.zeros(shape.max_words, width))
        self.state = nn.Linear(shape.state_size, width) if config.use_state else None
        self.query = nn.Parameter(torch.zeros(config.chunk * shape.action_size, width))
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.head = TokenHead(width, config.bins)
        self.actions = ActionNormaliser(statistics)
        for parameter in (self.patch_position, self.word_position, self.query, self.word.weight):
            nn.init.normal_(parameter, std=0.02)
        self._word_index = {word: 2 + i for i, word in enumerate(shape.vocabulary)}

    @staticmethod
    def for_data(
        config: TinyConfig, *, statistics: Statistics, instructions: Collection[str]
    ) -> TinyPolicy:
        """A fresh policy whose sizes and vocabulary come from demonstrations."""
        vocabulary = sorted({word for text in instructions for word in words(text)})
        longest = max(len(words(text)) for text in instructions)
        shape = TinyShape(
            state_size=len(statistics.state_mean),
            action_size=len(statistics.action_low),
            vocabulary=tuple(vocabulary),
            max_words=config.max_words or longest,
        )
        return TinyPolicy(config, shape, statistics)

    def sample(self, obs: Observation, noise: DecisionNoise, mode: Mode) -> PolicySample:
        """Acts on a batch; ``greedy`` takes the most likely bins."""
        with torch.inference_mode():
            uniform = None
            if mode == "sampled":
                drawn = noise.uniform(self.config.chunk, self.shape.action_size)
                uniform = torch.from_numpy(drawn).to(self.device)
            sample = self.head.sample(self._logits(obs), uniform)
            return PolicySample(
                actions=self.actions.denormalise(sample.actions),
                trace=sample.trace,
                logprob=sample.logprob,
            )

    def evaluate(self, obs: Observation, trace: dict[str, Tensor]) -> Evaluation:
        """Log-probability and entropy of stored bins."""
        return self.head.evaluate(self._logits(obs), trace["bins"].to(self.device))

    def bc_loss(
        self,
        obs: Observation,
        action_chunk: Float[Tensor, "b h a"],
        valid: Bool[Tensor, "b h"],
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Cross entropy of the demonstrated bins, mean over the valid steps' tokens."""
        target = self.head.tokenizer.encode(self.actions.normalise(action_chunk.to(self.device)))
        logits = self._logits(obs)
        mask = valid.to(self.device).unsqueeze(-1).expand_as(target)
        losses = F.cross_entropy(logits.flatten(0, 2), target.flatten(), reduction="none")
        count = mask.sum().clamp(min=1)
        loss = (losses.view_as(target) * mask).sum() / count
        correct = ((logits.argmax(-1) == target) & mask).sum() / count
        return loss, {"loss": loss.detach(), "accuracy": correct}

    def save_pretrained(self, path: Path) -> None:
        """Writes config.json, model.safetensors and statistics.json."""
        save_checkpoint(self, "tiny", self.config, self.shape, self.statistics, path)

    def _logits(self, obs: Observation) -> Float[Tensor, "b h a bins"]:
        tokens = self._tokens(obs)
        for block in self.blocks[:-1]:
            tokens = block(tokens, tokens.shape[1])
        queries = self.norm(self.blocks[-1](tokens, len(self.query)))
        shape = (len(obs), self.config.chunk, self.shape.action_size, self.config.width)
        return self.head.logits(queries.view(shape))

    def _tokens(self, obs: Observation) -> Float[Tensor, "b t d"]:
        parts = [
            self.stem(self._pixels(obs, camera)).flatten(2).transpose(1, 2) + position
            for camera, position in zip(self.config.cameras, self.patch_position, strict=True)
        ]
        parts.append(self.word(self._word_ids(obs.instruction)) + self.word_position)
        if self.state is not None:
            parts.append(self.state(self._normalised_state(obs)).unsqueeze(1))
        parts.append(self.query.expand(len(obs), -1, -1))
        return torch.cat(parts, dim=1)

    def _pixels(self, obs: Observation, camera: str) -> Float[Tensor, "b 3 height width"]:
        images = torch.from_numpy(np.ascontiguousarray(obs.images[camera])).to(self.device)
        return images.permute(0, 3, 1, 2).float() / 127.5 - 1

    def _normalised_state(self, obs: Observation) -> Float[Tensor, "b s"]:
        mean = np.asarray(self.statistics.state_mean, dtype=np.float32)
        std = np.asarray(self.statistics.state_std, dtype=np.float32)
        return torch.from_numpy((obs.state - mean) / (std + 1e-6)).to(self.device)

    def _word_ids(self, instructions: list[str]) -> Int[Tensor, "b words"]:
        ids = np.full((len(instructions), self.shape.max_words), PAD)
        for row, text in enumerate(instructions):
            known = [self._word_index.get(word, UNKNOWN) for word in words(text)]
            known = known[: self.shape.max_words]
            ids[row, : len(known)] = known
        return torch.from_numpy(ids).to(self.device)
