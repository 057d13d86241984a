"""Episodes of several sub-tasks: how many come that far, and how far they come on average.

CALVIN's table: Len-k is the share of chains in which at least the first k sub-tasks were done, Avg
the mean number of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

from pushcut.evaluation.intervals import Interval, Rate
from pushcut.evaluation.results import EvalResult, LedgerLine
from pushcut.evaluation.tables import Row, markdown_line

AVERAGE = "Avg"


@dataclass(frozen=True)
class Chains:
    """Sub-tasks that were done in a row, by initial state and repeat."""

    count: int
    """Sub-tasks of each episode."""
    done: Mapping[int, Sequence[int]]
    """Seed of the initial state -> sub-tasks done in each repeat."""

    @staticmethod
    def of(lines: Sequence[LedgerLine], count: int) -> Chains:
        """The episodes of one task."""
        done: dict[int, list[int]] = {}
        for line in sorted(lines, key=lambda line: line.episode):
            assert line.stage is not None, "a task with several sub-tasks counts them"
            done.setdefault(line.init_seed, []).append(line.stage)
        return Chains(count, done)

    @property
    def lengths(self) -> list[Rate]:
        """Share of episodes with at least 1, 2, … sub-tasks done."""
        return [
            Rate.of([[stage >= length for stage in row] for row in self.done.values()])
            for length in range(1, self.count + 1)
        ]

    @property
    def average(self) -> float:
        """Mean number of sub-tasks done."""
        return fmean(stage for row in self.done.values() for stage in row)

    @property
    def interval(self) -> Interval:
        """95 % interval of the mean, by the spread over initial states."""
        return _around([fmean(row) for row in self.done.values()])

    def difference(self, baseline: Chains) -> tuple[float, Interval]:
        """Mean difference from another policy on the same initial states, and its interval."""
        pairs = [fmean(self.done[seed]) - fmean(baseline.done[seed]) for seed in self.done]
        return fmean(pairs), _around(pairs)

    def to_json(self) -> dict[str, Any]:
        """Counts and intervals of every length, and the average."""
        lengths = {f"Len-{n}": rate.to_json() for n, rate in enumerate(self.lengths, 1)}
        return {**lengths, AVERAGE: {"mean": self.average, "interval": list(self.interval)}}


def chains_of(result: EvalResult) -> dict[str, Chains]:
    """Task -> its chains, for tasks that have several sub-tasks."""
    found = {}
    for task, count in result.stages.items():
        lines = [line for line in result.ledger if line.task == task and line.stage is not None]
        if lines:
            found[task] = Chains.of(lines, count)
    return found


def stage_table(rows: Sequence[Row]) -> str:
    """A Markdown table in CALVIN's layout, a row for each task and method; empty without any.

    Methods that played the same initial states as the first have their difference from it.
    """
    found = {row.name: chains_of(row.result) for row in rows}
    longest = max((c.count for chains in found.values() for c in chains.values()), default=0)
    if not longest:
        return ""
    columns = [f"Len-{n}" for n in range(1, longest + 1)] + [AVERAGE]
    lines = [markdown_line(["sub-tasks in a row, %", "", *columns])]
    lines.append(markdown_line(["---"] * (len(columns) + 2)))
    for row in rows:
        for task, chains in found[row.name].items():
            cells = [_share(rate) for rate in chains.lengths]
            cells += ["–"] * (longest - chains.count) + [_mean(chains.average, chains.interval)]
            lines.append(markdown_line([row.name, task, *cells]))
            first = found[rows[0].name].get(task)
            if row is not rows[0] and first is not None and first.done.keys() == chains.done.keys():
                text = _mean(*chains.difference(first), sign="+")
                empty = [""] * longest
                lines.append(markdown_line([f"{row.name} − {rows[0].name}", task, *empty, text]))
    return "\n".join(lines) + "\n"


def _share(rate: Rate) -> str:
    low, high = (100 * limit for limit in rate.interval)
    return f"{100 * rate.value:.1f} [{low:.1f}, {high:.1f}]"


def _mean(mean: float, interval: Interval, sign: str = "") -> str:
    low, high = interval
    return f"{mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _around(values: Sequence[float]) -> Interval:
    """Normal interval of the mean of independent values; of one value nothing is known."""
    if len(values) < 2:
        return -math.inf, math.inf
    half = NormalDist().inv_cdf(0.975) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half
