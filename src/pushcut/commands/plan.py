"""`pushcut plan`: what a run of a released VLA takes of GPUs and host, and what helps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pushcut.config import TrainConfig
from pushcut.errors import UserError
from pushcut.memory import Workload, advice, plan
from pushcut.policies.released.options import ReleasedNetwork
from pushcut.presets.base import Preset

ADVICES = 6
"""Switches that are listed, those that save most."""


@dataclass(frozen=True)
class PlanConfig:
    """Will it fit? Adds up weights, optimiser, activations and rollouts; loads nothing."""

    network: ReleasedNetwork
    """Which VLA, at its released size."""
    train: TrainConfig
    gpus: int = 1
    """GPUs that share the work."""
    sharding: Literal["replicated", "full-shard"] | None = None
    """Every GPU holds everything; or parameters, gradients and AdamW are divided among them, as
    torch's FSDP does. None: as --train.ranks.weights says."""
    out: Path | None = None
    """File for the plan as JSON."""

    @staticmethod
    def of(preset: Preset) -> PlanConfig:
        """The plan of a preset for a released VLA."""
        if preset.network is None:
            raise UserError(
                "a small policy, which fits anywhere; plans are for the presets of "
                "released VLAs, such as libero-long-openvla-oft or libero-spatial-pi0-flow-sde"
            )
        return PlanConfig(preset.network, preset.train)

    @property
    def workload(self) -> Workload:
        """The training run that is planned."""
        train = self.train
        if self.sharding is not None:
            weights = "sharded" if self.sharding == "full-shard" else "replicated"
            train = replace(train, ranks=replace(train.ranks, weights=weights))
        return Workload(self.network, train, self.gpus)


def run_plan(config: PlanConfig) -> str:
    """The plan as text, with the switches that save most."""
    memory = plan(config.workload)
    if config.out is not None:
        memory.save(config.out)
    lines = [memory.table(), "", "what would save memory:"]
    lines += [f"  {saving.line()}" for saving in advice(memory)[:ADVICES]]
    return "\n".join(lines)
