"""`pushcut doctor`: examines the machine and, given a checkpoint, whether RL can work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pushcut.commands.doctor_machine import run_doctor
from pushcut.commands.doctor_verdict import Examination, Trial
from pushcut.errors import UserError


@dataclass(frozen=True)
class CheckpointPath:
    """The policy to try out."""

    path: Path | None = None
    """Policy folder or run: some episodes are sampled to see whether RL can work."""


@dataclass(frozen=True)
class DoctorConfig:
    """Examines this machine; with a checkpoint, also whether RL can improve it."""

    policy: CheckpointPath = CheckpointPath()
    episodes_per_task: int = 8
    """Episodes of each task and setting."""
    compare: bool = True
    """Also compare settings of exploration: temperatures, or noise and denoising steps."""


def doctor(config: DoctorConfig, preset: str | None = None) -> int:
    """Prints the examination; 1 if something keeps pushcut from working.

    The preset names environment and exploration; by default one for this kind of policy.
    """
    return run_doctor(config.policy.path, examine=lambda path: examination(path, config, preset))


def examination(checkpoint: Path, config: DoctorConfig, preset: str | None) -> Examination:
    """Plays the checkpoint with sampled actions, as RL will see them, and without noise."""
    # Late: the examination of a broken installation must not need torch.
    from pushcut.commands.evaluate import play_sources
    from pushcut.commands.remembered import with_remembered_env
    from pushcut.policies import kind_of
    from pushcut.policies.places import policy_folder
    from pushcut.policies.pretrained import read_description
    from pushcut.presets import DEFAULT_PRESETS, find_preset

    kind = kind_of(read_description(policy_folder(checkpoint)))
    preset = preset or DEFAULT_PRESETS.get(kind)
    if preset is None:
        raise UserError(
            f"{checkpoint}: unknown policy {kind!r}; name a preset (`pushcut presets` lists them)"
        )
    base = with_remembered_env(find_preset(preset).eval, checkpoint)
    chosen = replace(base.policy, path=checkpoint)
    sources = chosen.explorations() if config.compare else {}
    short = replace(base, episodes_per_task=config.episodes_per_task)
    sampled = play_sources(short, (chosen, *sources.values()), "sampled", env_flags="")
    # Settings that differ in exploration only share their deterministic episodes.
    quiet = [source.without_exploration() for source in sources.values()]
    greedy = play_sources(short, quiet, "greedy", env_flags="") if quiet else {}
    trials = [
        Trial(
            setting,
            deterministic=greedy[source.without_exploration()].total,
            sampled=sampled[source].total,
            chosen=source == chosen,
        )
        for setting, source in sources.items()
    ]
    return Examination(sampled[chosen].per_task, trials)
