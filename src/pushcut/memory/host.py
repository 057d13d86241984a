"""The machine's own memory and the disk: simulators, loading, saving, checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from pushcut.memory.network import Parameters
from pushcut.memory.workload import Workload

MB = 10**6

OTHERS = (300.0, 200.0)
"""Assumed of environments that were not measured: MB of a process, and of each task in it."""

ON_THEIR_WAY = 2
"""Checkpoints besides those that are kept: the best, and the one that is being written."""


@dataclass(frozen=True)
class HostPlan:
    """Bytes of the machine's memory and of the disk, of all ranks on one machine."""

    loading: int
    """Weights while they are read: each rank holds all of them in its precision until they are on
    its GPU; sharded ones are mapped from the files, and each rank copies its rows block by block,
    unless a copy stays whole (overlap)."""
    saving: int
    """A copy of what is written: the policy's file; of sharded weights all parts, optimiser too
    (frozen ones for the first checkpoint alone)."""
    simulators: int
    """Simulator processes, each with the tasks that it keeps."""
    processes: int
    """How many those are."""
    checkpoint: int
    """Disk: what each checkpoint has of its own, the optimiser's state included."""
    disk: int
    """Disk: those that are kept, the best, the one that is being written, and what they share."""


def host_plan(workload: Workload, parameters: Parameters, learning: int) -> HostPlan:
    """What the host of a workload needs; ``learning``: bytes that AdamW learns, on all ranks."""
    processes, simulators = simulators_of(workload)
    everything = parameters.trained + parameters.frozen
    copied = workload.phase == "train" and workload.train.overlap
    mapped = workload.sharded and workload.phase != "eval" and not copied
    own = (parameters.root + parameters.block) // workload.gpus if mapped else everything
    stored = stored_bytes(workload, parameters)
    # Weights to the bit, AdamW's two moments of them.
    each = parameters.trained + 2 * learning
    shards = each + averages_bytes(workload, parameters) + parameters.frozen
    saving = shards if workload.sharded else stored
    return HostPlan(
        loading=own * workload.gpus,
        saving=0 if workload.phase == "eval" else saving,
        simulators=simulators,
        processes=processes,
        checkpoint=0 if workload.phase == "eval" else each,
        disk=disk_bytes(workload, each, stored, parameters),
    )


def simulators_of(workload: Workload) -> tuple[int, int]:
    """Simulator processes of all ranks, and their bytes."""
    if workload.phase == "sft":
        return 0, 0
    train = workload.train
    count, total = 0, 0
    for part in train.env.parts:
        process, task = part.memory_mb or OTHERS
        # None kept: a simulator of one task plays all of them.
        kept = train.rollout.tasks_per_process or part.tasks_kept or 1
        tasks = min(kept, len(part.spec.tasks))
        processes = train.rollout.processes * workload.gpus
        count += processes
        total += processes * int((process + tasks * task) * MB)
    return count, total


def stored_bytes(workload: Workload, parameters: Parameters) -> int:
    """A policy's file: weights in the precision that the network computes in."""
    halved = 2 if workload.released.compute.has_masters else 1
    return (parameters.trained - parameters.critic) // halved + parameters.frozen


def merged_bytes(workload: Workload, parameters: Parameters) -> int:
    """What the policy at the end takes more than the checkpoints' files, if adapters are merged."""
    apart = workload.train.policy.lora.saved == "separate"
    return 0 if apart or workload.phase != "train" else parameters.adapted


def averages_bytes(workload: Workload, parameters: Parameters) -> int:
    """What fine-tuning keeps of averaged weights, in float32."""
    return 4 * parameters.numbers if workload.phase == "sft" and workload.fit.ema else 0


def disk_bytes(workload: Workload, each: int, stored: int, parameters: Parameters) -> int:
    """The most that the run's folder takes.

    A checkpoint of training has trained weights to the bit and their moments; what is not trained
    is there once, and once more in the policy at the end, merged with adapters, unless the weights
    are in shards. Each checkpoint of fine-tuning has a whole policy, the newest (and the one
    before, while it is written) what the optimiser needs; each in shards has the latter, and shares
    what is frozen.
    """
    train = workload.train
    if workload.phase == "eval":
        return 0
    if workload.phase == "train":
        end = 0 if workload.sharded else parameters.frozen + merged_bytes(workload, parameters)
        return each * (train.keep + ON_THEIR_WAY) + parameters.frozen + end
    averages, every = averages_bytes(workload, parameters), workload.save_every
    if workload.sharded:
        written = -(-workload.fit.steps // every) if every else 1
        return written * (each + averages) + parameters.frozen + stored
    copies = workload.fit.steps // every if every else 1
    return (copies + 1) * stored + 2 * (each + averages)
