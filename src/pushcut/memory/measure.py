"""Running a full-size network without memory, and counting the bytes that it would take.

Parameters and activations are torch's fake tensors: shapes and types on an imagined CPU, so that
autocast and the fused kernels of attention are those of a real one, without a byte or a number
behind them. CUDA's kernels differ a little: its fused root-mean-square norm saves 4 bytes less for
each number that goes into a Gemma norm that is trained, and its autocast computes layer norms in
float32, 4 bytes more for each number in bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from pushcut.memory.calls import calls
from pushcut.memory.live_bytes import LiveBytes
from pushcut.memory.network import Network, reads_without_gradients, stacks
from pushcut.memory.workload import Workload

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


def measure(network: Network, workload: Workload) -> Measured:
    """Runs an update and an inference; ``network`` is on the meta device and of no use after."""
    mode, gone = FakeTensorMode(), _shorten(network)
    _make_fake(network, mode)
    counter, unit = LiveBytes(network.parameters()), _period(network)
    stands_for: dict[Tensor, int] = {}
    for stack, times in gone.items():
        _Repeated(stack[1], stack[1 + unit], times, counter)
        repeated = [p for block in stack[1 : 1 + unit] for p in block.parameters()]
        stands_for |= dict.fromkeys(repeated, 1 + times)
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
        frozen = reads_without_gradients(network)
        with workload.released.compute.context(CPU):
            with torch.set_grad_enabled(not frozen):
                read = policy.read(workload.train.learner.micro_batch)
            held, reading = (counter.now, counter.peak) if frozen else (0, 0)
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
    """Leaves the first blocks of each stack, whose second unit stands for others, and the last.

    Returned is how many units are gone.
    """
    unit = _period(network)
    gone = {stack: (len(stack) - unit - 3) // unit for stack in stacks(network)}
    gone = {stack: times for stack, times in gone.items() if times > 0}
    for stack, times in gone.items():
        del stack[unit + 2 : unit + 2 + times * unit]
    return gone


def _period(network: nn.Module) -> int:
    """After how many blocks the kinds of blocks come again, in all stacks."""
    kinds = [[_kind(block) for block in stack] for stack in stacks(network)]
    longest = max(map(len, kinds))
    return next(n for n in range(1, longest + 1) if all(k[n:] == k[:-n] for k in kinds))


def _kind(block: nn.Module) -> tuple[object, ...]:
    """Equal for blocks that take the same memory."""
    return type(block), *(parameter.shape for parameter in block.parameters())


class _Repeated:
    """Blocks that stand for themselves and ``times`` further: what they leave is counted again.

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
