"""The plan: what a GPU and the host must hold, and when."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pushcut.memory.footprint import Footprint, footprint, loss_bytes
from pushcut.memory.parameters import (
    Network,
    Parameters,
    Sizes,
    count_parameters,
    released_sizes,
)
from pushcut.memory.workload import Workload
from pushcut.policies.networks.openvla import OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Sizes

GB = 10**9

CONTEXT = GB
"""Assumed for CUDA itself: its context, kernels, cuBLAS's workspaces (0.5 to 1 GB)."""

CARDS = (24, 40, 80)
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
    """Of a micro-batch, from forward to backward: tensors that autograd saves; with gradient
    checkpointing inputs of blocks and one block computed again."""
    temporary: int
    """Of the largest operation of the backward pass, and the largest weight's gradient before it
    is added up."""
    reading: int
    """Most that is alive while a micro-batch is read by a frozen VLM."""
    step: int
    """Temporaries of AdamW's step: torch's default makes one more copy of a moment."""
    prefixes: int
    """Keys and values of an inference batch; thrice where a rollout keeps them (stacked twice)."""
    inference: int
    """Most that is alive beside them during inference."""
    host: int
    """A rollout in the machine's memory, twice: packing copies it; with overlap there is another
    one. Simulators are not in it."""

    @property
    def always(self) -> int:
        """What never leaves the GPU."""
        weights = self.trained + self.frozen + self.actor
        return weights + self.gradients + self.optimiser + self.context

    @property
    def update(self) -> int:
        """Most during forward and backward; the actor's casts and inference may be beside it."""
        work = max(self.activations + self.temporary, self.reading)
        beside = self.copies + self.prefixes + self.inference if self.workload.overlap else 0
        return self.always + self.copies + self.gathered + self.held + work + beside

    @property
    def rollout(self) -> int:
        """Most during inference; gradients of the last update are still there."""
        return self.always + self.copies + self.acting + self.prefixes + self.inference

    @property
    def peak(self) -> int:
        """What each GPU must have."""
        return max(self.update, self.rollout, self.always + self.step)

    def json(self) -> dict[str, Any]:
        """All bytes, the totals, and what fits."""
        totals = {name: getattr(self, name) for name in ("always", "update", "rollout", "peak")}
        return {**asdict(self), **totals, "fits_gb": list(fits(self))}

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
        again = " (with one block made again)" if self.workload.gradient_checkpointing else ""
        rows = [
            ("each GPU, always", self.always),
            ("  parameters, trained", self.trained),
            ("  parameters, frozen", self.frozen),
            ("  copy that plays ahead", self.actor),
            ("  gradients", self.gradients),
            ("  AdamW", self.optimiser),
            ("  CUDA context (assumed)", self.context),
            ("in use, casts of master weights", self.copies),
            ("gathered by FSDP in an update", self.gathered),
            ("gathered by FSDP in a rollout", self.acting),
            ("update, most", self.update),
            ("  prefixes of the micro-batch", self.held),
            ("  reading the micro-batch", self.reading),
            (f"  activations{again}", self.activations),
            ("  largest operation and gradient", self.temporary),
            ("  AdamW's step, after the activations", self.step),
            ("rollout, most", self.rollout),
            ("  prefixes of the inference batch", self.prefixes),
            ("  largest activations", self.inference),
            ("each GPU, most", self.peak),
            ("host, a rollout (without simulators)", self.host),
        ]
        return [(name, value) for name, value in rows if value]


def title(workload: Workload) -> str:
    """What the plan is for, in one line."""
    ranks = ", ".join(f"{part} {rank}" for part, rank in workload.ranks.items())
    how = {"expert": "expert only", "lora": f"LoRA ({ranks})", "all": "all trained"}
    masters = " with float32 masters" if workload.master_weights else ""
    divided = "sharded over" if workload.sharding == "full-shard" else "on"
    gpus = f"{divided} {workload.gpus} GPU{'s' if workload.gpus > 1 else ''}"
    return (
        f"{workload.network}, {how[workload.trained]}, {workload.dtype}{masters}, {gpus}: "
        f"micro-batch {workload.micro_batch}, inference batch {workload.inference_batch}"
    )


def plan(workload: Workload, network: Network | None = None) -> MemoryPlan:
    """What a workload needs.

    Args:
        workload: What to plan for.
        network: One whose sizes are taken, in place of the released ones'.
    """
    sizes = released_sizes(workload) if network is None else network.sizes
    check(workload, sizes)
    parameters, decision = count_parameters(workload, sizes), footprint(workload, sizes)
    shards = workload.gpus if workload.sharding == "full-shard" else 1
    batch, checkpointing = workload.micro_batch, workload.gradient_checkpointing
    again = decision.recomputed if checkpointing else 0
    saved = decision.saved(checkpointing=checkpointing) + again + loss_bytes(workload, sizes)
    activations, operation = batch * saved, batch * decision.backward + parameters.largest
    learning = -(-parameters.learning // shards)
    reference = parameters.trained + parameters.frozen if workload.reference else 0
    actor = parameters.trained + (parameters.frozen if shards > 1 else 0)
    rollouts = 3 if workload.overlap else 2
    kept = 3 if workload.keep_prefix else 1
    frozen_vlm = workload.frozen_vlm
    return MemoryPlan(
        workload=workload,
        trained=-(-parameters.trained // shards),
        frozen=-(-(parameters.frozen + reference) // shards),
        actor=actor if workload.overlap else 0,
        gradients=learning,
        optimiser=adamw_bytes(learning),
        copies=parameters.copies if shards == 1 else 0,
        gathered=gathered(parameters) if shards > 1 else 0,
        acting=acting(workload, parameters),
        context=CONTEXT,
        held=batch * decision.prefix if frozen_vlm else 0,
        activations=activations,
        # The gradient of embeddings comes last, when activations are gone.
        temporary=max(operation, parameters.embedding - activations),
        reading=batch * decision.encode if frozen_vlm and not workload.keep_prefix else 0,
        step=learning,
        prefixes=kept * workload.inference_batch * decision.prefix,
        inference=workload.inference_batch * max(decision.encode, decision.act),
        host=rollouts * workload.decisions * host_bytes(workload, sizes, decision),
    )


def adamw_bytes(learning: int) -> int:
    """Two moments for each parameter, of its own type."""
    return 2 * learning


def check(workload: Workload, sizes: Sizes) -> None:
    """ValueError where a network's sizes are those of another kind, or of other images."""
    kind = "openvla-oft"
    if isinstance(sizes, Pi0Sizes):
        kind = "pi05" if sizes.pi05 else "pi0"
    if kind != workload.network:
        raise ValueError(f"the workload is for {workload.network}, the network is a {kind}")
    if isinstance(sizes, OpenVLASizes) and sizes.num_images != workload.images:
        raise ValueError(
            f"the workload has {workload.images} images, the network takes {sizes.num_images}"
        )


def gathered(parameters: Parameters) -> int:
    """The root, two blocks, and the gradients of one."""
    return parameters.root + 3 * parameters.block


def acting(workload: Workload, parameters: Parameters) -> int:
    """All weights (to play, or to copy them for who plays), or what an update gathers too."""
    if workload.sharding == "replicated" or workload.gpus == 1:
        return 0
    return parameters.acting if workload.rollouts == "gathered" else gathered(parameters)


def host_bytes(workload: Workload, sizes: Sizes, decision: Footprint) -> int:
    """What a rollout keeps of a decision: images, state, trace, log-probabilities, prefix.

    The trace is what was drawn: a bin of two bytes for each number of an action; or, in float32,
    the two points around the noisy step, or all K + 1 of the chain.
    """
    height, width = workload.image
    observation = workload.images * height * width * 3 + 4 * workload.state_size
    if isinstance(sizes, OpenVLASizes):
        trace, parts = 2 * sizes.slots, 1
    else:
        points = 2 if workload.mdp == "hybrid" else workload.num_steps + 1
        trace = 4 * points * sizes.chunk * sizes.action_dim
        parts = workload.num_steps if workload.mdp == "two-layer" else 1
    logprob = 4 * parts * workload.chunk * workload.action_size
    return observation + trace + logprob + (decision.prefix if workload.keep_prefix else 0)


def fits(memory: MemoryPlan) -> tuple[int, ...]:
    """Those of the 24, 40 and 80-GB cards that are large enough."""
    return tuple(card for card in CARDS if memory.peak <= card * GB)
