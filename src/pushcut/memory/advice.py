"""Advice: which switches save how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pushcut.memory.parameters import Network
from pushcut.memory.plan import GB, plan
from pushcut.memory.workload import Workload

WORTH_SAYING = GB // 20
"""Bytes that make a difference in a table of one decimal."""


@dataclass(frozen=True)
class Saving:
    """One switch."""

    switch: str
    """What to do."""
    gpu: int
    """Bytes less on each GPU, at its fullest."""
    host: int
    """Bytes less on the host."""
    workload: Workload
    """With the switch."""

    def line(self) -> str:
        """In words."""
        parts = {"each GPU": self.gpu, "the host": self.host}
        found = [
            f"{abs(value) / GB:.1f} GB {'less' if value > 0 else 'more'} on {where}"
            for where, value in parts.items()
            if abs(value) >= WORTH_SAYING
        ]
        return f"{self.switch}: {', '.join(found)}"


def advice(workload: Workload, network: Network | None = None) -> list[Saving]:
    """Switches that save memory, the one that saves each GPU most first.

    Each is tried alone: what saves nothing while a rollout is the fullest moment may save much
    once its batch is smaller.
    """
    now = plan(workload, network)
    savings = []
    for switch, changed in switches(workload):
        then = plan(changed, network)
        saving = Saving(switch, now.peak - then.peak, now.host - then.host, changed)
        if max(saving.gpu, saving.host) >= WORTH_SAYING:
            savings.append(saving)
    return sorted(savings, key=lambda saving: (saving.gpu, saving.host), reverse=True)


def switches(workload: Workload) -> Iterator[tuple[str, Workload]]:
    """What could be otherwise."""
    has_expert = workload.network != "openvla-oft"
    if workload.trained == "all":
        yield "train LoRA adapters instead of all", replace(workload, trained="lora")
    if workload.trained != "expert" and has_expert:
        yield "train the action expert only", replace(workload, trained="expert")
    if workload.dtype == "float32":
        yield "compute in bfloat16", replace(workload, dtype="bfloat16")
        yield (
            "compute in bfloat16, with float32 masters",
            replace(workload, dtype="bfloat16", master_weights=True),
        )
    if workload.master_weights:
        yield "no master weights", replace(workload, master_weights=False)
    if not workload.gradient_checkpointing:
        yield "gradient checkpointing", replace(workload, gradient_checkpointing=True)
    if workload.micro_batch > 1:
        half = workload.micro_batch // 2
        yield f"a micro-batch of {half}", replace(workload, micro_batch=half)
    if workload.inference_batch > 1:
        half = workload.inference_batch // 2
        yield f"an inference batch of {half}", replace(workload, inference_batch=half)
    yield from copies(workload)


def copies(workload: Workload) -> Iterator[tuple[str, Workload]]:
    """What is held twice, or longer than it must be."""
    if workload.keep_prefix:
        yield "do not keep prefixes in the rollout", replace(workload, keep_prefix=False)
    if workload.overlap:
        yield "no overlap of rollouts and updates", replace(workload, overlap=False)
    if workload.gpus > 1 and workload.sharding == "replicated":
        sharded = replace(workload, sharding="full-shard")
        yield f"shard over the {workload.gpus} GPUs", sharded
