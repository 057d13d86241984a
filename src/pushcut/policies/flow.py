"""A small flow-matching VLA in the manner of pi0, for laptops and tests."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pushcut.batch import Evaluation, PolicySample
from pushcut.policies.base import ActionNormaliser, Mode, Policy, Statistics
from pushcut.policies.denoising import Chain, Expert, make_chain, solve_ode
from pushcut.policies.lora import add_lora
from pushcut.policies.observation_tokens import (
    DataShape,
    ObservationTokens,
    SmallConfig,
    initialise,
)
from pushcut.policies.pretrained import save_checkpoint
from pushcut.policies.transformer import Block, KeyValue
from pushcut.policies.transitions import DEFAULT_STEPS, Denoising, NoiseNetwork, Velocity
from pushcut.policies.value_head import CriticConfig, make_value_head
from pushcut.streams import DecisionNoise
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


def time_embedding(t: Float[Tensor, "b m"], width: int) -> Float[Tensor, "b m width"]:
    """Sines and cosines of periods from 0.004 to 4, as in openpi."""
    fraction = torch.linspace(0, 1, width // 2, device=t.device)
    angle = t.unsqueeze(-1) * (2 * math.pi / (4e-3 * (4.0 / 4e-3) ** fraction))
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


def apart(m: int, h: int, context: int, device: torch.device) -> Bool[Tensor, "q k"]:
    """Attention mask: all see the context, each of m chunks of h tokens sees itself."""
    own = torch.arange(m, device=device).repeat_interleave(h)
    everyone = torch.ones(m * h, context, dtype=torch.bool, device=device)
    return torch.cat((everyone, own.unsqueeze(1) == own), dim=1)


def silence(block: nn.Module) -> None:
    """Makes a block add nothing to its tokens."""
    assert isinstance(block, Block)
    for layer in (block.out, block.mlp[-1]):
        assert isinstance(layer, nn.Linear)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


class FlowPolicy(Policy):
    """Prefix encoder (image patches, words, state) and an action expert that attends to it.

    The prefix is computed once per decision; each denoising step is a pass of the expert.
    How it explores is not part of the weights: ``explore`` sets it.
    """

    def __init__(self, config: FlowConfig, shape: DataShape, statistics: Statistics) -> None:
        super().__init__()
        self.config, self.shape, self.statistics = config, shape, statistics
        self.cameras, self.image_size = config.cameras, config.image_size
        self.chunk, self.action_size = config.chunk, shape.action_size
        self.state_size = shape.state_size if config.use_state else 0
        self.observation = ObservationTokens(config, shape, statistics)
        self.prefix_blocks = nn.ModuleList(
            Block(config.width, config.heads) for _ in range(config.depth)
        )
        # Nothing but a critic sees the last block's output, so fine-tuning does not train it:
        # until something does, it gives back what it gets.
        silence(self.prefix_blocks[-1])
        self.expert = ActionExpert(config, shape.action_size)
        self.actions = ActionNormaliser(statistics)
        seen = self.observation
        initialise(seen.patch_position, seen.word_position, seen.word.weight, self.expert.position)
        self.denoising = Denoising(num_steps=config.num_steps)
        self.keeps_prefix = False
        """Whether the trace of a sample holds its prefix; for a frozen encoder."""
        self._critic_sees = "vlm"
        self._chain: Chain = make_chain(self.denoising, None)

    @staticmethod
    def for_data(
        config: FlowConfig, *, statistics: Statistics, instructions: Collection[str]
    ) -> FlowPolicy:
        """A fresh policy whose sizes and vocabulary come from demonstrations."""
        shape = DataShape.of(statistics, instructions, config.max_words)
        return FlowPolicy(config, shape, statistics)

    def explore(self, denoising: Denoising, *, seed: int = 0) -> None:
        """Sets how it denoises and explores; Flow-Noise gets a fresh noise network.

        The number of denoising steps stays with the policy when it is saved.
        """
        denoising = replace(denoising, num_steps=denoising.num_steps or self.config.num_steps)
        self.config = replace(self.config, num_steps=denoising.steps)
        network = None
        if denoising.noise == "flow-noise":
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                network = NoiseNetwork(
                    self.config.expert_width, self.shape.action_size, denoising
                ).to(self.device)
            self.training_parts["noise_network"] = network
        self.denoising, self._chain = denoising, make_chain(denoising, network)

    def train_prefix(self, trained: bool) -> None:
        """Whether the encoder of image, words and state is trained."""
        for module in (self.observation, self.prefix_blocks):
            module.requires_grad_(trained)

    def adapt_prefix(self, *, rank: int, alpha: int, seed: int = 0) -> None:
        """Trains low-rank adapters on the blocks of the encoder, and nothing else of it."""
        self.train_prefix(False)
        add_lora(self.prefix_blocks, rank=rank, alpha=alpha, seed=seed)

    def sample(self, obs: Observation, noise: DecisionNoise, mode: Mode) -> PolicySample:
        """Acts on a batch; ``greedy`` follows the ODE from the row's noise."""
        # Not inference mode: the trace goes through the expert again, with gradients.
        with torch.no_grad():
            prefix = self.encode(obs)
            expert = self._expert(prefix)
            drawn = noise.normal(self.chunk, self.action_size)
            start = torch.from_numpy(drawn).to(self.device)
            if mode == "greedy":
                end = solve_ode(self.denoising, expert, start)
                trace, logprob, value = {}, torch.zeros_like(end).unsqueeze(1), None
            else:
                denoised = self._chain.sample(expert, start, noise)
                end, trace, logprob = denoised.actions, denoised.trace, denoised.logprob
                value = self._value(prefix, denoised.features)
                if self.keeps_prefix:
                    trace = trace | prefix.trace()
            # As for tokens: nothing beyond the demonstrated quantiles.
            actions = self.actions.denormalise(end.clamp(-1, 1))
            return PolicySample(actions=actions, trace=trace, logprob=logprob, value=value)

    def evaluate(self, obs: Observation, trace: dict[str, Tensor]) -> Evaluation:
        """Log-probability and entropy of stored chains."""
        trace = {name: tensor.to(self.device) for name, tensor in trace.items()}
        prefix = Prefix.of(trace) if "prefix" in trace else self.encode(obs)
        likelihood = self._chain.evaluate(self._expert(prefix), trace)
        value = self._value(prefix, likelihood.features)
        return Evaluation(likelihood.logprob, likelihood.entropy, value)

    def bc_loss(
        self,
        obs: Observation,
        action_chunk: Float[Tensor, "b h a"],
        valid: Bool[Tensor, "b h"],
        generator: np.random.Generator,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Conditional flow matching: squared error of the velocity over the valid steps.

        Times are drawn from Beta(1.5, 1) as in pi0, so that noise is seen more often.
        """
        mask = valid.to(self.device).unsqueeze(-1)
        # Steps after the end must not be seen by the others either.
        action = self.actions.normalise(action_chunk.to(self.device)) * mask
        shape = tuple(action.shape)
        noise = torch.from_numpy(generator.standard_normal(shape, dtype=np.float32)).to(action)
        drawn = generator.beta(1.5, 1.0, size=len(action)) * 0.999 + 0.001
        t = torch.from_numpy(drawn).to(action).view(-1, 1)
        x = t.unsqueeze(-1) * noise + (1 - t.unsqueeze(-1)) * action
        velocity = self._expert(self.encode(obs))(x.unsqueeze(1), t).value.squeeze(1)
        errors = (velocity - (noise - action)) ** 2 * mask
        loss = errors.sum() / (mask.sum() * self.action_size).clamp(min=1)
        return loss, {"loss": loss.detach()}

    def save_pretrained(self, path: Path) -> None:
        """Writes config.json, model.safetensors and statistics.json, without training parts."""
        save_checkpoint(self, "flow", self.config, self.shape, self.statistics, path)

    def add_critic(self, config: CriticConfig, *, seed: int) -> None:
        """The critic sees the prefix or what the expert makes of the stored points."""
        self._critic_sees = config.placement
        width = self.config.width if config.placement == "vlm" else self.config.expert_width
        head = make_value_head(width, config, seed=seed)
        self.training_parts["critic"] = head.to(self.device)

    def encode(self, obs: Observation) -> Prefix:
        """The prefix of a batch; once per decision."""
        tokens, caches = self.observation(obs), []
        *first, last = (block for block in self.prefix_blocks if isinstance(block, Block))
        for block in first:
            tokens, cache = block.encode(tokens)
            caches.append(cache)
        if self.critic is None or self._critic_sees == "expert":
            return Prefix([*caches, last.cache(tokens)], None)
        tokens, cache = last.encode(tokens)
        return Prefix([*caches, cache], self.observation.mean_of_visible(tokens, obs))

    def _expert(self, prefix: Prefix) -> Expert:
        return lambda x, t: self.expert(prefix.caches, x, t)

    def _value(
        self, prefix: Prefix, features: Float[Tensor, "b m h d"]
    ) -> Float[Tensor, " b"] | None:
        """The critic's estimate; of the same points of the chain whenever it is asked."""
        if self.critic is None:
            return None
        if prefix.mean is not None:
            return self.critic(prefix.mean)
        points = self.critic(features.mean(2).flatten(0, 1)).view(features.shape[:2])
        return points.mean(1)
