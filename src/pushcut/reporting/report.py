"""report.html: one file that shows what a run achieved, and plays from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushcut.evaluation.intervals import wilson
from pushcut.reporting.charts import Bar, Panel, bar_chart, line_chart, timeline
from pushcut.runs.timings import coarsened, lanes, summed
from pushcut.system.stopwatch import Seconds

STAGES = ("before", "after")
MODES = ("greedy", "sampled")
"""The first mode that was evaluated makes the headline and the bars."""

RL_PANELS = (
    Panel(
        "Success rate",
        {
            "success_rate_sampled": "episodes of training",
            "eval_greedy_success_rate": "held out, greedy",
            "eval_sampled_success_rate": "held out, sampled",
        },
        percent=True,
        whole_range=True,
    ),
    Panel("Groups per iteration", {"groups_sampled": "sampled", "groups_mixed": "mixed"}),
    Panel("Episode length (control steps)", {"episode_length": "length"}),
    Panel("Entropy of an action element (nats)", {"entropy": "entropy"}),
    Panel("Loss", {"loss": "loss"}),
    Panel("KL from the rollout's policy", {"approx_kl": "KL"}),
    Panel("Clipped ratios", {"clip_fraction": "clipped"}, percent=True),
    Panel("Explained variance of the critic", {"explained_variance": "explained variance"}),
    Panel("Loss of the critic", {"value_loss": "loss"}),
    Panel("Gradient norm before clipping", {"grad_norm": "norm"}),
    Panel("Learning rate", {"lr": "lr"}),
    Panel("Seconds per iteration", {"seconds_rollout": "rollout", "seconds_update": "update"}),
)

MOST_STRIPS = 150
"""Most iterations that are drawn; of longer runs neighbours are drawn as one."""

SFT_PANELS = (
    Panel("Loss", {"loss": "training", "validation_loss": "validation"}),
    Panel(
        "Action-token accuracy",
        {"accuracy": "training", "validation_accuracy": "validation"},
        percent=True,
        whole_range=True,
    ),
    Panel("Learning rate", {"lr": "lr"}),
)


@dataclass(frozen=True)
class Headline:
    """One mode of evaluation, before and after."""

    mode: str
    stages: dict[str, Bar]
    gain_interval: tuple[float, float] | None = None
    """95 % interval of the gain, from the same episodes before and after."""

    @property
    def gain(self) -> float | None:
        """Points gained, as a fraction; None unless both were evaluated."""
        if len(self.stages) < len(STAGES):
            return None
        return self.stages["after"].rate - self.stages["before"].rate


@dataclass(frozen=True)
class Share:
    """Seconds that a phase took, and its shares."""

    phase: str
    seconds: float
    of_longest: float
    of_all: float


def write_report(
    path: Path,
    *,
    title: str,
    metrics: Sequence[Mapping[str, Any]],
    sft_metrics: Sequence[Mapping[str, Any]],
    evaluations: Mapping[str, Mapping[str, Any]],
    videos: Mapping[str, Mapping[str, Path]],
    facts: Mapping[str, str],
) -> Path:
    """Writes a self-contained HTML page; any part may be missing or empty.

    Args:
        path: The file to write; it appears when it is complete.
        title: Heading of the page.
        metrics: Lines of metrics.jsonl, one per iteration of reinforcement learning.
        sft_metrics: Lines of supervised fine-tuning, by ``step``.
        evaluations: "before-greedy", "after-greedy", "before-sampled", "after-sampled" ->
            what ``EvalResult.save`` returned.
        videos: Task -> {"before": mp4, "after": mp4}.
        facts: Name -> value; names that begin with "seconds: " become the time line.
    """
    rates = [_headline(evaluations, mode) for mode in MODES]
    headlines = [headline for headline in rates if headline.stages]
    phases, plain_facts = _split_phases(facts)
    timed = lanes(metrics)
    page = _template().render(
        title=title,
        headlines=headlines,
        bars=bar_chart(_per_task(evaluations, headlines[0].mode)) if headlines else "",
        tasks={mode: _per_task(evaluations, mode) for mode in MODES},
        success_chart=line_chart(RL_PANELS[0], metrics, x="iteration", wide=True),
        rl_charts=_charts(RL_PANELS[1:], metrics, "iteration"),
        sft_charts=_charts(SFT_PANELS, sft_metrics, "step"),
        videos={task: _embed(clips) for task, clips in videos.items()},
        overlap=any(x.get("trained_on_evaluation_states") for x in evaluations.values()),
        repeats=max((x.get("repeats", 1) for x in evaluations.values()), default=1),
        evaluations={name: (_bar(result), result) for name, result in evaluations.items()},
        timeline=timeline(
            {lane: coarsened(rows, MOST_STRIPS) for lane, rows in timed.items()},
            waiting=("wait", "idle"),
        ),
        lane_shares={lane: _shares(summed(rows)) for lane, rows in timed.items()},
        phases=phases,
        facts=plain_facts,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        unfinished.write_text(page, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _template() -> Any:
    """The page's template, which escapes whatever is put into it."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("pushcut.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    environment.filters["duration"] = _duration
    return environment.get_template("report.html.jinja")


def _headline(evaluations: Mapping[str, Mapping[str, Any]], mode: str) -> Headline:
    names = {stage: f"{stage}-{mode}" for stage in STAGES}
    found = {stage: name for stage, name in names.items() if evaluations.get(name)}
    stages = {stage: _bar(evaluations[name]) for stage, name in found.items()}
    return Headline(mode, stages, _gain_interval(evaluations.get(names["after"]) or {}))


def _gain_interval(after: Mapping[str, Any]) -> tuple[float, float] | None:
    """Interval of the gain over the baseline, which is the evaluation before."""
    differences = after.get("table", {}).get("differences")
    return tuple(differences[0]["all"]["interval"]) if differences else None


def _per_task(evaluations: Mapping[str, Mapping[str, Any]], mode: str) -> dict[str, dict[str, Bar]]:
    """Task -> stage -> rate, tasks in the order in which they were evaluated."""
    tasks: dict[str, dict[str, Bar]] = {}
    for stage in STAGES:
        per_task = evaluations.get(f"{stage}-{mode}", {}).get("per_task") or {}
        for task, result in per_task.items():
            tasks.setdefault(task, {})[stage] = _bar(result)
    return tasks


def _bar(result: Mapping[str, Any]) -> Bar:
    successes, episodes = result.get("successes", 0), result.get("episodes", 0)
    low, high = result.get("interval") or wilson(successes, episodes)
    return Bar(successes, episodes, (low, high))


def _charts(panels: Sequence[Panel], rows: Sequence[Mapping[str, Any]], x: str) -> list[str]:
    return [chart for chart in (line_chart(panel, rows, x=x) for panel in panels) if chart]


def _embed(clips: Mapping[str, Path]) -> dict[str, str]:
    """Stage -> the video as a data address; clips that are not there are left out."""
    return {
        stage: "data:video/mp4;base64," + base64.b64encode(clips[stage].read_bytes()).decode()
        for stage in STAGES
        if stage in clips and clips[stage].is_file()
    }


def _split_phases(facts: Mapping[str, str]) -> tuple[list[Share], dict]:
    """Splits facts into seconds of phases and all others."""
    seconds: dict[str, float] = {}
    plain: dict[str, str] = {}
    for name, value in facts.items():
        kind, _, phase = name.partition(": ")
        try:
            if kind != "seconds" or not phase:
                raise ValueError(name)
            seconds[phase] = float(value)
        except ValueError:
            plain[name] = value
    parts = {phase: value for phase, value in seconds.items() if phase != "total"}
    if seconds:
        plain = {"time in all": _duration(seconds.get("total", sum(parts.values())))} | plain
    return _shares(parts), plain


def _shares(seconds: Seconds) -> list[Share]:
    """Seconds of each phase; gaps are left out."""
    parts = {phase: value for phase, value in seconds.items() if phase}
    longest, total = max(parts.values(), default=0.0) or 1.0, sum(parts.values()) or 1.0
    return [Share(name, x, x / longest, x / total) for name, x in parts.items()]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
