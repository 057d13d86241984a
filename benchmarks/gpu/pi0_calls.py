"""What the benchmark of pi0 times: sampling, updates, their inputs and their FLOP."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from common import Batch, Bench, sharpen
from record import linear_flops
from torch import Tensor, nn

from pushcut.policies.flow.moments import gaussian_logprob
from pushcut.policies.flow.transitions import Denoising, SDETransition, Velocity
from pushcut.policies.networks.gemma import GemmaBlock, GemmaSizes
from pushcut.policies.networks.paligemma import KEPT_FLOAT32, PrefixCache
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes
from pushcut.policies.networks.siglip import SiglipBlock, SiglipSizes

STEPS = 4
IMAGES = 2
EXECUTED = (10, 7)
"""Steps and numbers of an action that have a say in the log-probability, as on LIBERO."""

TINY = Pi0Sizes(
    vision=SiglipSizes(width=32, depth=2, mlp=64, heads=4, image_size=28),
    vlm=GemmaSizes(width=64, depth=2, mlp=128, heads=4, head_dim=16),
    expert=GemmaSizes(width=32, depth=2, mlp=64, heads=4, head_dim=16),
    vocab_size=300,
    chunk=8,
)

OBSERVED = ("images", "image_mask", "token_ids", "token_mask")


def build(bench: Bench, sizes: Pi0Sizes) -> Pi0Network:
    """Random weights, made where they stay; the expert and its projections are trained."""
    torch.manual_seed(0)
    with bench.device:
        network = Pi0Network(sizes)
    network.tie()
    sharpen(network)
    for name, parameter in network.paligemma_with_expert.named_parameters():
        if not any(kept in name for kept in KEPT_FLOAT32):
            parameter.data = parameter.data.to(bench.dtype)
    network.vlm.requires_grad_(False)
    return network.eval()


def blocks_of(network: Pi0Network) -> list[nn.Module]:
    return [part for part in network.modules() if isinstance(part, GemmaBlock | SiglipBlock)]


def observation(network: Pi0Network, size: int, prompt: int, device: torch.device) -> Batch:
    """Random images, prompts of which two thirds are no padding, states and noise."""
    sizes, generator = network.sizes, torch.Generator(device).manual_seed(size)
    pixels = sizes.vision.image_size

    def normal(*shape: int) -> Tensor:
        return torch.randn(size, *shape, generator=generator, device=device)

    ids = torch.randint(
        sizes.vocab_size, (size, prompt), generator=generator, device=device, dtype=torch.long
    )
    return {
        "images": normal(IMAGES, 3, pixels, pixels).clamp(-1, 1),
        "image_mask": torch.ones(size, IMAGES, dtype=torch.bool, device=device),
        "token_ids": ids,
        "token_mask": (torch.arange(prompt, device=device) < 2 * prompt // 3).expand(size, -1),
        "state": normal(sizes.state_dim),
        "noise": normal(sizes.chunk, sizes.action_dim),
    }


def observed(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the prefix depends on, in the order in which the network takes it."""
    images, image_mask, token_ids, token_mask = (batch[name] for name in OBSERVED)
    return images, image_mask, token_ids, token_mask


def encode(network: Pi0Network, batch: Batch) -> PrefixCache:
    with torch.no_grad():
        return network.encode(*observed(batch))


def pack(prefix: PrefixCache) -> Batch:
    """A prefix as a rollout would keep it: [b, blocks, 2, kv, p, c]."""
    both = [torch.stack(cache, dim=1) for cache in prefix.caches]
    return {"cache": torch.stack(both, dim=1), "visible": prefix.visible}


def unpack(batch: Batch) -> PrefixCache:
    caches = [(block[:, 0], block[:, 1]) for block in batch["cache"].unbind(1)]
    return PrefixCache(caches, batch["visible"], None)


@dataclass(frozen=True)
class Sampler:
    """Chunks of actions from noise."""

    network: Pi0Network
    again: bool = False
    """Whether each denoising step computes the prefix."""

    def __call__(self, batch: Batch) -> Tensor:
        start = batch["state"], batch["noise"]
        return sample_actions(self.network, observed(batch), *start, STEPS, again=self.again)


@torch.no_grad()
def sample_actions(
    network: Pi0Network,
    seen: tuple[Tensor, Tensor, Tensor, Tensor],
    state: Tensor,
    noise: Tensor,
    num_steps: int,
    *,
    again: bool = False,
) -> Tensor:
    """Euler steps from noise; ``again``: each of them computes the prefix."""
    prefix = network.encode(*seen)
    x = noise[:, None]
    for step in range(num_steps):
        if again and step:
            prefix = network.encode(*seen)
        t = x.new_full(x.shape[:2], 1 - step / num_steps)
        x = x - network.denoise(prefix, state, x, t).velocity / num_steps
    return x[:, 0]


class Update:
    """Forward and backward pass of the policy gradient on one minibatch."""

    def __init__(self, network: Pi0Network, prefix: str, *, apart: bool, again: bool) -> None:
        """``apart``: a pass for each point of the chain; ``again``: and each with its prefix."""
        self.network, self.prefix, self.apart, self.again = network, prefix, apart, again
        self.trained = [p for p in network.parameters() if p.requires_grad]
        first = network.expert.layers[0]
        assert isinstance(first, GemmaBlock)
        self.watched = [first.self_attn.q_proj.weight, network.action_out_proj.weight]

    def __call__(self, batch: Batch) -> Tensor:
        """Gradients of the first queries and of the last layer, each of length 1."""
        for parameter in self.trained:
            parameter.grad = None
        ratio = torch.exp(log_probability(batch, self.velocity(batch)) - batch["logprob_old"])
        loss = -(ratio * batch["advantage"].view(-1, 1, 1, 1)).mean()
        loss.backward()
        grads = [p.grad.float().flatten() for p in self.watched if p.grad is not None]
        return torch.cat([grad / grad.norm() for grad in grads])

    def velocity(self, batch: Batch) -> Tensor:
        kept = None if self.again else self._prefix(batch)
        before, t, state = batch["before"], batch["t"], batch["state"]
        places = range(before.shape[1])
        parts = [slice(i, i + 1) for i in places] if self.apart else [slice(None)]
        outputs = [
            self.network.denoise(kept or self._prefix(batch), state, before[:, p], t[:, p])
            for p in parts
        ]
        return torch.cat([out.velocity for out in outputs], dim=1)

    def _prefix(self, batch: Batch) -> PrefixCache:
        return encode(self.network, batch) if self.prefix == "recomputed" else unpack(batch)


def moments(batch: Batch, velocity: Tensor) -> tuple[Tensor, Tensor]:
    transition = SDETransition(Denoising(num_steps=STEPS))
    t = batch["t"][..., None, None]
    return transition.moments(batch["before"], Velocity(velocity, velocity), t)


def log_probability(batch: Batch, velocity: Tensor) -> Tensor:
    """Of the executed part of each noisy step."""
    steps, numbers = EXECUTED
    logprob = gaussian_logprob(batch["after"], *moments(batch, velocity))
    return logprob[..., :steps, :numbers]


def transitions(network: Pi0Network, batch: Batch, points: int) -> Batch:
    """Noisy steps as a rollout would hold them, with the log-probability of that time."""
    generator = torch.Generator(batch["noise"].device).manual_seed(1)

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=like.device)

    size = len(batch["noise"])
    before = normal(batch["noise"].unsqueeze(1).expand(-1, points, -1, -1))
    place = torch.arange(size * points, device=before.device).view(size, points) % STEPS
    got = batch | {"before": before, "t": 1 - place / STEPS}
    with torch.no_grad():
        velocity = network.denoise(encode(network, got), got["state"], before, got["t"]).velocity
        mean, std = moments(got, velocity)
        got["after"] = mean + std * normal(mean)
        got["logprob_old"] = log_probability(got, velocity)
        got["advantage"] = normal(got["t"][:, 0])
    return got


def flops(network: Pi0Network, prompt: int) -> tuple[int, int]:
    """Of a prefix, and of a pass of the expert over one point."""
    sizes, model = network.sizes, network.vlm.model
    patches = IMAGES * sizes.vision.patches
    prefix = patches + prompt
    seen = linear_flops([model.vision_tower, model.multi_modal_projector]) * patches
    seen += 4 * sizes.vision.patches * patches * sizes.vision.width * sizes.vision.depth
    *first, last = (b for b in model.language_model.layers if isinstance(b, GemmaBlock))
    keys = [last.self_attn.k_proj, last.self_attn.v_proj]
    read = linear_flops([*first, *keys]) * prefix
    read += 4 * prefix**2 * sizes.vlm.heads * sizes.vlm.head_dim * (sizes.vlm.depth - 1)
    tokens, expert = sizes.chunk + (0 if sizes.pi05 else 1), sizes.expert
    parts: list[nn.Module] = [network.action_in_proj, network.action_out_proj]
    if not sizes.pi05:
        parts += [network.action_time_mlp_in, network.action_time_mlp_out]
    for block in (b for b in network.expert.layers if isinstance(b, GemmaBlock)):
        parts += [block.self_attn, block.mlp]
    passed = linear_flops(parts) * tokens
    passed += 4 * tokens * (prefix + tokens) * expert.heads * expert.head_dim * expert.depth
    return seen + read, passed
