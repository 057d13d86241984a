"""What `pushcut doctor` makes of a checkpoint: can RL work, and how much to explore?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from pushcut.evaluation.intervals import Rate, pooled

Rates = Mapping[str, Rate]
"""Task -> success."""


@dataclass(frozen=True)
class Trial:
    """A setting of exploration: success of sampled actions, and of deterministic ones."""

    setting: str
    deterministic: Rate
    sampled: Rate
    chosen: bool = False
    """Whether RL would use this setting."""


@dataclass(frozen=True)
class Examination:
    """Episodes that were sampled with a checkpoint, and settings that were compared."""

    rates: Rates
    """Sampled success of each task at the chosen setting."""
    trials: Sequence[Trial] = ()


def exploration_table(trials: Sequence[Trial]) -> Table:
    """One row per setting, with 95 % intervals."""
    episodes = trials[0].sampled.episodes
    table = Table(title=f"success with and without exploration, {episodes} episodes each")
    for column in ("setting", "without", "with", "points"):
        table.add_column(column, no_wrap=True)
    for trial in trials:
        setting = f"{trial.setting} (chosen)" if trial.chosen else trial.setting
        difference = 100 * (trial.sampled.value - trial.deterministic.value)
        table.add_row(
            setting, _cell(trial.deterministic), _cell(trial.sampled), f"{difference:+.0f}"
        )
    return table


def gap_verdict(trials: Sequence[Trial]) -> list[str]:
    """What exploring costs at the chosen setting, and what to do about it (pi_RL, appendix G)."""
    lines = []
    for trial in trials:
        if not trial.chosen:
            continue
        gap = 100 * (trial.deterministic.value - trial.sampled.value)
        if trial.sampled.interval[1] < trial.deterministic.interval[0]:
            lines += [
                f"exploring costs {gap:.0f} points of success: what RL sees is far from what the "
                "policy does without noise",
                "do: explore less (flows: lower --policy.noise-level, with a lower --learner.lr, "
                "as gradients grow; or more --policy.num-steps; tokens: lower "
                "--policy.temperature)",
            ]
        elif trial.sampled.interval[0] > trial.deterministic.interval[1]:
            lines.append(f"exploring helps: {-gap:.0f} points more than without noise")
        else:
            lines.append(
                f"with noise {-gap:+.0f} points: no more of a difference than chance explains"
            )
    return lines


def _cell(rate: Rate) -> str:
    low, high = rate.interval
    return f"{rate.value:.0%} ({low:.0%} to {high:.0%})"


def checkpoint_verdict(rates: Rates) -> list[str]:
    """Says whether outcome reward can improve a policy with these sampled success rates.

    GRPO learns only from groups in which some members succeed and others fail. A start
    below 5 % gives hardly any, as SimpleVLA-RL found (Li et al. 2025, failure modes).
    """
    total = pooled(rates.values())
    if total.episodes == 0:
        return ["no episode was sampled, so nothing can be said"]
    rate, (low, high) = total.value, total.interval
    lines = [
        f"sampled success: {total.successes} of {total.episodes} episodes = {rate:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%})"
    ]
    if rate < 0.05:
        lines += [
            "RL will learn nothing: below 5 % nearly every group fails as a whole, and then no "
            "advantage differs from zero. SimpleVLA-RL's failure modes: from 0 % there is no "
            "gain, and a weak start gains little.",
            "do: collect more demonstrations, train SFT longer, or begin with easier tasks",
        ]
    elif rate > 0.95:
        lines += [
            f"little to gain: at most {1 - rate:.1%} is left, and most groups succeed as a whole",
            "do: choose harder tasks, or start from fewer demonstrations",
        ]
    else:
        lines.append(f"RL can work: {_mixed(rates)}")
    if low < 0.05 < high:
        lines.append(
            f"{total.episodes} episodes leave open on which side of 5 % it is; "
            "sample more to be sure"
        )
    if 0.05 <= rate <= 0.95:
        lines += _one_sided(rates)
    return lines


def _mixed(rates: Rates, members: int = 8) -> str:
    """The share of groups that would teach, if only the policy's chance made them differ."""
    played = [rate.value for rate in rates.values() if rate.episodes]
    shares = [1 - p**members - (1 - p) ** members for p in played]
    return (
        f"up to {sum(shares) / len(shares):.0%} of groups of {members} would hold both "
        "successes and failures"
    )


def _one_sided(rates: Rates) -> list[str]:
    counts = {task: (rate.successes, rate.episodes) for task, rate in rates.items()}
    never = [f"{task} (0 of {n})" for task, (s, n) in counts.items() if n and s == 0]
    always = [f"{task} ({s} of {n})" for task, (s, n) in counts.items() if n and s == n]
    lines = []
    if never:
        lines.append(f"never solved, so nothing to learn from yet: {', '.join(never)}")
        lines.append("do: more demonstrations of these")
    if always:
        lines.append(f"always solved, so nothing left to learn: {', '.join(always)}")
    return lines
