"""What scaling_model.py is fed with: measured costs, and assumptions, kept apart.

Sources of what was measured are records of this repository; of what is assumed, data sheets or
nothing but judgement. docs/scaling.md says what the result depends on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

CHUNK, LIMIT = 8, 512
"""SimpleVLA-RL on LIBERO: control steps of a decision and of an episode."""


@dataclass(frozen=True)
class Workload:
    """The episodes of an iteration; which succeed, and when, is drawn per group."""

    groups: int = 64
    group_size: int = 8
    max_groups: int = 192
    decisions: int = LIMIT // CHUNK
    """Of an episode that fails; one that succeeds ends sooner."""
    shortest: float = 0.4
    longest: float = 0.8
    """Where successes end, as parts of the limit (assumed, uniform)."""
    rates: tuple[float, float] = (1.5, 1.0)
    """Beta distribution of a group's success rate (assumed: mean 60 %)."""
    least: int = 1
    most: int = 7
    """Successes of a group that is accepted."""
    optimizer_steps: int = 4

    def episodes(self, iteration: int, group: int) -> list[tuple[bool, int]]:
        """(success, decisions) of each member; the same for any cluster."""
        rng = np.random.default_rng((iteration, group))
        success = rng.random(self.group_size) < rng.beta(*self.rates)
        ends = rng.uniform(self.shortest, self.longest, self.group_size) * self.decisions
        return [
            (bool(won), max(1, round(end)) if won else self.decisions)
            for won, end in zip(success, ends, strict=True)
        ]

    def accepts(self, successes: int) -> bool:
        """Whether a group teaches."""
        return self.least <= successes <= self.most


@dataclass(frozen=True)
class Costs:
    """Seconds on one core or one GPU; each default says where it is from."""

    # Measured: benchmarks/records/2026-11-21-libero.json, libero_object/0, two cores, no GPU.
    simulate: float = 8 * 4.44e-3
    """A chunk of 8 control steps."""
    render: float = 8 * (13.65e-3 - 4.44e-3)
    """A look of two 128-pixel cameras, software OpenGL, cheap settings."""
    reset: float = 0.020 + 10 * 4.44e-3
    """First of a group: soft reset (facts.md: 20 ms) and ten steps in which objects settle."""
    start: float = 0.2e-3
    """The other members: a snapshot (facts.md)."""
    # Measured: this machine, OpenVLA's images (JPEG, Lanczos, crop), one thread.
    prepare: float = 8e-3
    """Images per row in the main process, before a forward and before an update."""
    overhead: float = 0.2e-3
    """Per decision in the main process: the player's own work and packing (point mass, quiet)."""
    # Measured: Ray 2.60 on two cores (facts.md).
    message: float = 0.6e-3
    """Handling a message from a simulator on another host, in the main process."""

    # Assumed: 4.94 TFLOP (benchmarks/gpu, counted on the meta device) at 40 % of the 989 TFLOP/s
    # that NVIDIA's data sheet gives an H100 SXM in dense bfloat16.
    infer_row: float = 4.94 / (0.4 * 989)
    """A row of a forward pass."""
    infer_launch: float = 20e-3
    """Assumed: kernels of a pass that do not depend on its rows."""
    train_row: float = 4 * 4.94 / (0.4 * 989)
    """Forward, forward again (checkpointing) and backward (twice a forward)."""
    micro_batch: int = 8
    weights_gb: float = 2 * 7.54
    """Measured (meta device): 7.54 B parameters in bfloat16."""
    bus_gb_s: float = 200.0
    """Assumed: all-gather and reduce-scatter, per GPU, NVLink in a node and 400 Gbit/s per GPU
    between nodes; they overlap with the computation."""
    optimizer_step: float = 0.05
    """Assumed: AdamW on a shard, clipping, launching."""
    checkpoint_gb: float = 7.54 * (4 + 8)
    """float32 masters and AdamW's state."""
    disk_gb_s: float = 2.0
    """Assumed: what a node of eight GPUs writes; every tenth iteration waits for it."""

    def infer(self, rows: int) -> float:
        """GPU seconds of a forward."""
        return self.infer_launch + rows * self.infer_row

    def update(self, decisions: int, gpus: int, steps: int) -> tuple[float, float, float]:
        """Seconds of the update of an iteration; of these with work for a GPU; on wanted rows."""
        micro = math.ceil(decisions / steps / gpus / self.micro_batch) * steps
        compute = self.micro_batch * self.train_row
        # FSDP gathers the weights for the forward and the backward and scatters the gradients.
        traffic = 3 * self.weights_gb * (gpus - 1) / gpus / self.bus_gb_s
        busy = micro * max(compute, traffic) + steps * self.optimizer_step
        images = micro * self.micro_batch * self.prepare
        return busy + images, busy, decisions / gpus * self.train_row

    def save(self, gpus: int) -> float:
        """Seconds per iteration for checkpoints."""
        return self.checkpoint_gb / (self.disk_gb_s * math.ceil(gpus / 8)) / 10


@dataclass(frozen=True)
class Cluster:
    """GPUs, each with a rank: a main process, its simulators and its learner shard."""

    gpus: int = 8
    workers: int = 16
    """Simulator processes per GPU."""
    slots: int = 32
    """Episodes under way per GPU."""
    inference_batch: int = 32
    cores: int = 16
    """Cores per GPU on the GPU's node; 0: as many as there are processes."""
    remote: bool = False
    """Simulators on other hosts, with a core each."""
    host_workers: int = 64
    """Simulators of a host, at most; a host serves one rank."""
    link_gb_s: float = 25 / 8
    """Network of a host, and of a GPU (assumed: 25 Gbit/s Ethernet)."""
    latency: float = 0.2e-3
    """One way (assumed: Ethernet in a data centre)."""
    observation_mb: float = 2 * 128 * 128 * 3 / 1e6
    claim: float = 1e-3
    """Asking the owner of the schedule for a group (assumed: a round trip and its Python)."""
    whole_groups: bool = True
    """A rank takes all members of a group, or one after the other."""


@dataclass(frozen=True)
class Case:
    """One point of a table."""

    cluster: Cluster = field(default_factory=Cluster)
    costs: Costs = field(default_factory=Costs)
    workload: Workload = field(default_factory=Workload)


def networks(case: Case) -> Iterator[tuple[str, Case]]:
    """Worse ways to the simulators' hosts."""
    for name, changed in {
        "1 Gbit/s per host and GPU": replace(case.cluster, link_gb_s=1 / 8),
        "the same, images ten times larger": replace(
            case.cluster, link_gb_s=1 / 8, observation_mb=10 * case.cluster.observation_mb
        ),
        "20 ms one way": replace(case.cluster, latency=20e-3),
    }.items():
        yield name, replace(case, cluster=changed)
    costs = replace(case.costs, message=10e-3)
    yield "10 ms of Python per message", replace(case, costs=costs)


def assumptions(case: Case) -> Iterator[tuple[str, Case]]:
    """The case with one thing changed at a time."""
    costs, cluster, workload = case.costs, case.cluster, case.workload
    for name, changed in {
        "GPU at 20 % of its peak": replace(
            costs, infer_row=2 * costs.infer_row, train_row=2 * costs.train_row
        ),
        "GPU at 60 % of its peak": replace(
            costs, infer_row=costs.infer_row / 1.5, train_row=costs.train_row / 1.5
        ),
        "25 GB/s between GPUs": replace(costs, bus_gb_s=25.0),
        "images rendered in 10 ms": replace(costs, render=10e-3),
        "stock render settings": replace(costs, render=8 * (25.29e-3 - 4.44e-3)),
        "images prepared in 1 ms": replace(costs, prepare=1e-3),
    }.items():
        yield name, replace(case, costs=changed)
    for name, changed in {
        "inference batch 32": replace(cluster, inference_batch=32),
        "inference batch 4": replace(cluster, inference_batch=4),
        "half as many simulators": replace(
            cluster, workers=cluster.workers // 2, slots=cluster.slots // 2
        ),
        "episodes handed out one by one": replace(cluster, whole_groups=False),
    }.items():
        yield name, replace(case, cluster=changed)
    yield "every group accepted", replace(case, workload=replace(workload, least=0, most=8))
    if not cluster.remote:
        yield "4 cores per GPU", replace(case, cluster=replace(cluster, cores=4))
    eight = replace(workload, groups=8 * cluster.gpus, max_groups=24 * cluster.gpus)
    yield "8 groups per GPU", replace(case, workload=eight)
