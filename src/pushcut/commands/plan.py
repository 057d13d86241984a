"""`pushcut plan`: what a run of a released VLA takes of GPUs, host and disk, and what helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from pushcut.config import EvalConfig, SFTConfig, TrainConfig
from pushcut.errors import UserError
from pushcut.memory import Phase, Workload, advice, plan
from pushcut.policies.released.options import ReleasedNetwork
from pushcut.presets.base import Preset
from pushcut.runs.renamed import SHORT

ADVICES = 6
"""Switches that are listed, those that save most."""


@dataclass(frozen=True)
class PlanConfig:
    """Will it fit? Adds up weights, optimiser, activations, rollouts, simulators and checkpoints.

    Loads nothing. Flags are those of the command that is planned: `pushcut plan PRESET --phase sft
    --fit.micro-batch 4`; `--sft.fit.micro-batch` says the same.
    """

    network: ReleasedNetwork
    """Which VLA, at its released size."""
    train: TrainConfig
    sft: SFTConfig
    eval: EvalConfig
    phase: Phase = "train"
    """Which command is planned: sft, train or eval."""
    gpus: int = 1
    """GPUs that share the work."""
    sharding: Literal["replicated", "full-shard"] | None = None
    """Every GPU holds everything; or parameters, gradients and AdamW are divided among them, as
    torch's FSDP does. None: as --ranks.weights says."""
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
        return PlanConfig(preset.network, preset.train, preset.sft, preset.eval)

    @property
    def workload(self) -> Workload:
        """The run that is planned."""
        if self.phase == "sft":
            due = Workload.of_sft(self.network, self.sft, self.train.env, self.gpus)
        elif self.phase == "eval":
            due = Workload.of_eval(self.network, self.eval, self.gpus)
        else:
            due = Workload(self.network, self.train, self.gpus)
        if self.sharding is None:
            return due
        weights = "sharded" if self.sharding == "full-shard" else "replicated"
        ranks = replace(due.train.ranks, weights=weights)
        return replace(due, train=replace(due.train, ranks=ranks))


def of_the_phase(arguments: Sequence[str]) -> list[str]:
    """Puts the name of the planned command before flags that are that command's own."""
    own = {field.name for field in fields(PlanConfig)}
    phase, waiting = "train", iter(arguments)
    for argument in waiting:
        flag, equals, value = argument.partition("=")
        if flag == "--phase":
            phase = value if equals else next(waiting, "")
    return [_longer(argument, own, phase) for argument in arguments]


def _longer(argument: str, own: set[str], phase: str) -> str:
    group = argument.partition("=")[0].removeprefix("--").partition(".")[0].replace("-", "_")
    is_flag = argument.startswith("--") and argument not in ("--help", "--help-all")
    whole = not is_flag or group in own or phase not in ("sft", "train", "eval")
    # Short flags and parts that are chosen by name find their places themselves.
    whole |= group in ("config", "env", "policy", "algorithm", *SHORT) and "." not in argument
    return argument if whole else f"--{phase}.{argument[2:]}"


def run_plan(config: PlanConfig) -> str:
    """The plan as text, with the switches that save most."""
    memory = plan(config.workload)
    if config.out is not None:
        memory.save(config.out)
    lines = [memory.table()]
    if given := [saving.line() for saving in advice(memory)[:ADVICES]]:
        lines += ["", "what would save memory:", *(f"  {line}" for line in given)]
    return "\n".join(lines)
