"""Advice: which switches save how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pushcut.config import TrainConfig
from pushcut.memory.network import Sizes
from pushcut.memory.plan import GB, MemoryPlan, plan
from pushcut.memory.workload import Workload
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.source import FlowPolicySource, TokenPolicySource

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


def advice(now: MemoryPlan, sizes: Sizes | None = None) -> list[Saving]:
    """Switches that save memory in comparison with a plan, the one that saves each GPU most first.

    Each is tried alone: what saves nothing while a rollout is the fullest moment may save much
    once its batch is smaller.
    """
    savings = []
    for switch, train in switches(now):
        changed = replace(now.workload, train=train)
        then = plan(changed, sizes)
        saving = Saving(switch, now.peak - then.peak, now.host - then.host, changed)
        if max(saving.gpu, saving.host) >= WORTH_SAYING:
            savings.append(saving)
    return sorted(savings, key=lambda saving: (saving.gpu, saving.host), reverse=True)


def switches(now: MemoryPlan) -> Iterator[tuple[str, TrainConfig]]:
    """What could be otherwise; batches only where they are what fills a GPU."""
    train, source = now.workload.train, now.workload.train.policy
    learns, plays = now.workload.phase != "eval", now.workload.phase != "sft"
    if learns:
        yield from trained_parts(now.workload)
    for switch, released in readings(source.released):
        if learns or released.compute != source.released.compute:
            yield switch, replace(train, policy=replace(source, released=released))
    if learns and train.learner.micro_batch > 1 and now.update == now.peak:
        half = replace(train.learner, micro_batch=train.learner.micro_batch // 2)
        yield f"a micro-batch of {half.micro_batch}", replace(train, learner=half)
    if plays and train.rollout.inference_batch > 1 and (train.overlap or now.rollout == now.peak):
        half = replace(train.rollout, inference_batch=train.rollout.inference_batch // 2)
        yield f"an inference batch of {half.inference_batch}", replace(train, rollout=half)
    yield from copies(now.workload)


def trained_parts(workload: Workload) -> Iterator[tuple[str, TrainConfig]]:
    """Training less of the policy."""
    train, source = workload.train, workload.train.policy
    if isinstance(source, TokenPolicySource) and source.trained == "all":
        adapters = replace(source, trained="lora")
        yield "train LoRA adapters instead of all", replace(train, policy=adapters)
    if isinstance(source, FlowPolicySource) and source.trained == "all":
        adapters = replace(source, trained="lora")
        yield "train LoRA adapters instead of all", replace(train, policy=adapters)
    can_be_expert = isinstance(source, FlowPolicySource) and workload.phase == "train"
    if can_be_expert and source.trained != "expert":
        expert = replace(source, trained="expert")
        yield "train the action expert only", replace(train, policy=expert)


def readings(released: ReleasedConfig) -> Iterator[tuple[str, ReleasedConfig]]:
    """Other ways to read the checkpoint."""
    plain = replace(released, precision="bfloat16", master_weights=False)
    if released.precision == "float32":
        masters = replace(plain, master_weights=True)
        yield "compute in bfloat16", plain
        yield "compute in bfloat16, with float32 masters", masters
    elif released.master_weights:
        yield "no master weights", plain
    if not released.gradient_checkpointing:
        yield "gradient checkpointing", replace(released, gradient_checkpointing=True)


def copies(workload: Workload) -> Iterator[tuple[str, TrainConfig]]:
    """What is held twice, or longer than it must be."""
    train, source = workload.train, workload.train.policy
    if workload.keep_prefix and isinstance(source, FlowPolicySource):
        again = replace(source, keep_prefix=False)
        yield "do not keep prefixes in the rollout", replace(train, policy=again)
    if train.overlap:
        yield "no overlap of rollouts and updates", replace(train, overlap=False)
    if workload.sharded and not train.overlap and workload.phase == "train":
        in_step = replace(train.ranks, rollouts="in-step")
        yield (
            "ranks that act in step (--ranks.rollouts in-step)",
            replace(train, ranks=in_step),
        )
    if workload.gpus > 1 and not workload.sharded and workload.phase != "eval":
        sharded = replace(train.ranks, weights="sharded")
        yield f"shard over the {workload.gpus} GPUs", replace(train, ranks=sharded)
