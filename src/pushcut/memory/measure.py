"""Running a full-size network without memory, and counting the bytes that it would take.

Parameters and activations are torch's fake tensors: shapes and types on an imagined CPU, so that
autocast and the fused kernels of attention are those of a real one, without a byte or a number
behind them. CUDA's kernels differ a little: its fused root-mean-square norm saves 4 bytes less for
each number that goes into a Gemma norm that is trained, and its autocast computes layer norms in
float32, 4 bytes more for each number in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from pushcut.memory.live_bytes import LiveBytes
from pushcut.memory.network import Network, stacks
from pushcut.memory.workload import PROMPT_TOKENS, Workload
from pushcut.policies.flow.moments import gaussian_logprob
from pushcut.policies.networks.groot import GrootNetwork
from pushcut.policies.networks.openvla import OpenVLANetwork
from pushcut.policies.networks.pi0 import Pi0Network, PrefixCache
from pushcut.policies.tokens.head import ActionTokenizer, ActionTokens

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Measured:
    """Bytes of one micro-batch's update and of one inference batch."""

    held: int
    """Prefixes of the micro-batch, where the VLM is frozen."""
    reading: int
    """Most beside them while a frozen VLM makes them."""
    activations: int
    """Alive between forward and backward."""
    temporary: int
    """Most beside them, in the forward or in the backward pass."""
    prefixes: int
    """Keys and values of the inference batch."""
    inference: int
    """Most beside them."""
    learning: int
    """Trained parameters that the loss depends on: they have gradients and AdamW's moments."""
    casts: int
    """What autocast makes of trained float32 weights."""


@dataclass(frozen=True)
class Calls:
    """What a policy does with its network; ``read`` makes of a batch's size what the others take.

    pi0 and GR00T read observations into prefixes, OpenVLA-OFT has no such half.
    """

    read: Callable[[int], Any]
    loss: Callable[[Any], Tensor]
    act: Callable[[Any], object]


def calls(workload: Workload, network: Network, device: torch.device) -> Calls:
    """An update's loss, and actions, on observations without content."""
    if isinstance(network, OpenVLANetwork):
        return _openvla_calls(workload, network, device)
    if isinstance(network, GrootNetwork):
        return _groot_calls(workload, network, device)
    return _pi0_calls(workload, network, device)


def _openvla_calls(workload: Workload, network: OpenVLANetwork, device: torch.device) -> Calls:
    sizes, tokens = network.sizes, ActionTokens(ActionTokenizer(network.sizes.bins))
    shape = (sizes.chunk, sizes.action_dim)

    def logits(batch: int) -> Tensor:
        pixels = torch.rand(batch, 6 * sizes.num_images, *2 * (sizes.image_size,), device=device)
        words = torch.ones(batch, PROMPT_TOKENS[workload.network], dtype=torch.long, device=device)
        return network(pixels, words, words).logits.view(batch, *shape, sizes.bins)

    def loss(batch: int) -> Tensor:
        bins = torch.zeros(batch, *shape, dtype=torch.long, device=device)
        evaluation = tokens.evaluate(logits(batch), bins)
        return evaluation.logprob.mean() + evaluation.entropy.mean()

    def act(batch: int) -> Tensor:
        return tokens.sample(logits(batch), torch.rand(batch, *shape, device=device)).actions

    return Calls(lambda batch: batch, loss, act)


def _pi0_calls(workload: Workload, network: Pi0Network, device: torch.device) -> Calls:
    sizes = network.sizes
    shape = (sizes.chunk, sizes.action_dim)

    def read(batch: int) -> PrefixCache:
        pixels = 2 * (sizes.vision.image_size,)
        words = torch.ones(batch, PROMPT_TOKENS[workload.network], dtype=torch.long, device=device)
        there = torch.ones(batch, workload.images, dtype=torch.bool, device=device)
        images = torch.rand(batch, workload.images, 3, *pixels, device=device)
        return network.encode(images, there, words, words.bool())

    def mean(prefix: PrefixCache, x: Tensor) -> Tensor:
        batch, points = x.shape[:2]
        state = torch.rand(batch, sizes.state_dim, device=device)
        t = torch.rand(batch, points, device=device)
        return x - network.denoise(prefix, state, x, t).velocity

    return _flow_calls(workload, read, mean, shape, device)


def _groot_calls(workload: Workload, network: GrootNetwork, device: torch.device) -> Calls:
    sizes = network.sizes
    shape = (sizes.chunk, sizes.action_dim)

    def read(batch: int) -> Tensor:
        rows, pixels = PROMPT_TOKENS[workload.network], 2 * (sizes.vision.image_size,)
        words = torch.ones(batch, rows, dtype=torch.long, device=device)
        images = torch.rand(batch, workload.images, 3, *pixels, device=device)
        return network.encode(images, words, words.bool())

    def mean(features: Tensor, x: Tensor) -> Tensor:
        batch, points = x.shape[:2]
        state = torch.rand(batch, sizes.state_dim, device=device)
        context = network.context(features, state, 0, visible=None)
        bucket = torch.ones(batch, points, dtype=torch.long, device=device)
        return x + network.denoise(context, x, bucket, 0).velocity

    return _flow_calls(workload, read, mean, shape, device)


def _flow_calls(
    workload: Workload,
    read: Callable[[int], Any],
    mean: Callable[[Any, Tensor], Tensor],
    shape: tuple[int, int],
    device: torch.device,
) -> Calls:
    """``mean`` of a noisy step from points [b, m, h, a], given what ``read`` made."""

    def loss(read: Any) -> Tensor:
        batch = workload.train.learner.micro_batch
        chain = torch.rand(batch, workload.points + 1, *shape, device=device)
        went = mean(read, chain[:, :-1])
        return gaussian_logprob(chain[:, 1:], went, torch.full_like(went, 0.1)).mean()

    def act(read: Any) -> Tensor:
        batch = workload.train.rollout.inference_batch
        return mean(read, torch.rand(batch, 1, *shape, device=device))

    return Calls(read, loss, act)


def measure(network: Network, workload: Workload) -> Measured:
    """Runs an update and an inference; ``network`` is on the meta device and of no use after."""
    mode, gone = FakeTensorMode(), _shorten(network)
    _make_fake(network, mode)
    counter = LiveBytes(network.parameters())
    stands_for: dict[Tensor, int] = {}
    for stack, times in gone.items():
        one = period(stack)
        _Repeated(stack[one], stack[2 * one], times, counter)
        for block in stack[one : 2 * one]:
            stands_for |= dict.fromkeys(block.parameters(), 1 + times)
    learning = {}

    def learns(parameter: Tensor) -> None:
        # Its gradient has a line of its own in the plan, and is added to one that is there before.
        learning[parameter] = parameter.nbytes * stands_for.get(parameter, 1)
        parameter.grad = None

    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(learns)
    with mode:
        held, reading, activations, most = _update(network, workload, counter)
        prefixes, peak = _inference(network, workload, counter)
    return Measured(
        held=held,
        reading=reading - held,
        activations=activations,
        temporary=most - held - activations,
        prefixes=prefixes,
        inference=peak - prefixes,
        learning=sum(learning.values()),
        casts=counter.casts,
    )


def _update(network: Network, workload: Workload, counter: LiveBytes) -> tuple[int, int, int, int]:
    if workload.phase == "eval":
        return 0, 0, 0, 0
    policy = calls(workload, network, CPU)
    with counter:
        with workload.released.compute.context(CPU):
            with torch.set_grad_enabled(not workload.frozen_prefix):
                read = policy.read(workload.train.learner.micro_batch)
            held, reading = (counter.now, counter.peak) if workload.frozen_prefix else (0, 0)
            counter.peak = counter.now
            loss = policy.loss(read)
        activations = counter.now - held
        loss.backward()
        return held, reading, activations, counter.peak


@torch.no_grad()
def _inference(network: Network, workload: Workload, counter: LiveBytes) -> tuple[int, int]:
    if workload.phase == "sft":
        return 0, 0
    policy = calls(workload, network, CPU)
    counter.now = counter.peak = 0
    with counter, workload.released.compute.context(CPU):
        read = policy.read(workload.train.rollout.inference_batch)
        prefixes = counter.now
        policy.act(read)
        return prefixes, counter.peak


def _make_fake(network: nn.Module, mode: FakeTensorMode) -> None:
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter not in made:
                fake = FakeTensor(mode, parameter.data, CPU)
                made[parameter] = nn.Parameter(fake, requires_grad=parameter.requires_grad)
            setattr(module, name, made[parameter])


def _shorten(network: nn.Module) -> dict[nn.ModuleList, int]:
    """Leaves four periods of each stack; returned is how many are gone."""
    periods = {stack: period(stack) for stack in stacks(network)}
    gone = {
        stack: len(stack) // one - 4
        for stack, one in periods.items()
        if len(stack) > 4 * one and len(stack) % one == 0
    }
    for stack in gone:
        del stack[3 * periods[stack] : -periods[stack]]
    return gone


def period(stack: nn.ModuleList) -> int:
    """After how many blocks a stack's parameters have the same shapes again: 1 or 2."""
    shapes = [[x.shape for x in block.parameters()] for block in stack]
    return 1 if all(one == shapes[0] for one in shapes) else 2


class _Repeated:
    """Blocks that stand for themselves and ``times`` more: what they leave is counted again.

    That is the difference between its beginning and that of the following block, forward and
    backward.
    """

    def __init__(
        self, block: nn.Module, following: nn.Module, times: int, counter: LiveBytes
    ) -> None:
        self.times, self.counter = times, counter
        self.now = self.casts = 0
        block.register_forward_pre_hook(self.begins)
        following.register_forward_pre_hook(self.ends)

    def begins(self, block: nn.Module, given: tuple[Any, ...]) -> None:
        if not _is_backward():
            self.remember()
            if given[0].requires_grad:
                given[0].register_hook(self.repeat)

    def ends(self, block: nn.Module, given: tuple[Any, ...]) -> None:
        if not _is_backward():
            self.repeat()
            if given[0].requires_grad:
                given[0].register_hook(self.remember)

    def remember(self, _gradient: Tensor | None = None) -> None:
        self.now, self.casts = self.counter.now, self.counter.casts

    def repeat(self, _gradient: Tensor | None = None) -> None:
        self.counter.casts += self.times * (self.counter.casts - self.casts)
        self.counter.add(self.times * (self.counter.now - self.now))


def _is_backward() -> bool:
    """Whether blocks are computed again, by gradient checkpointing."""
    return torch._C._current_graph_task_id() != -1
