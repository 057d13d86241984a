"""Curves of success: read from a run's folder, and the arithmetic on them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pushcut.runs.run import read_metrics
from pushcut.runs.timings import LOOP, of_line

MODES = ("greedy", "sampled")

AXES = {
    "env_steps": "simulator steps",
    "decisions": "decisions",
    "wall_s": "seconds of training",
}
"""What success is drawn over; evaluations count in none of them."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Point:
    """A policy in the course of its training: what it took so far, and how well it does."""

    iteration: int
    at: Mapping[str, float]
    """Axis -> how much was spent on training before this point."""
    results: Mapping[str, Mapping[str, Any]]
    """Mode -> successes, episodes, 95 % Wilson interval, and the same of each task."""

    def rate(self, mode: str) -> float:
        """Held-out success in a mode, as a fraction."""
        return self.results[mode]["successes"] / self.results[mode]["episodes"]


@dataclass(frozen=True)
class Curve:
    """One training run."""

    points: tuple[Point, ...]
    training: tuple[tuple[int, float], ...]
    """Simulator steps before an iteration, and the success of its (sampled) episodes."""
    groups_sampled: int
    groups_kept: int
    learning_share: float
    """Share of the loop's time that no evaluation took."""

    @staticmethod
    def of(run: Path) -> Curve:
        """Reads a run that evaluated in both modes."""
        spent = dict.fromkeys(AXES, 0.0)
        points, training, evaluating = [], [], 0.0
        lines = read_metrics(run / "metrics.jsonl")
        for line in lines:
            if "greedy_gap" in line:
                points.append(Point(line["iteration"], dict(spent), _results(run, line)))
            seconds = of_line(line)
            if "env_steps" in line:
                training.append((int(spent["env_steps"]), line["success_rate_sampled"]))
                spent["env_steps"] += line["env_steps"]
                spent["decisions"] += line["decisions"]
                spent["wall_s"] += sum(seconds.get(x, 0.0) for x in LOOP if x != "evaluate")
            evaluating += seconds.get("evaluate", 0.0)
        groups = [sum(line.get(f"groups_{x}") or 0 for line in lines) for x in ("sampled", "kept")]
        total = spent["wall_s"] + evaluating
        share = spent["wall_s"] / total if total else 1.0
        return Curve(tuple(points), tuple(training), groups[0], groups[1], share)

    def axis(self, name: str) -> list[float]:
        """Where the points lie on an axis."""
        return [point.at[name] for point in self.points]

    def rates(self, mode: str) -> list[float]:
        """Success at the points."""
        return [point.rate(mode) for point in self.points]


def _results(run: Path, line: Mapping[str, Any]) -> dict[str, Any]:
    results = {}
    for mode in MODES:
        content = json.loads((run / "eval" / f"{line['iteration']:06d}-{mode}.json").read_text())
        keys = ("successes", "episodes", "interval", "per_task")
        results[mode] = {key: content[key] for key in keys}
    return results


def mean_curve(curves: Sequence[Curve], axis: str, mode: str) -> tuple[list[float], list[float]]:
    """Mean place on an axis and mean success, at the iterations that all curves have evaluated."""
    shared = set.intersection(*({point.iteration for point in curve.points} for curve in curves))
    x, y = [], []
    for iteration in sorted(shared):
        points = [p for curve in curves for p in curve.points if p.iteration == iteration]
        x.append(fmean(point.at[axis] for point in points))
        y.append(fmean(point.rate(mode) for point in points))
    return x, y


def height(x: Sequence[float], y: Sequence[float], at: float) -> float:
    """Height of the piecewise linear curve; beyond its ends that of the end."""
    if at <= x[0]:
        return y[0]
    for left in range(len(x) - 1):
        if at <= x[left + 1]:
            width = x[left + 1] - x[left]
            share = (at - x[left]) / width if width else 1.0
            return y[left] + share * (y[left + 1] - y[left])
    return y[-1]


def area(x: Sequence[float], y: Sequence[float], upto: float) -> float:
    """Mean height of the piecewise linear curve from its start up to ``upto``.

    The area below the curve, by trapezoids, over its width: a success rate.
    """
    if upto <= x[0]:
        return y[0]
    inside = [(a, b) for a, b in zip(x, y, strict=True) if a < upto]
    inside.append((upto, height(x, y, upto)))
    pairs = zip(inside, inside[1:], strict=False)
    return sum((c - a) * (b + d) / 2 for (a, b), (c, d) in pairs) / (upto - x[0])


def reached(x: Sequence[float], y: Sequence[float], level: float) -> float | None:
    """Where the piecewise linear curve first has a level; None if it never does."""
    if y[0] >= level:
        return x[0]
    for left in range(len(x) - 1):
        if y[left + 1] >= level:
            share = (level - y[left]) / (y[left + 1] - y[left])
            return x[left] + share * (x[left + 1] - x[left])
    return None


def with_interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean, range and the 95 % interval of the mean by Student's t; of one value there is none.

    mean ± t(0.975, n - 1) · s / √n with the standard deviation s of n - 1.
    """
    found: dict[str, Any] = {
        "values": list(values),
        "mean": fmean(values),
        "range": [min(values), max(values)],
        "interval": None,
    }
    if len(values) > 1:
        from scipy.stats import t  # it takes a second to import

        quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
        half = quantile * stdev(values) / math.sqrt(len(values))
        found["interval"] = [found["mean"] - half, found["mean"] + half]
    return found


def paired(values: Mapping[int, float], baseline: Mapping[int, float]) -> dict[str, Any] | None:
    """Differences to the baseline over the seeds that both have, with mean and interval."""
    seeds = sorted(values.keys() & baseline.keys())
    if not seeds:
        return None
    return {"seeds": seeds, **with_interval([values[seed] - baseline[seed] for seed in seeds])}
