"""`pushcut doctor`: examines the machine and, given a checkpoint, whether RL can work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pushcut.doctor import run_doctor
from pushcut.errors import UserError


@dataclass(frozen=True)
class DoctorConfig:
    """Examines this machine; with a checkpoint, also whether RL can improve it."""

    checkpoint: Path | None = None
    """Policy folder or run: some episodes are sampled to see whether RL can work."""
    preset: str = "quickstart"
    """Preset whose environment and temperature the episodes use."""
    episodes_per_task: int = 8
    """Sampled episodes of each task."""


def doctor(config: DoctorConfig) -> int:
    """Prints the examination; 1 if something keeps pushcut from working."""
    return run_doctor(config.checkpoint, sample=lambda path: sampled_rates(path, config))


def sampled_rates(checkpoint: Path, config: DoctorConfig) -> dict[str, tuple[int, int]]:
    """Task -> (successes, episodes) with sampled actions, as RL will see them."""
    # Late: the examination of a broken installation must not need torch.
    from pushcut.commands.evaluate import play_manifest
    from pushcut.presets import PRESETS

    if config.preset not in PRESETS:
        raise UserError(f"unknown preset {config.preset!r}; have {', '.join(PRESETS)}")
    base = PRESETS[config.preset].eval
    result = play_manifest(
        replace(
            base,
            policy=replace(base.policy, path=checkpoint),
            episodes_per_task=config.episodes_per_task,
            mode="sampled",
        )
    )
    return {task: (rate.successes, rate.episodes) for task, rate in result.per_task.items()}
