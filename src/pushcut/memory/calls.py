"""What policies do with their networks: an update's loss, and actions, without any content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pushcut.memory.network import Network
from pushcut.memory.workload import ANSWER_TOKENS, PROMPT_TOKENS, Workload
from pushcut.policies.flow.moments import gaussian_logprob
from pushcut.policies.networks.groot import GrootNetwork
from pushcut.policies.networks.openvla import OpenVLANetwork
from pushcut.policies.networks.pi0 import Pi0Network
from pushcut.policies.networks.pi0_fast import Pi0FastNetwork
from pushcut.policies.networks.prefix_cache import PrefixCache
from pushcut.policies.networks.smolvla import SmolVLANetwork
from pushcut.policies.tokens.head import ActionTokenizer, ActionTokens, draw


@dataclass(frozen=True)
class Calls:
    """What a policy does with its network; ``read`` makes of a batch's size what the others take.

    Most read observations into prefixes, OpenVLA-OFT has no such half.
    """

    read: Callable[[int], Any]
    loss: Callable[[Any], Tensor]
    act: Callable[[Any], object]


def calls(workload: Workload, network: Network, device: torch.device) -> Calls:
    """An update's loss, and actions, on observations without content."""
    made = _Observations(workload, device)
    if isinstance(network, OpenVLANetwork):
        return _openvla_calls(network, made)
    if isinstance(network, Pi0FastNetwork):
        return _pi0_fast_calls(network, made)
    if isinstance(network, GrootNetwork):
        return _groot_calls(workload, network, made)
    if isinstance(network, SmolVLANetwork):
        return _smolvla_calls(workload, network, made)
    return _pi0_calls(workload, network, made)


@dataclass(frozen=True)
class _Observations:
    """Observations without content."""

    workload: Workload
    device: torch.device

    def images(self, batch: int, side: int) -> Tensor:
        """Images [b, n, 3, side, side]."""
        shape = (batch, self.workload.images, 3, side, side)
        return torch.rand(*shape, device=self.device)

    def there(self, batch: int) -> Tensor:
        """Which images there are: all, [b, n]."""
        return torch.ones(batch, self.workload.images, dtype=torch.bool, device=self.device)

    def words(self, batch: int) -> Tensor:
        """Prompts [b, l] of the usual length, without padding."""
        length = PROMPT_TOKENS[self.workload.network]
        return torch.ones(batch, length, dtype=torch.long, device=self.device)

    def prompts(self, batch: int, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images and prompts with the masks of both."""
        words = self.words(batch)
        return self.images(batch, side), self.there(batch), words, words.bool()

    def numbers(self, *shape: int) -> Tensor:
        """States, times and whatever else is numbers."""
        return torch.rand(*shape, device=self.device)


def _openvla_calls(network: OpenVLANetwork, made: _Observations) -> Calls:
    sizes, device = network.sizes, made.device
    tokens, shape = ActionTokens(ActionTokenizer(sizes.bins)), (sizes.chunk, sizes.action_dim)

    def logits(batch: int) -> Tensor:
        pixels = torch.rand(batch, 6 * sizes.num_images, *2 * (sizes.image_size,), device=device)
        words = made.words(batch)
        return network(pixels, words, words).logits.view(batch, *shape, sizes.bins)

    def loss(batch: int) -> Tensor:
        bins = torch.zeros(batch, *shape, dtype=torch.long, device=device)
        evaluation = tokens.evaluate(logits(batch), bins)
        return evaluation.logprob.mean() + evaluation.entropy.mean()

    def act(batch: int) -> Tensor:
        return tokens.sample(logits(batch), made.numbers(batch, *shape)).actions

    return Calls(lambda batch: batch, loss, act)


def _pi0_fast_calls(network: Pi0FastNetwork, made: _Observations) -> Calls:
    """Answers as long as they may be; the last token of one, when acting."""
    sizes, device, side = network.sizes.vlm, made.device, network.sizes.vision.image_size

    def read(batch: int) -> PrefixCache:
        return network.encode(*made.prompts(batch, side), output=True)

    def loss(prefix: PrefixCache) -> Tensor:
        assert prefix.output is not None
        shape = (len(prefix.visible), ANSWER_TOKENS)
        tokens = torch.zeros(shape, dtype=torch.long, device=device)
        followed, _ = network.follow(prefix, tokens[:, :-1])
        features = torch.cat((prefix.output[:, -1:], followed), 1)
        logprob, entropy, _ = network.likelihood(features, tokens)
        return logprob.mean() + entropy.mean()

    def act(prefix: PrefixCache) -> Tensor:
        batch, dtype = len(prefix.visible), prefix.caches[0][0].dtype
        shape = (sizes.depth, 2, batch, sizes.kv_heads, ANSWER_TOKENS - 1, sizes.head_dim)
        written = torch.zeros(shape, dtype=dtype, device=device)
        before = [(layer[0], layer[1]) for layer in written[: len(prefix.caches)]]
        token = torch.zeros(batch, 1, dtype=torch.long, device=device)
        features, _ = network.follow(prefix, token, before, kept=True)
        scaled = network.logits(features[:, 0]) / 1.0
        return draw(scaled.double(), torch.rand(batch, dtype=torch.float64, device=device))

    return Calls(read, loss, act)


def _pi0_calls(workload: Workload, network: Pi0Network, made: _Observations) -> Calls:
    sizes, side = network.sizes, network.sizes.vision.image_size

    def read(batch: int) -> PrefixCache:
        return network.encode(*made.prompts(batch, side))

    def mean(prefix: PrefixCache, x: Tensor) -> Tensor:
        batch, points = x.shape[:2]
        state, t = made.numbers(batch, sizes.state_dim), made.numbers(batch, points)
        return x - network.denoise(prefix, state, x, t).velocity

    return _flow_calls(workload, read, mean, (sizes.chunk, sizes.action_dim), made)


def _smolvla_calls(workload: Workload, network: SmolVLANetwork, made: _Observations) -> Calls:
    sizes = network.sizes

    def read(batch: int) -> PrefixCache:
        state = made.numbers(batch, sizes.state_dim)
        return network.encode(*made.prompts(batch, sizes.image_size), state)

    def mean(prefix: PrefixCache, x: Tensor) -> Tensor:
        return x - network.denoise(prefix, x, made.numbers(*x.shape[:2])).velocity

    return _flow_calls(workload, read, mean, (sizes.chunk, sizes.action_dim), made)


def _groot_calls(workload: Workload, network: GrootNetwork, made: _Observations) -> Calls:
    sizes, side = network.sizes, network.sizes.vision.image_size

    def read(batch: int) -> Tensor:
        words = made.words(batch)
        return network.encode(made.images(batch, side), words, words.bool())

    def mean(features: Tensor, x: Tensor) -> Tensor:
        batch, points = x.shape[:2]
        context = network.context(features, made.numbers(batch, sizes.state_dim), 0, visible=None)
        bucket = torch.ones(batch, points, dtype=torch.long, device=made.device)
        return x + network.denoise(context, x, bucket, 0).velocity

    return _flow_calls(workload, read, mean, (sizes.chunk, sizes.action_dim), made)


def _flow_calls(
    workload: Workload,
    read: Callable[[int], Any],
    mean: Callable[[Any, Tensor], Tensor],
    shape: tuple[int, int],
    made: _Observations,
) -> Calls:
    """``mean`` of a noisy step from points [b, m, h, a], given what ``read`` made."""

    def loss(prefix: Any) -> Tensor:
        batch = workload.train.learner.micro_batch
        chain = made.numbers(batch, workload.points + 1, *shape)
        went = mean(prefix, chain[:, :-1])
        return gaussian_logprob(chain[:, 1:], went, torch.full_like(went, 0.1)).mean()

    def act(prefix: Any) -> Tensor:
        batch = workload.train.rollout.inference_batch
        return mean(prefix, made.numbers(batch, 1, *shape))

    return Calls(read, loss, act)
