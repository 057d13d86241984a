"""The memory plan against what a GPU says: one update's micro-batch, AdamW's step, one inference.

Random weights at full size in bfloat16, made where they stay; random observations. Gradients and
AdamW's moments exist before the micro-batch is measured, as in every micro-batch but the first.
Compared is torch.cuda.max_memory_allocated with the plan without CUDA's own context, which is
measured apart (where this is the GPU's only process). The last line is one JSON
object, bytes in GB of 10^9; what does not fit is noted, and it goes on.

    PYTHONPATH=src python3 benchmarks/gpu/memory.py [--cases pi0-expert ...] [--tiny]
"""

from __future__ import annotations

import argparse
import gc
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch

from pushcut.algorithms.grpo import GRPO
from pushcut.memory import GB, MemoryPlan, Workload, plan
from pushcut.memory.measure import calls
from pushcut.memory.network import Network, Sizes, build, released_sizes
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.llama import LlamaSizes
from pushcut.policies.networks.openvla import OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.networks.vit import ViTSizes
from pushcut.policies.released.options import ReleasedNetwork
from pushcut.presets import PRESETS
from pushcut.runs.run import provenance

PRESET = {
    "pi0": "libero-spatial-pi0-flow-sde",
    "pi05": "libero-spatial-pi05-flow-sde",
    "openvla-oft": "libero-spatial-openvla-oft",
}


def case(
    network: ReleasedNetwork,
    micro_batch: int,
    inference_batch: int,
    *,
    masters: bool = False,
    checkpointing: bool = False,
    **policy: Any,
) -> Workload:
    """The preset of a network, read in bfloat16, without a critic."""
    train = PRESETS[PRESET[network]].train
    released = replace(
        train.policy.released,
        master_weights=masters,
        gradient_checkpointing=checkpointing,
        horizon=None,
    )
    changed = replace(
        train,
        policy=replace(train.policy, released=released, **policy),
        algorithm=GRPO(),
        learner=replace(train.learner, micro_batch=micro_batch),
        rollout=replace(train.rollout, inference_batch=inference_batch),
    )
    return Workload(network, changed)


CASES = {
    "pi0-expert": case("pi0", 32, 64),
    "pi0-expert-masters": case("pi0", 32, 64, masters=True),
    "pi0-expert-checkpointing": case("pi0", 32, 64, checkpointing=True),
    "pi0-expert-chain": case("pi0", 16, 64, mdp="two-layer"),
    "pi05-expert": case("pi05", 32, 64),
    "pi0-lora": case("pi0", 8, 64, trained="lora"),
    "pi0-all-checkpointing": case("pi0", 32, 64, trained="all", checkpointing=True),
    "openvla-lora": case("openvla-oft", 4, 32, trained="lora"),
    "openvla-lora-checkpointing": case("openvla-oft", 16, 32, trained="lora", checkpointing=True),
    "openvla-all-checkpointing": case("openvla-oft", 8, 32, checkpointing=True),
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
        train = workload.train
        learner = replace(train.learner, micro_batch=2)
        rollout = replace(train.rollout, inference_batch=2)
        workload = replace(workload, train=replace(train, learner=learner, rollout=rollout))
    sizes = tiny_sizes(workload) if tiny else released_sizes(workload)
    try:
        return measure(workload, sizes, device)
    except torch.OutOfMemoryError as error:
        return {"not_measured": str(error).splitlines()[0]}
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def tiny_sizes(workload: Workload) -> Sizes:
    if workload.network == "openvla-oft":
        return replace(TINY_OPENVLA, num_images=workload.images)
    return replace(TINY_PI0, pi05=workload.network == "pi05")


def measure(workload: Workload, sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Predicted and measured GB of the three moments."""
    network = made(workload, sizes, device)
    predicted, meter = plan(workload, sizes), Meter(device)
    compute, policy = workload.released.compute, calls(workload, network, device)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=device.type == "cuda")

    def backward() -> None:
        with compute.context(device):
            with torch.set_grad_enabled(not workload.frozen_prefix):
                read = policy.read(workload.train.learner.micro_batch)
            loss = policy.loss(read)
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
        policy.act(policy.read(workload.train.rollout.inference_batch))
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


def made(workload: Workload, sizes: Sizes, device: torch.device) -> Network:
    """Random weights in the types of the workload; the parts that it trains."""
    torch.manual_seed(0)
    network = build(workload, sizes)
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    network.to_empty(device=device)
    if isinstance(network, Pi0Network):
        network.tie()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.normal_(std=0.02)
            parameter.requires_grad_(name in trained)
    return network.eval()


if __name__ == "__main__":
    main()
