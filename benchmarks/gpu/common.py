"""What the GPU benchmarks share: timing within a budget, variants of a call, eager attention."""

from __future__ import annotations

import argparse
import gc
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TypeVar
from unittest import mock

import torch
import torch._dynamo
from torch import Tensor, nn

from pushcut.policies.networks import gemma, llama, siglip, vit

Batch = dict[str, Tensor]
Call = Callable[[Batch], Tensor]
T = TypeVar("T")

BASELINES = ("straightforward", "reference")
"""Variants with attention written out; the others are ours."""

AUTOTUNE = "max-autotune-no-cudagraphs"

TOLERANCE = {torch.bfloat16: 0.05, torch.float32: 1e-4}
"""Largest relative error (norm of the difference over the norm) between two variants."""

SHARPNESS = 8.0
"""Random queries and keys are nearly orthogonal, so that attention would be a plain mean and a
wrong mask would hardly show: queries are made longer by this."""


class OutOfTimeError(Exception):
    """The budget ended inside a measurement."""


@dataclass(frozen=True)
class Measured:
    """What a call took."""

    seconds: float
    """Median."""
    spread: float
    """(slowest - fastest) / median."""
    repeats: int
    peak_gb: float | None
    """Most memory that was allocated at once, weights included; None on the CPU."""
    error: float | None
    """Relative error against the first variant that was measured on the same inputs."""


class Bench:
    """Measures variants of the same call; what fails or no longer fits is noted, and it goes on."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        self.dtype: torch.dtype = getattr(torch, options.dtype)
        self.compile_mode: str = options.compile_mode
        self.tiny: bool = options.tiny
        if self.tiny and self.device.type == "cpu":
            torch.set_num_threads(1)
        self.not_measured: dict[str, str] = {}
        self._expected: dict[str, Tensor] = {}
        self._start, self._budget = time.perf_counter(), options.budget_seconds
        self._reserve = 0.0
        # Each kind of block is compiled for each batch size, with and without gradients.
        torch._dynamo.config.recompile_limit = 256
        torch._dynamo.config.accumulated_recompile_limit = 1024

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._start

    @contextmanager
    def reserved(self, seconds: float) -> Iterator[None]:
        """As if the budget ended so much earlier: what comes after this is to have its share."""
        self._reserve = 0.0 if self.tiny else seconds
        try:
            yield
        finally:
            self._reserve = 0.0

    def attempt(self, name: str, function: Callable[[], T], *, needs: float = 3.0) -> T | None:
        """The function's result, or None and a reason in the record."""
        needs = 0.0 if self.tiny else needs
        left = self._budget - self._reserve - self.seconds
        if left <= needs:
            self.not_measured[name] = f"skipped: {left:.0f} s left, wants {needs:.0f} s"
            return None
        try:
            with _alarm(left):
                return function()
        except Exception as error:
            reason = str(error).strip().splitlines() or [""]
            self.not_measured[name] = f"{type(error).__name__}: {reason[0]}"[:300]
            return None
        finally:
            if self.device.type == "cuda":
                gc.collect()
                torch.cuda.empty_cache()

    def measure(
        self, same: str, how: str, call: Call, batch: Batch, blocks: Iterable[nn.Module]
    ) -> Measured | None:
        """Times a variant; all variants with equal ``same`` must give the same result.

        ``how``: one of BASELINES, or "eager", "compiled" or "autotuned" (each block compiled),
        with "+graph" as one CUDA graph, and anything after a slash.
        """
        name = f"{same} {how}"
        plan, _, _ = how.partition("/")

        def run() -> Measured:
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            with self._context(plan, blocks):
                make = self._graphed if plan.endswith("+graph") else self._moved
                ready = make(call, batch)
                error = self._error(same, ready(batch))
                times = self._times(lambda: ready(batch))
            median = statistics.median(times)
            spread = (max(times) - min(times)) / median
            return Measured(median, spread, len(times), self._peak_gb(), error)

        needs = {"compiled": 45.0, "autotuned": 120.0}.get(plan.removesuffix("+graph"), 3.0)
        measured = self.attempt(name, run, needs=needs)
        said = asdict(measured) if measured else self.not_measured[name]
        print(f"{self.seconds:6.1f} s  {name}: {said}", flush=True)
        return measured

    def time(self, call: Callable[[], object]) -> float:
        """Median seconds."""
        return statistics.median(self._times(call))

    def optimiser_seconds(self, network: nn.Module) -> float:
        """A step of AdamW on the trained parameters; with learning rate 0 they stay."""
        trained = [p for p in network.parameters() if p.requires_grad]
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        optimiser = torch.optim.AdamW(trained, lr=0.0, fused=self.device.type == "cuda")
        return self.time(optimiser.step)

    def agree(self, *records: dict[str, Measured]) -> bool:
        """Whether all variants gave the same results within the tolerance."""
        errors = [m.error for record in records for m in record.values() if m.error is not None]
        return bool(errors) and all(error <= TOLERANCE[self.dtype] for error in errors)

    def matmul_rate(self) -> float:
        """FLOP/s of a large matrix product of random numbers in this dtype."""
        n = 128 if self.tiny else 8192
        a, b = (torch.randn(n, n, device=self.device).to(self.dtype) for _ in range(2))
        return 2 * n**3 / self.time(lambda: a @ b)

    def _times(self, call: Callable[[], object]) -> list[float]:
        """After a call to warm up: at least three, and a second in all where they are short."""
        call()
        target, least, most = (0.0, 1, 1) if self.tiny else (1.0, 3, 50)
        times: list[float] = []
        while len(times) < least or (sum(times) < target and len(times) < most):
            times.append(self._once(call))
        return times

    def _once(self, call: Callable[[], object]) -> float:
        if self.device.type != "cuda":
            start = time.perf_counter()
            call()
            return time.perf_counter() - start
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        first.record()
        call()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / 1e3

    @contextmanager
    def _context(self, plan: str, blocks: Iterable[nn.Module]) -> Iterator[None]:
        kind = plan.removesuffix("+graph")
        with ExitStack() as stack:
            if kind in BASELINES:
                stack.enter_context(written_out_attention())
            elif kind in ("compiled", "autotuned"):
                mode = AUTOTUNE if kind == "autotuned" else self.compile_mode
                # On the CPU only the tracing is tried: generating code would take minutes.
                way = {"mode": mode} if self.device.type == "cuda" else {"backend": "eager"}
                stack.enter_context(_compiled(list(blocks), way))
            yield

    def _moved(self, call: Call, batch: Batch) -> Call:
        """The call, whose inputs may lie in the host's memory."""

        def moved(batch: Batch) -> Tensor:
            return call({k: v.to(self.device, non_blocking=True) for k, v in batch.items()})

        return moved

    def _graphed(self, call: Call, batch: Batch) -> Call:
        """The call as one CUDA graph on inputs of its own; without a GPU, the same without one."""
        own = {name: tensor.to(self.device, copy=True) for name, tensor in batch.items()}
        graph: torch.cuda.CUDAGraph | None = None
        out = torch.empty(0)
        if self.device.type == "cuda":
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):  # all that happens once (kernels chosen, buffers made)
                    call(own)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                out = call(own)

        def replay(batch: Batch) -> Tensor:
            for name, tensor in batch.items():
                own[name].copy_(tensor, non_blocking=True)
            if graph is None:
                return call(own)
            graph.replay()
            return out

        return replay

    def _error(self, same: str, out: Tensor) -> float | None:
        if not out.isfinite().all():
            raise ValueError("the result is not finite")
        if same not in self._expected:
            self._expected[same] = out.clone()
            return None
        return relative_error(out, self._expected[same])

    def _peak_gb(self) -> float | None:
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated() / 1e9


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raises OutOfTimeError in the main thread; a compilation would not look at a clock."""

    def ring(*_: object) -> None:
        raise OutOfTimeError(f"stopped after {seconds:.0f} s, when the budget ended")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _compiled(blocks: list[nn.Module], way: dict[str, str]) -> Iterator[None]:
    """Each block by itself: equal blocks share what was compiled, and minutes become seconds."""
    for block in blocks:
        block.compile(dynamic=False, **way)
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None


def eager_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """softmax(Q K^T / sqrt(c)) V step by step, with shared keys repeated and a float32 softmax.

    ``mask`` as in pushcut.policies.networks.attention; one made for heads that share a key repeats
    itself for each of them.
    """
    shared = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(shared, dim=1) for x in (key, value))
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if mask is not None:
        mask = mask[:, :, : query.shape[2]]
        seen = mask if mask.dtype == torch.bool else mask == 0
        scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    weights = scores.float().softmax(dim=-1).to(value.dtype)
    return (weights @ value).transpose(1, 2).flatten(2)


@contextmanager
def written_out_attention() -> Iterator[None]:
    """All networks use ``eager_attention`` instead of their own."""
    with ExitStack() as stack:
        for module in (gemma, llama, siglip, vit):
            stack.enter_context(mock.patch.object(module, "attention", eager_attention))
        yield


@torch.no_grad()
def sharpen(network: nn.Module) -> None:
    """Makes attention choose: queries become ``SHARPNESS`` times as long, gates are near 1."""
    for part in network.modules():
        if isinstance(part, gemma.AdaptiveRMSNorm):
            part.dense.bias[-len(part.dense.bias) // 3 :] = 1
    for name, parameter in network.named_parameters():
        if name.endswith("q_proj.weight"):
            parameter.mul_(SHARPNESS)
        elif name.endswith("qkv.weight"):
            parameter[: len(parameter) // 3].mul_(SHARPNESS)


def relative_error(got: Tensor, want: Tensor) -> float:
    """|got - want| / |want| over all numbers."""
    got, want = got.double(), want.double()
    return ((got - want).norm() / want.norm()).item()
