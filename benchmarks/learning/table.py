"""The record as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.learning.curves import MODES


def tables(record: Mapping[str, Any]) -> str:
    """Every setting of a record, then what is not in it and why."""
    lines: list[str] = []
    for name, setting in record["settings"].items():
        lines += [f"## {name}", "", *_setting(setting), ""]
    for title in ("skipped", "failed"):
        if record[title]:
            lines += [f"**{title.capitalize()}**", "", *(f"- {x}" for x in record[title]), ""]
    return "\n".join(lines)


def _setting(setting: Mapping[str, Any]) -> Iterator[str]:
    variants, facts = setting["variants"], setting["setting"]
    episodes = facts["episodes_per_task"]
    yield (
        f"Preset `{facts['preset']}`, {facts['iterations']} iterations, evaluated every "
        f"{facts['every']} on {episodes} held-out starts of each task in each mode. Success in %; "
        "of seeds: mean (range). Area: mean success up to the same number of simulator steps "
        f"({setting['budget']['env_steps']:,.0f})."
    )
    yield ""
    head = ["Variant", "Seeds"]
    for mode in MODES:
        head += [f"{mode}, start", "end", "area"]
    head += ["Gap", "Worst task (greedy)", "Groups played per kept"]
    yield from _rows(head, ([name, *_success(x)] for name, x in variants.items()))
    head = ["Variant", "Simulator steps", "Decisions", "Seconds", "CPU seconds"]
    head += [f"{what} per point, {mode}" for mode in MODES for what in ("Steps", "CPU s")]
    yield from _rows(head, ([name, *_cost(x)] for name, x in variants.items()))
    if setting["against_baseline"]:
        head = ["Against the baseline (points, 95 % interval)", "n"]
        for mode in MODES:
            head += [f"{mode}, end", "area", "steps to its end"]
        rows = ([name, *_against(x)] for name, x in setting["against_baseline"].items())
        yield from _rows(head, rows)
    if setting["tests"]:
        head = ["On the states of `pushcut eval`"]
        head += [f"{mode}, {stage}" for mode in MODES for stage in ("start", "end")]
        yield from _rows(head, ([name, *_tests(x)] for name, x in setting["tests"].items()))
    head = ["Task, greedy start → end (sampled end)", *variants]
    yield from _rows(head, _tasks(variants))
    head = ["End of each seed", *MODES]
    yield from _rows(head, _seeds(variants))


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _success(x: Mapping[str, Any]) -> Iterator[str]:
    yield " ".join(map(str, x["seeds"]))
    for mode in MODES:
        yield percent(x[mode]["start"])
        yield f"**{percent(x[mode]['end'])}**"
        yield percent(x[mode]["area"]["env_steps"])
    yield f"{100 * x['greedy_gap']['mean']:+.1f}"
    tasks = x["greedy"]["per_task"]["end"]
    worst = min(tasks, key=lambda task: tasks[task]["successes"] / tasks[task]["episodes"])
    yield f"{worst} {rate(tasks[worst])}"
    groups = x["groups_played_per_kept"]
    yield "-" if groups is None else f"{groups:.2f}"


def _cost(x: Mapping[str, Any]) -> Iterator[str]:
    cost = x["cost"]
    yield f"{cost['env_steps']:,.0f}"
    yield f"{cost['decisions']:,.0f}"
    yield f"{cost['wall_s']:,.0f}"
    yield f"{cost['cpu_s']:,.0f}" + ("" if cost["complete"] else " or more")
    for mode in MODES:
        each = x["cost_per_point"][mode]
        yield f"{each['env_steps']:,.0f}" if each else "no gain"
        yield f"{each['cpu_s']:,.1f}" if each else "no gain"


def _against(x: Mapping[str, Any]) -> Iterator[str]:
    first = x[MODES[0]]["end"]
    yield str(len(first["seeds"])) if first else "0"
    for mode in MODES:
        yield difference(x[mode]["end"])
        yield difference(x[mode]["area_env_steps"])
        yield steps(x[mode]["reach"])


def _tests(x: Mapping[str, Any]) -> Iterator[str]:
    for mode in MODES:
        for stage in ("start", "end"):
            found = x.get(mode, {}).get(stage)
            yield percent(found) if found else "-"


def _tasks(variants: Mapping[str, Any]) -> Iterator[list[str]]:
    for task in next(iter(variants.values()))["greedy"]["per_task"]["end"]:
        cells = []
        for x in variants.values():
            counts = [x["greedy"]["per_task"][stage][task] for stage in ("start", "end")]
            start, end = map(rate, counts)
            cells.append(f"{start} → {end} ({rate(x['sampled']['per_task']['end'][task])})")
        yield [task, *cells]


def _seeds(variants: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, x in variants.items():
        for number, seed in enumerate(x["seeds"]):
            cells = []
            for mode in MODES:
                low, high = x[mode]["end_wilson"][number]
                value = 100 * x[mode]["end"]["values"][number]
                cells.append(f"{value:.1f} ({100 * low:.1f} to {100 * high:.1f})")
            yield [f"{name}, seed {seed}", *cells]


def percent(x: Mapping[str, Any]) -> str:
    """Mean and range, in percent."""
    low, high = (100 * limit for limit in x["range"])
    return f"{100 * x['mean']:.1f}" + (f" ({low:.0f}–{high:.0f})" if len(x["values"]) > 1 else "")


def rate(counts: Mapping[str, Any]) -> str:
    """Success in percent of counts."""
    return f"{100 * counts['successes'] / counts['episodes']:.0f}"


def difference(x: Mapping[str, Any] | None) -> str:
    """A paired difference in points."""
    if x is None:
        return "-"
    if x["interval"] is None:
        return f"{100 * x['mean']:+.1f} (one seed)"
    low, high = (100 * limit for limit in x["interval"])
    return f"{100 * x['mean']:+.1f} ({low:+.1f} to {high:+.1f})"


def steps(x: Mapping[str, Any] | None) -> str:
    """The share of the baseline's simulator steps that the variant needed, of the mean curves."""
    if x is None or not x["baseline"]:
        return "-"
    if x["ratio"] is None:
        return f"not in {x['ratio_above']:.2f} ×"
    return f"{x['ratio']:.2f} × ({x['variant']:,.0f})"
