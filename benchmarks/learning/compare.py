"""What the runs of a setting say: each variant over its seeds, and against the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.learning.curves import (
    AXES,
    MODES,
    Curve,
    area,
    mean_curve,
    paired,
    reached,
    with_interval,
)
from benchmarks.learning.settings import BASELINE

from pushcut.evaluation.intervals import wilson

STEPS = "env_steps"


@dataclass(frozen=True)
class Outcome:
    """A finished run of a variant with a seed."""

    curve: Curve
    wall_s: float
    """Seconds of `pushcut train`, evaluations included."""
    cpu_s: float
    """Processor seconds of training, evaluations left out by their share of the time."""
    complete: bool
    """Whether both are known; else an attempt that was killed is missing."""


Outcomes = Mapping[str, Mapping[int, Outcome]]
"""Variant -> seed -> its run."""


def compared(outcomes: Outcomes) -> dict[str, Any]:
    """Every number of the record, for a setting with at least one run."""
    curves = [o.curve for seeds in outcomes.values() for o in seeds.values()]
    budget = {axis: min(curve.axis(axis)[-1] for curve in curves) for axis in AXES}
    variants = {name: variant(seeds, budget) for name, seeds in outcomes.items() if seeds}
    against = {
        name: against_baseline(outcomes[name], outcomes[BASELINE], variants, name)
        for name in variants
        if name != BASELINE and outcomes.get(BASELINE)
    }
    return {"budget": budget, "variants": variants, "against_baseline": against}


def variant(seeds: Mapping[int, Outcome], budget: Mapping[str, float]) -> dict[str, Any]:
    """A variant over its seeds."""
    outcomes = list(seeds.values())
    curves = [outcome.curve for outcome in outcomes]
    found: dict[str, Any] = {"seeds": list(seeds)}
    for mode in MODES:
        rates = [curve.rates(mode) for curve in curves]
        per_task = {
            stage: _per_task(curves, mode, place) for stage, place in (("start", 0), ("end", -1))
        }
        found[mode] = {
            "start": with_interval([rate[0] for rate in rates]),
            "end": with_interval([rate[-1] for rate in rates]),
            "end_wilson": [curve.points[-1].results[mode]["interval"] for curve in curves],
            "best_less_end": fmean(max(rate) - rate[-1] for rate in rates),
            "area": {
                axis: with_interval([area(c.axis(axis), c.rates(mode), upto) for c in curves])
                for axis, upto in budget.items()
            },
            "per_task": per_task,
        }
    found["greedy_gap"] = with_interval(
        [c.points[-1].rate("sampled") - c.points[-1].rate("greedy") for c in curves]
    )
    sampled, kept = (sum(getattr(c, f"groups_{x}") for c in curves) for x in ("sampled", "kept"))
    found["groups_played_per_kept"] = sampled / kept if kept else None
    cost = {axis: fmean(curve.axis(axis)[-1] for curve in curves) for axis in AXES}
    cost |= {"cpu_s": fmean(outcome.cpu_s for outcome in outcomes)}
    found["cost"] = cost | {"complete": all(outcome.complete for outcome in outcomes)}
    found["cost_per_point"] = {mode: _per_point(cost, found[mode]) for mode in MODES}
    return found


def _per_task(curves: Sequence[Curve], mode: str, place: int) -> dict[str, Any]:
    """Counts of each task, the seeds added up; the interval leaves out what training varies."""
    found: dict[str, Any] = {}
    for task in curves[0].points[place].results[mode]["per_task"]:
        counts = [curve.points[place].results[mode]["per_task"][task] for curve in curves]
        successes, episodes = (sum(x[key] for x in counts) for key in ("successes", "episodes"))
        interval = list(wilson(successes, episodes))
        found[task] = {"successes": successes, "episodes": episodes, "interval": interval}
    return found


def _per_point(cost: Mapping[str, float], rates: Mapping[str, Any]) -> dict[str, float] | None:
    """What a point of success cost, mean cost over mean gain; None where nothing was gained."""
    points = 100 * (rates["end"]["mean"] - rates["start"]["mean"])
    return {name: x / points for name, x in cost.items()} if points > 0 else None


def against_baseline(
    seeds: Mapping[int, Outcome],
    baseline: Mapping[int, Outcome],
    variants: Mapping[str, Mapping[str, Any]],
    name: str,
) -> dict[str, Any]:
    """Paired differences over the seeds that both have, and the steps to the baseline's end."""
    found: dict[str, Any] = {}
    both = {name: list(seeds), BASELINE: list(baseline)}
    for mode in MODES:
        of: dict[str, dict[str, dict[int, float]]] = {}
        for each, numbers in both.items():
            report = variants[each][mode]
            values = {"end": report["end"], **{f"area_{a}": x for a, x in report["area"].items()}}
            of[each] = {
                key: dict(zip(numbers, x["values"], strict=True)) for key, x in values.items()
            }
        found[mode] = {key: paired(of[name][key], of[BASELINE][key]) for key in of[name]}
        found[mode]["reach"] = reach(seeds, baseline, mode)
    return found


def reach(
    seeds: Mapping[int, Outcome], baseline: Mapping[int, Outcome], mode: str
) -> dict[str, Any] | None:
    """Simulator steps to the success of the baseline's end: of the mean curves, and of each seed.

    None where no seed has both.
    """
    shared = [seed for seed in seeds if seed in baseline]
    if not shared:
        return None
    ours, theirs = ([x[seed].curve for seed in shared] for x in (seeds, baseline))
    per_seed = {
        seed: _ratio((a.axis(STEPS), a.rates(mode)), (b.axis(STEPS), b.rates(mode)))
        for seed, a, b in zip(shared, ours, theirs, strict=True)
    }
    mean = _ratio(mean_curve(ours, STEPS, mode), mean_curve(theirs, STEPS, mode))
    return {**mean, "per_seed": per_seed}


def _ratio(
    ours: tuple[Sequence[float], Sequence[float]], theirs: tuple[Sequence[float], Sequence[float]]
) -> dict[str, float | None]:
    """Steps of both curves to the height of the second one's end, and their ratio.

    A curve that never gets there has no steps, and the ratio is above ``ratio_above``. Where the
    baseline ends no higher than it starts there is nothing to reach.
    """
    target = theirs[1][-1]
    due, steps = reached(*theirs, target), reached(*ours, target)
    ratio = steps / due if due and steps is not None else None
    above = ours[0][-1] / due if due and steps is None else None
    return {
        "success": target,
        "baseline": due,
        "variant": steps,
        "ratio": ratio,
        "ratio_above": above,
    }
