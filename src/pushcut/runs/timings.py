"""Where the time of an iteration went, and what holds it up.

Seconds per phase are plain dicts: they can be listed per rank, added, or drawn. The phases are
defined in docs/how-to/observability.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pushcut.system.stopwatch import Seconds

PREFIX = "seconds_"
"""What stands before a phase's name in metrics.jsonl."""

LOOP = ("evaluate", "rollout", "update", "save", "other")
"""Phases of the training loop: together they are the wall time."""

BUSY = 0.8
"""Simulators that work for this share of a rollout are what it waits for."""


def to_line(seconds: Mapping[str, float]) -> Seconds:
    """The phases as metrics.jsonl names them."""
    return {PREFIX + name: value for name, value in seconds.items()}


def of_line(line: Mapping[str, object]) -> Seconds:
    """The phases of a line of metrics.jsonl."""
    return {
        name.removeprefix(PREFIX): float(value)
        for name, value in line.items()
        if name.startswith(PREFIX) and isinstance(value, (int, float))
    }


def loop_parts(seconds: Mapping[str, float]) -> Seconds:
    """Phases of the training loop that add up to its wall time, the rollout's parts apart.

    Of a rollout that was played ahead the loop does nothing but wait for its end.
    """
    has = {name: seconds.get(name, 0.0) for name in LOOP}
    ahead = {"infer": 0.0, "wait": has["rollout"], "prepare": 0.0}
    has |= ahead if "played" in seconds else rollout_parts(seconds)
    order = ("save", "evaluate", "infer", "wait", "prepare", "update", "other")
    return {name: has[name] for name in order}


def play_seconds(seconds: Mapping[str, float]) -> float:
    """How long the rollout was played, beside the loop or in it."""
    return seconds.get("played", seconds.get("rollout", 0.0))


def rollout_parts(seconds: Mapping[str, float]) -> Seconds:
    """What whoever plays the rollout did."""
    infer, wait = seconds.get("infer", 0.0), seconds.get("wait", 0.0)
    prepare = max(0.0, play_seconds(seconds) - infer - wait)
    return {"infer": infer, "wait": wait, "prepare": prepare}


def lanes(lines: Sequence[Mapping[str, object]]) -> dict[str, list[Seconds]]:
    """What the loop and the simulators did in each line that has timings.

    A line may have ``ranks``, a list with the timings of each rank: then each has its lanes.
    """
    timed = [line for line in lines if PREFIX + "other" in line]
    found: dict[str, list[Seconds]] = {}
    ranks = {len(ranks_of(line)) for line in timed}
    for rank in range(min(ranks, default=0)):
        name = f"rank {rank}" if max(ranks) > 1 else "loop"
        rows = [of_line(ranks_of(line)[rank]) for line in timed]
        found[name] = [loop_parts(row) for row in rows]
        simulators = f"{name}: simulators" if max(ranks) > 1 else "simulators"
        found[simulators] = [
            {"": row.get("save", 0.0) + row.get("evaluate", 0.0)} | simulator_parts(row)
            for row in rows
        ]
    return found


def ranks_of(line: Mapping[str, Any]) -> Sequence[Mapping[str, object]]:
    """The timings of each rank; a line without is that of the only one."""
    return line.get("ranks") or [line]


def coarsened(rows: Sequence[Mapping[str, float]], most: int) -> list[Seconds]:
    """At most so many rows: neighbours are added up."""
    size = max(1, math.ceil(len(rows) / most))
    return [summed(rows[at : at + size]) for at in range(0, len(rows), size)]


def summed(rows: Iterable[Mapping[str, float]]) -> Seconds:
    """The sum of each phase."""
    total: Seconds = {}
    for row in rows:
        for name, seconds in row.items():
            total[name] = total.get(name, 0.0) + seconds
    return total


def simulator_parts(seconds: Mapping[str, float]) -> Seconds:
    """What a simulator process did during the rollout, on average; empty where unknown."""
    if not {"simulate", "render", "rollout"} <= seconds.keys():
        return {}
    work = {name: seconds[name] for name in ("simulate", "render")}
    return work | {"idle": max(0.0, play_seconds(seconds) - sum(work.values()))}


@dataclass(frozen=True)
class Bottleneck:
    """What most of an iteration's time went to."""

    name: str
    advice: str
    """What would make it faster."""


def bottleneck(seconds: Mapping[str, float], *, workers: int, slots: int, cores: int) -> Bottleneck:
    """The phase of the loop that took longest and, within a rollout, what held it up."""
    longest = max(LOOP, key=lambda name: seconds.get(name, 0.0))
    if longest != "rollout":
        return Bottleneck(longest, _ADVICE[longest])
    rollout = play_seconds(seconds) or 1e-9
    parts = rollout_parts(seconds)
    largest = max(parts, key=lambda name: parts[name])
    if largest != "wait":
        return Bottleneck(
            f"{largest} ({parts[largest] / rollout:.0%} of the rollout)", _ADVICE[largest]
        )
    simulate, render = seconds.get("simulate", 0.0), seconds.get("render", 0.0)
    busy = f"workers busy {(simulate + render) / rollout:.0%}"
    # More workers than cores cannot all be busy.
    if simulate + render < BUSY * rollout * min(1.0, cores / workers):
        return Bottleneck(f"idle simulators ({busy})", _advice_when_idle(workers, slots))
    more = f"more --rollout.workers ({workers} on {cores} cores)"
    if workers >= cores:
        more = f"more cores ({workers} workers have {cores})"
    if render > simulate:
        return Bottleneck(f"rendering ({busy})", f"fewer or smaller images, or {more}")
    return Bottleneck(f"simulators ({busy})", more)


_ADVICE = {
    "update": "a larger --learner.micro-batch if memory allows, or a faster device",
    "evaluate": "evaluate less often (--evaluation.every) or on fewer states "
    "(--evaluation.episodes-per-task)",
    "save": "save less often (--save-every) or on a faster disk",
    "other": "logging and bookkeeping: fewer --trackers",
    "infer": "a larger --rollout.inference-batch, or a faster device",
    "prepare": "packing and copying observations: smaller images or longer chunks",
}


def _advice_when_idle(workers: int, slots: int) -> str:
    if slots < 2 * workers:
        return f"at least two --rollout.slots per worker ({slots} for {workers} now)"
    return "an iteration's last episodes play alone: more groups or episodes per iteration"


def describe(seconds: Mapping[str, float], *, workers: int, slots: int, cores: int) -> str:
    """One line: an iteration's time, its phases and its bottleneck."""
    total = sum(seconds.get(name, 0.0) for name in LOOP)
    digits = 1 if total >= 10 else 2
    inner = ", ".join(
        f"{name} {seconds[name]:.{digits}f}"
        for name in ("played", "simulate", "render", "infer", "wait")
        if name in seconds
    )
    # What the loop always has, and what is worth a word.
    shown = [
        f"{name} {seconds[name]:.{digits}f}" + (f" ({inner})" if name == "rollout" else "")
        for name in LOOP
        if name in seconds and (name in ("rollout", "update") or seconds[name] >= 0.02 * total)
    ]
    found = bottleneck(seconds, workers=workers, slots=slots, cores=cores)
    return f"{total:.{digits}f} s: {', '.join(shown)}; bottleneck: {found.name}: {found.advice}"
