"""The memory plan against what a GPU says: one update's micro-batch, AdamW's step, one inference.

Random weights at full size in bfloat16, made where they stay; random observations. Gradients and
AdamW's moments exist before the micro-batch is measured, as in every micro-batch but the first.
Compared is torch.cuda.max_memory_allocated with the plan without CUDA's own context, which is
measured apart (where this is the GPU's only process). Adapters need peft. The last line is one JSON
object, bytes in GB of 10^9; what does not fit is noted, and it goes on.

    PYTHONPATH=src python3 benchmarks/gpu/memory.py [--cases pi0-expert ...] [--tiny]
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch
from pi0_calls import sample_actions
from torch import Tensor, nn

from pushcut.memory import GB, MemoryPlan, Workload, plan
from pushcut.memory.parameters import (
    Network,
    Sizes,
    adaptable,
    meta_network,
    released_sizes,
)
from pushcut.policies.flow.moments import gaussian_logprob
from pushcut.policies.lora import add_lora
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.gradient_checkpointing import checkpoint_activations
from pushcut.policies.networks.llama import LlamaSizes
from pushcut.policies.networks.openvla import OpenVLANetwork, OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes, stays_float32
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.networks.vit import ViTSizes
from pushcut.policies.precision import Compute
from pushcut.policies.tokens.head import ActionTokenizer, ActionTokens
from pushcut.runs.run import provenance

PI0 = Workload("pi0", chunk=5, micro_batch=32, inference_batch=64)
OPENVLA = Workload("openvla-oft", "lora", images=1, micro_batch=4, inference_batch=32)

CASES = {
    "pi0-expert": PI0,
    "pi0-expert-masters": replace(PI0, master_weights=True),
    "pi0-expert-checkpointing": replace(PI0, gradient_checkpointing=True),
    "pi0-expert-chain": replace(PI0, mdp="two-layer", micro_batch=16),
    "pi05-expert": replace(PI0, network="pi05", horizon=10),
    "pi0-lora": replace(PI0, trained="lora", micro_batch=8),
    "pi0-all-checkpointing": replace(PI0, trained="all", gradient_checkpointing=True),
    "openvla-lora": OPENVLA,
    "openvla-lora-checkpointing": replace(OPENVLA, gradient_checkpointing=True, micro_batch=16),
    "openvla-all-checkpointing": replace(
        OPENVLA, trained="all", gradient_checkpointing=True, micro_batch=8
    ),
}

TINY_PI0 = Pi0Sizes(
    vision=SiglipSizes(width=32, depth=2, mlp=64, heads=4, image_size=28),
    vlm=GemmaSizes(width=64, depth=2, mlp=128, heads=4, head_dim=16),
    expert=GemmaSizes(width=32, depth=2, mlp=64, heads=4, head_dim=16),
    vocab_size=300,
)
TINY_OPENVLA = OpenVLASizes(
    dino=ViTSizes(width=32, depth=2, heads=4, mlp=64, prefix_tokens=5),
    siglip=ViTSizes(width=48, depth=2, heads=4, mlp=96),
    llm=LlamaSizes(64, 128, layers=2, heads=4, kv_heads=4, vocab_padded=384),
    image_size=28,
    vocab_size=320,
)


@dataclass
class Meter:
    """Most that was allocated since the last ``start``."""

    device: torch.device

    def start(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int | None:
        """In bytes; None on the CPU, where torch does not count."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--tiny", action="store_true", help="small sizes, on the CPU: no result")
    parser.add_argument("--commit", help="where the copy on the GPU's machine has no .git")
    options = parser.parse_args()
    if not (options.tiny or torch.cuda.is_available()):
        raise SystemExit("no CUDA device here: nothing to measure (--tiny tries the code)")
    device = torch.device("cpu" if options.tiny else "cuda")
    results = {
        name: measure_or_say_why(CASES[name], device, options.tiny) for name in options.cases
    }
    cuda = device.type == "cuda"
    where = provenance()
    where["commit"] = options.commit or where["commit"]
    record = {
        "cases": results,
        "context_gb": context_gb() if cuda else None,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch": torch.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    print(json.dumps(record | where))


def context_gb() -> float:
    """What is in use on the GPU beyond torch's own reserve."""
    free, total = torch.cuda.mem_get_info()
    return round((total - free - torch.cuda.memory_reserved()) / GB, 2)


def measure_or_say_why(workload: Workload, device: torch.device, tiny: bool) -> dict[str, Any]:
    if tiny:
        workload = replace(workload, micro_batch=2, inference_batch=2, prompt_tokens=6)
    sizes = tiny_sizes(workload) if tiny else released_sizes(workload)
    try:
        return measure(workload, sizes, device)
    except (torch.OutOfMemoryError, ImportError) as error:
        return {"not_measured": str(error).splitlines()[0]}
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def tiny_sizes(workload: Workload) -> Sizes:
    if workload.network == "openvla-oft":
        return replace(TINY_OPENVLA, num_images=workload.images)
    return replace(TINY_PI0, pi05=workload.network == "pi05", chunk=workload.horizon or 50)


def measure(workload: Workload, sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Predicted and measured GB of the three moments."""
    network = build(workload, sizes, device)
    predicted, meter = plan(workload, network), Meter(device)
    compute = Compute(workload.dtype, workload.master_weights)
    update, act = calls(workload, network, device)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-6)

    def backward() -> None:
        with compute.context(device):
            loss = update()
        loss.backward()

    backward()
    optimizer.step()
    always = torch.cuda.memory_allocated() if device.type == "cuda" else None
    measured: dict[str, int | None] = {"always": always}
    meter.start()
    backward()
    measured["update"] = meter.peak()
    meter.start()
    optimizer.step()
    measured["step"] = meter.peak()
    meter.start()
    with torch.no_grad(), compute.context(device):
        act()
    measured["rollout"] = meter.peak()
    return compared(predicted, measured)


def compared(predicted: MemoryPlan, measured: dict[str, int | None]) -> dict[str, Any]:
    moments = {
        "always": predicted.always,
        "update": predicted.update,
        "step": predicted.always + predicted.step,
        "rollout": predicted.rollout,
    }
    rows: dict[str, Any] = {}
    for name, value in moments.items():
        without_context, got = value - predicted.context, measured[name]
        rows[name] = {
            "predicted_gb": round(without_context / GB, 2),
            "measured_gb": None if got is None else round(got / GB, 2),
            "predicted_over_measured": None if not got else round(without_context / got, 3),
        }
    return rows


def build(workload: Workload, sizes: Sizes, device: torch.device) -> Network:
    """Random weights in the types of the workload; the parts that it trains."""
    torch.manual_seed(0)
    network = meta_network(workload, sizes)
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    network.to_empty(device=device)
    if isinstance(network, Pi0Network):
        network.tie()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.normal_(std=0.02)
            parameter.requires_grad_(name in trained)
    parts: dict[str, list[nn.Module]] = adaptable(network)
    for part, rank in workload.ranks.items():
        for module in parts[part]:
            add_lora(module, rank=rank, alpha=rank)
    kept: Callable[[str], bool] = (
        stays_float32 if isinstance(network, Pi0Network) else lambda name: False
    )
    Compute(workload.dtype, workload.master_weights).cast(network, kept)
    checkpoint_activations(network, workload.gradient_checkpointing)
    return network.eval()


def calls(
    workload: Workload, network: Network, device: torch.device
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """The loss of a micro-batch, and the actions of an inference batch."""
    if isinstance(network, OpenVLANetwork):
        return openvla_calls(workload, network, device)
    return pi0_calls(workload, network, device)


def openvla_calls(
    workload: Workload, network: OpenVLANetwork, device: torch.device
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    sizes, tokens = network.sizes, ActionTokens(ActionTokenizer(network.sizes.bins))
    shape = (sizes.chunk, sizes.action_dim)

    def logits(batch: int) -> Tensor:
        pixels = torch.rand(batch, 6 * sizes.num_images, *2 * (sizes.image_size,), device=device)
        words = torch.ones(batch, workload.prompt, dtype=torch.long, device=device)
        return network(pixels, words, words).logits.view(batch, *shape, sizes.bins)

    def loss() -> Tensor:
        bins = torch.zeros(workload.micro_batch, *shape, dtype=torch.long, device=device)
        return tokens.evaluate(logits(workload.micro_batch), bins).logprob.mean()

    def act() -> Tensor:
        uniform = torch.rand(workload.inference_batch, *shape, device=device)
        return tokens.sample(logits(workload.inference_batch), uniform).actions

    return loss, act


def pi0_calls(
    workload: Workload, network: Pi0Network, device: torch.device
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    sizes, points = network.sizes, workload.points
    shape = (sizes.chunk, sizes.action_dim)

    def observation(batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pixels = 2 * (sizes.vision.image_size,)
        words = torch.ones(batch, workload.prompt, dtype=torch.long, device=device)
        there = torch.ones(batch, workload.images, dtype=torch.bool, device=device)
        images = torch.rand(batch, workload.images, 3, *pixels, device=device)
        return images, there, words, words.bool()

    def loss() -> Tensor:
        batch = workload.micro_batch
        chain = torch.randn(batch, points + 1, *shape, device=device)
        state, t = (
            torch.rand(batch, sizes.state_dim, device=device),
            torch.rand(batch, points, device=device),
        )
        prefix = network.encode(*observation(batch))
        mean = chain[:, :-1] - network.denoise(prefix, state, chain[:, :-1], t).velocity
        return gaussian_logprob(chain[:, 1:], mean, torch.full_like(mean, 0.1)).mean()

    def act() -> Tensor:
        batch = workload.inference_batch
        noise = torch.randn(batch, *shape, device=device)
        state = torch.rand(batch, sizes.state_dim, device=device)
        return sample_actions(network, observation(batch), state, noise, workload.num_steps)

    return loss, act


if __name__ == "__main__":
    main()
