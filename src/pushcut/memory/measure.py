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
from pushcut.memory.workload import ANSWER_TOKENS, PROMPT_TOKENS, Workload
from pushcut.policies.flow.moments import gaussian_logprob
from pushcut.policies.networks.openvla import OpenVLANetwork
from pushcut.policies.networks.paligemma import PaliGemmaNetwork, PrefixCache
from pushcut.policies.networks.pi0 import Pi0Network
from pushcut.policies.networks.pi0_fast import Pi0FastNetwork
from pushcut.policies.tokens.head import ActionTokenizer, ActionTokens, draw

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

    pi0 reads observations into prefixes, OpenVLA-OFT has no such half.
    """

    read: Callable[[int], Any]
    loss: Callable[[Any], Tensor]
    act: Callable[[Any], object]


def calls(workload: Workload, network: Network, device: torch.device) -> Calls:
    """An update's loss, and actions, on observations without content."""
    if isinstance(network, OpenVLANetwork):
        return _openvla_calls(workload, network, device)
    if isinstance(network, Pi0FastNetwork):
        return _pi0_fast_calls(workload, network, device)
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


def _reading(
    workload: Workload, network: PaliGemmaNetwork, device: torch.device, *, output: bool
) -> Callable[[int], PrefixCache]:
    def read(batch: int) -> PrefixCache:
        pixels = 2 * (network.sizes.vision.image_size,)
        words = torch.ones(batch, PROMPT_TOKENS[workload.network], dtype=torch.long, device=device)
        there = torch.ones(batch, workload.images, dtype=torch.bool, device=device)
        images = torch.rand(batch, workload.images, 3, *pixels, device=device)
        return network.encode(images, there, words, words.bool(), output=output)

    return read


def _pi0_fast_calls(workload: Workload, network: Pi0FastNetwork, device: torch.device) -> Calls:
    """Answers as long as they may be; the last token of one, when acting."""
    sizes = network.sizes.vlm

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

    return Calls(_reading(workload, network, device, output=True), loss, act)


def _pi0_calls(workload: Workload, network: Pi0Network, device: torch.device) -> Calls:
    sizes = network.sizes
    shape = (sizes.chunk, sizes.action_dim)
    read = _reading(workload, network, device, output=False)

    def mean(prefix: PrefixCache, x: Tensor) -> Tensor:
        batch, points = x.shape[:2]
        state = torch.rand(batch, sizes.state_dim, device=device)
        t = torch.rand(batch, points, device=device)
        return x - network.denoise(prefix, state, x, t).velocity

    def loss(prefix: PrefixCache) -> Tensor:
        chain = torch.rand(len(prefix.visible), workload.points + 1, *shape, device=device)
        went = mean(prefix, chain[:, :-1])
        return gaussian_logprob(chain[:, 1:], went, torch.full_like(went, 0.1)).mean()

    def act(prefix: PrefixCache) -> Tensor:
        return mean(prefix, torch.rand(len(prefix.visible), 1, *shape, device=device))

    return Calls(read, loss, act)


def measure(network: Network, workload: Workload) -> Measured:
    """Runs an update and an inference; ``network`` is on the meta device and of no use after."""
    mode, gone = FakeTensorMode(), _shorten(network)
    _make_fake(network, mode)
    counter = LiveBytes(network.parameters())
    stands_for: dict[Tensor, int] = {}
    for stack, times in gone.items():
        _Repeated(stack[1], stack[2], times, counter)
        stands_for |= dict.fromkeys(stack[1].parameters(), 1 + times)
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
    """Leaves four blocks of each stack; returned is how many are gone."""
    gone = {stack: len(stack) - 4 for stack in stacks(network) if len(stack) > 4}
    for stack in gone:
        del stack[3:-1]
    return gone


class _Repeated:
    """A block that stands for itself and ``times`` further ones: what it leaves is counted again.

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
