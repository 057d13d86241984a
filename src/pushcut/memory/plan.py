"""The plan: what a GPU and the host must hold, and when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushcut.memory.host import HostPlan, host_plan
from pushcut.memory.measure import Measured, measure
from pushcut.memory.network import (
    Parameters,
    Sizes,
    build,
    count_parameters,
    released_sizes,
)
from pushcut.memory.workload import ANSWER_TOKENS, Workload
from pushcut.policies.networks.groot import GrootSizes
from pushcut.policies.networks.openvla import OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Sizes
from pushcut.policies.networks.smolvla import SmolVLASizes
from pushcut.policies.source import FlowPolicySource
from pushcut.runs.config_json import to_json

GB = 10**9

CONTEXT = GB
"""Assumed for CUDA itself: its context, kernels, cuBLAS's workspaces (0.5 to 1 GB)."""

CARDS = (8, 16, 24, 40, 80)
"""Sizes of cards in GB. They hold as many GiB: the 7 % beyond are left for fragmentation."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on each GPU, and on the host; each field says what is assumed."""

    workload: Workload
    trained: int
    """Parameters that are trained: float32 where they are master weights."""
    frozen: int
    """Parameters that are not, and a reference policy."""
    actor: int
    """The copy that plays ahead of the update: it shares what is not trained, where that is whole.
    """
    gradients: int
    optimiser: int
    """AdamW's two moments, of the parameters' own type."""
    copies: int
    """Casts of master weights to bfloat16, while the network is used."""
    gathered: int
    """FSDP: what is whole at once, the root, two blocks (one comes while one computes) and, in an
    update, the gradients of one."""
    acting: int
    """FSDP: what is whole at once while episodes are played."""
    context: int
    """CUDA itself."""
    held: int
    """Prefixes of a micro-batch, where the VLM is frozen."""
    activations: int
    """Bytes of a micro-batch from forward to backward: tensors that autograd saves; with gradient
    checkpointing inputs of blocks."""
    temporary: int
    """Most beside them: what operations take, with gradient checkpointing one block computed
    again, and a weight's gradient before it is added up."""
    reading: int
    """Most that is alive while a micro-batch is read by a frozen VLM."""
    step: int
    """Temporaries of AdamW's step: none, the fused one works in place."""
    prefixes: int
    """Keys and values of an inference batch; thrice where a rollout keeps them (stacked twice)."""
    inference: int
    """Most that is alive beside them during inference."""
    host: int
    """A rollout in the machine's memory, twice: packing copies it; with overlap there is another
    one."""
    averages: int
    """The moving average of what fine-tuning trains, in float32."""
    machine: HostPlan
    """The rest of the machine's memory, and the disk."""

    @property
    def always(self) -> int:
        """What never leaves the GPU."""
        weights = self.trained + self.frozen + self.actor
        return weights + self.gradients + self.optimiser + self.averages + self.context

    @property
    def update(self) -> int:
        """Most during forward and backward; the actor's casts and inference may be beside it."""
        work = max(self.activations + self.temporary, self.reading)
        beside = self.copies + self.prefixes + self.inference if self.workload.train.overlap else 0
        return self.always + self.copies + self.gathered + self.held + work + beside

    @property
    def rollout(self) -> int:
        """Most during inference; gradients of the last update are still there."""
        return self.always + self.copies + self.acting + self.prefixes + self.inference

    @property
    def peak(self) -> int:
        """What each GPU must have."""
        return max(self.update, self.rollout, self.always + self.step)

    @property
    def host_peak(self) -> int:
        """What the machine must have for all of its ranks."""
        work = self.host + self.machine.saving
        return self.machine.simulators + max(self.machine.loading, work)

    def json(self) -> dict[str, Any]:
        """All bytes, the totals, and what fits."""
        names = ("always", "update", "rollout", "peak", "host_peak")
        totals = {name: getattr(self, name) for name in names}
        return {**to_json(self), **totals, "fits_gb": list(fits(self))}

    def save(self, path: Path) -> None:
        """Writes JSON."""
        path.write_text(json.dumps(self.json(), indent=2) + "\n")

    def table(self) -> str:
        """Readable text, in GB of 10^9 bytes."""
        fitting = fits(self)
        cards = ", ".join(f"{card} GB {'yes' if card in fitting else 'no'}" for card in CARDS)
        rows = self._rows()
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:{width}} {value / GB:8.1f} GB" for name, value in rows]
        return "\n".join([title(self.workload), "", *lines, "", f"fits: {cards}"])

    def _rows(self) -> list[tuple[str, int]]:
        rows = [
            ("each GPU, always", self.always),
            ("  parameters, trained", self.trained),
            ("  parameters, frozen", self.frozen),
            ("  copy that plays ahead", self.actor),
            ("  gradients", self.gradients),
            ("  AdamW", self.optimiser),
            ("  moving average", self.averages),
            ("  CUDA context (assumed)", self.context),
            ("in use, casts of master weights", self.copies),
            ("gathered by FSDP in an update", self.gathered),
            ("gathered by FSDP in a rollout", self.acting),
            ("update, most", self.update if self.gradients else 0),
            ("  prefixes of the micro-batch", self.held),
            ("  reading the micro-batch", self.reading),
            ("  activations", self.activations),
            ("  most beside them", self.temporary),
            ("  AdamW's step, after the activations", self.step),
            ("rollout, most", self.rollout if self.inference else 0),
            ("  prefixes of the inference batch", self.prefixes),
            ("  largest activations", self.inference),
            ("each GPU, most", self.peak),
            ("host, most", self.host_peak),
            ("  weights while they load", self.machine.loading),
            ("  a rollout", self.host),
            ("  copies while a checkpoint is written", self.machine.saving),
            (f"  {self.machine.processes} simulator processes", self.machine.simulators),
            ("disk, checkpoints (kept, best, being written)", self.machine.disk),
            ("  each, of its own", self.machine.checkpoint),
        ]
        return [(name, value) for name, value in rows if value]


def title(workload: Workload) -> str:
    """What the plan is for, in one line."""
    ranks = ", ".join(f"{part} {rank}" for part, rank in workload.lora_ranks.items())
    how = f"LoRA ({ranks})" if ranks else "all trained" if workload.trains_all else "expert only"
    how = "evaluation" if workload.phase == "eval" else how
    compute = workload.released.compute
    masters = " with float32 masters" if compute.has_masters else ""
    divided = "sharded over" if workload.sharded else "on"
    gpus = f"{divided} {workload.gpus} GPU{'s' if workload.gpus > 1 else ''}"
    train = workload.train
    batches = {
        "micro-batch": train.learner.micro_batch if workload.phase != "eval" else 0,
        "inference batch": train.rollout.inference_batch if workload.phase != "sft" else 0,
    }
    sizes = ", ".join(f"{name} {size}" for name, size in batches.items() if size)
    phase = "fine-tuning, " if workload.phase == "sft" else ""
    return f"{workload.network}, {phase}{how}, {compute.precision}{masters}, {gpus}: {sizes}"


def plan(workload: Workload, sizes: Sizes | None = None) -> MemoryPlan:
    """What a workload needs, with a network of other than the released sizes where asked for."""
    sizes = sizes or released_sizes(workload)
    network = build(workload, sizes)
    parameters, measured = count_parameters(network, workload), measure(network, workload)
    train, shards = workload.train, workload.gpus if workload.sharded else 1
    learning = -(-(measured.learning + parameters.critic) // shards)
    everything = parameters.trained + parameters.frozen
    reference = everything if train.algorithm.needs_reference else 0
    rollouts = 0 if workload.phase != "train" else 3 if train.overlap else 2
    averages = 4 * parameters.numbers if workload.fit.ema and workload.phase == "sft" else 0
    return MemoryPlan(
        workload=workload,
        trained=-(-parameters.trained // shards),
        frozen=-(-(parameters.frozen + reference) // shards),
        actor=(everything if workload.sharded else parameters.trained) if train.overlap else 0,
        gradients=learning,
        optimiser=adamw_bytes(learning),
        copies=0 if workload.sharded else measured.casts,
        gathered=gathered(parameters) if workload.sharded else 0,
        acting=0 if workload.phase == "sft" else acting(workload, parameters),
        context=CONTEXT,
        held=measured.held,
        activations=measured.activations,
        temporary=measured.temporary,
        reading=0 if workload.keep_prefix else measured.reading,
        step=0,
        prefixes=(3 if workload.keep_prefix else 1) * measured.prefixes,
        inference=measured.inference,
        host=rollouts * workload.decisions * host_bytes(workload, sizes, measured),
        averages=-(-averages // shards),
        machine=host_plan(workload, parameters, measured.learning + parameters.critic),
    )


def adamw_bytes(learning: int) -> int:
    """Two moments for each parameter, of its own type."""
    return 2 * learning


def gathered(parameters: Parameters) -> int:
    """The root, two blocks, and the gradients of one."""
    return parameters.root + 3 * parameters.block


def acting(workload: Workload, parameters: Parameters) -> int:
    """All weights (to play, or to copy them for who plays), or what an update gathers too."""
    if not workload.sharded:
        return 0
    in_step = workload.train.ranks.rollouts == "in-step"
    return gathered(parameters) if in_step else parameters.acting


def host_bytes(workload: Workload, sizes: Sizes, measured: Measured) -> int:
    """What a rollout keeps of a decision: images, state, trace, log-probabilities, prefix.

    The trace is what was drawn: a bin of two bytes for each number of an action; or, in float32,
    the two points around the noisy step, or all K + 1 of the chain.
    """
    spec, source, side = workload.train.env.spec, workload.train.policy, workload.image_size
    observation = workload.images * side * side * 3 + 4 * spec.state_size
    if isinstance(sizes, OpenVLASizes):
        trace = 2 * sizes.slots
    elif workload.network == "pi0-fast":
        # A token, its log-probability, and twice whether it was drawn.
        return observation + ANSWER_TOKENS * (4 + 4 + 1 + 1)
    else:
        assert isinstance(sizes, Pi0Sizes | SmolVLASizes | GrootSizes)
        trace = 4 * (workload.points + 1) * sizes.chunk * sizes.action_dim
    each_step = isinstance(source, FlowPolicySource) and source.formulation == "two-layer"
    logprob = 4 * (workload.points if each_step else 1) * workload.chunk * spec.action_size
    prefix = measured.prefixes // workload.train.rollout.inference_batch
    return observation + trace + logprob + (prefix if workload.keep_prefix else 0)


def fits(memory: MemoryPlan) -> tuple[int, ...]:
    """Which of the cards are large enough."""
    return tuple(card for card in CARDS if memory.peak <= card * GB)
