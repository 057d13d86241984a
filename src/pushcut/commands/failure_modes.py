"""`pushcut failure-modes`: where RL learns nothing, from no, few and many demonstrations.

SimpleVLA-RL, appendix C, Table 6.

Policies of the same shape, fitted in the same way to no, few and many demonstrations of each task,
get the same RL: one table and one plot of success after it over success before it, and the success
from which RL gains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pushcut.analysis.threshold import Point, in_words, threshold
from pushcut.commands.protocol import (
    Protocol,
    ProtocolConfig,
    Study,
    counts_in,
    gain_in,
    overlap_in,
)  # fmt: skip
from pushcut.config import SFTConfig
from pushcut.demos.dataset import DemoDataset
from pushcut.errors import UserError
from pushcut.evaluation.tables import markdown_line
from pushcut.presets import Preset
from pushcut.reporting.before_after_plot import Course, plot_before_after

FEW = 10
"""Few demonstrations are so many times fewer than many, as in the paper (100 and 1000)."""


@dataclass(frozen=True)
class FailureModesConfig(ProtocolConfig):
    """One RL, from policies that saw no, few and many demonstrations of each task."""

    demonstrations: tuple[int, ...] = (0, 5, 50)
    """Demonstrations of each task, rising. 0: an untrained policy, which knows no more of the
    demonstrations than how to scale states and actions (or ``sft.policy.path`` as it is)."""
    seeds: int = 2
    """Trainings from each number of demonstrations, with seeds from ``seed`` on; all have the same
    demonstrations."""
    out: Path = Path("runs/failure-modes")
    """Folder of the whole protocol."""

    def __post_init__(self) -> None:
        counts = self.demonstrations
        if not counts or counts[0] < 0 or list(counts) != sorted(set(counts)):
            raise ValueError(f"demonstrations must rise from 0 or more, got {list(counts)}")
        if self.seeds < 1:
            raise ValueError(f"seeds must be >= 1, got {self.seeds}")
        collected = self.collect.episodes_per_task
        if self.dataset is None and counts[-1] > collected:
            raise ValueError(
                f"demonstrations up to {counts[-1]} of each task, but collect.episodes_per_task is "
                f"{collected}"
            )

    @staticmethod
    def of(preset: Preset) -> FailureModesConfig:
        """The protocol with the settings of a preset; many demonstrations are its own number."""
        many = preset.sft.episodes_per_task or preset.collect.episodes_per_task
        counts = sorted({0, max(1, many // FEW), many})
        return FailureModesConfig(
            collect=preset.collect,
            sft=replace(preset.sft, episodes_per_task=None),
            train=preset.train,
            eval=preset.eval,
            demonstrations=tuple(counts),
        )


def play(protocol: Protocol, config: FailureModesConfig) -> dict[str, Any]:
    """All trainings, and the success from which they gain."""
    everything, used = protocol.all_of_suite()
    check_enough(used, config.demonstrations[-1])
    columns = [
        column(protocol.seeded(seed), everything, used, count)
        for count in config.demonstrations
        for seed in range(config.seed, config.seed + config.seeds)
    ]
    found = threshold([point for one in columns for point in points_of(one)])
    return {"columns": columns, "threshold": found}


def check_enough(used: DemoDataset, most: int) -> None:
    """UserError where a task has fewer demonstrations than are asked for."""
    counts = Counter(episode.task for episode in used.episodes)
    task, fewest = min(counts.items(), key=lambda item: item[1])
    if fewest < most:
        raise UserError(
            f"{used.info.path} has {fewest} demonstrations of {task}, --demonstrations asks for "
            f"{most}"
        )


def column(
    protocol: Protocol, everything: SFTConfig, used: DemoDataset, count: int
) -> dict[str, Any]:
    """The policy after ``count`` demonstrations of each task, before and after RL."""
    folder = f"demonstrations-{count}/seed-{protocol.config.seed}"
    if count:
        title = f"SFT on {count} demonstrations of each task, seed {protocol.config.seed}"
        sft = replace(everything, episodes_per_task=count)
        start = protocol.fine_tune(f"{folder}/sft", title, sft)
    else:
        title = f"untrained policy, seed {protocol.config.seed}"
        start = protocol.untrained(f"{folder}/untrained", title, everything)
    where = f" after {count} demonstrations of each task, seed {protocol.config.seed}"
    demonstrations = len(used.take(count).episodes) if count else 0
    return {
        "seed": protocol.config.seed,
        "demonstrations_per_task": count,
        "demonstrations": demonstrations,
        **protocol.before_and_after(folder, start, where),
    }


def points_of(column: Mapping[str, Any]) -> Iterator[Point]:
    """A point for each task."""
    for task, before in column["sft"]["per_task"].items():
        yield Point.of(before, column["gain"]["per_task"][task])


def lines_of(result: Mapping[str, Any]) -> Iterator[str]:
    """The table in Markdown, and the threshold in words."""
    yield f"Success ({result['mode']} actions, 95 % intervals) before and after RL"
    yield f"({result['algorithm']}), by demonstrations of each task that SFT had before"
    yield ""
    heads = ("demonstrations", "seed", "task", "before RL", "after RL", "gain", "p")
    yield markdown_line(list(heads))
    yield markdown_line(["---:", "---:", "---", "---:", "---:", "---:", "---:"])
    for one in result["columns"]:
        tasks = one["sft"]["per_task"]
        rows = [("all", one["sft"], one["sft_rl"], one["gain"])] if len(tasks) > 1 else []
        after, gain = one["sft_rl"]["per_task"], one["gain"]["per_task"]
        rows += [(task, tasks[task], after[task], gain[task]) for task in tasks]
        for task, *counts, change in rows:
            cells = [*map(counts_in, counts), gain_in(change), f"{change['p_value']:.2g}"]
            yield markdown_line(
                [str(one["demonstrations_per_task"]), str(one["seed"]), task, *cells]
            )
    yield ""
    yield in_words(result["threshold"])
    if overlap := overlap_in(result):
        yield from ("", f"{overlap}.")


def courses_of(result: Mapping[str, Any]) -> dict[str, list[Course]]:
    """Number of demonstrations -> its points in the plot."""
    found: dict[str, list[Course]] = {}
    for one in result["columns"]:
        per_task = one["sft"]["per_task"]
        found.setdefault(f"{one['demonstrations_per_task']} demonstrations", []).extend(
            Course.of(before, one["sft_rl"]["per_task"][task]) for task, before in per_task.items()
        )
    return found


def note_on(result: Mapping[str, Any]) -> str:
    """Caption that says what a point is."""
    overlap = overlap_in(result)
    return (
        f"a point: one task and seed; {result['algorithm']}, {result['iterations']} iterations; "
        f"{result['mode']} actions, {result['states_per_task']} initial states per task; bars: "
        f"95 % Wilson; dotted: lowest start of a gain{overlap and '; '}{overlap}"
    )


def draw(path: Path, result: Mapping[str, Any]) -> None:
    """Success after RL over success before it."""
    gained_from = result["threshold"]["gained_from"]
    plot_before_after(path, courses_of(result), gained_from=gained_from, note=note_on(result))


STUDY = Study("failure modes (SimpleVLA-RL, Table 6)", FailureModesConfig, play, lines_of, draw)
