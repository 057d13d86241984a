"""`pushcut report`: a run, a recipe, a protocol or a folder of results as one HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pushcut.commands.preset_of_run import changes_of
from pushcut.commands.report_parts import (
    Compared,
    by_name,
    films_in,
    first_and_last,
    newest_with_baseline,
    results_in,
    scenes_in,
)
from pushcut.commands.report_several import compared
from pushcut.commands.report_steps import efficiency_of
from pushcut.errors import UserError
from pushcut.evaluation.leakage import OVERLAP, run_folder_of, saw_evaluation_states
from pushcut.reporting.comparison import comparison_page
from pushcut.reporting.facts import hyper_parameters, provenance_facts, settings
from pushcut.reporting.page import write_page
from pushcut.reporting.report import Report, report_page
from pushcut.reporting.scenes import Clip, Scene
from pushcut.reporting.trained import Episodes
from pushcut.runs.episodes import read_episodes
from pushcut.runs.run import read_metrics

PAGE = "report.html"


def run_report(runs: tuple[Path, ...], out: Path | None = None) -> Path:
    """Writes a page with the curves, results and videos of a run, or of several side by side.

    Args:
        runs: Folder of `pushcut train`, `sft`, `quickstart`, a protocol, or results of `eval`;
            several trainings for a comparison, in which seeds of one configuration are a curve.
        out: File of the page; RUN/report.html by default, of several runs ./report.html.
    """
    if out is not None and out.suffix != ".html":
        raise UserError(f"--out {out}: the page is HTML, call it {out.with_suffix('.html')}")
    page = page_of(runs)
    return write_page(out or (runs[0] / PAGE if len(runs) == 1 else Path(PAGE)), page)


def page_of(runs: Sequence[Path]) -> str:
    """The page of a run, or of several; UserError where one of them is none."""
    if not runs:
        raise UserError("which run? give its folder, or those of several")
    folders = {folder.absolute(): folder for folder in runs}
    if len(folders) < len(runs):
        raise UserError("a run is given twice")
    reports = {folder: report_of(folder) for folder in folders.values()}
    if len(reports) == 1:
        return report_page(reports[runs[0]])
    return comparison_page(compared(reports))


def report_of(folder: Path) -> Report:
    """What the page of a folder shows; UserError where there is nothing to show."""
    if folder.is_file():
        raise UserError(f"{folder} is a file: give its folder, {folder.parent}")
    summary, result = folder / "summary.json", folder / "result.json"
    if summary.exists():
        return _quickstart(folder, json.loads(summary.read_text()))
    if (folder / "metrics.jsonl").exists() or _has_begun(folder):
        return _run(folder)
    if result.exists() and "protocol" in (content := json.loads(result.read_text())):
        return _protocol(folder, content)
    if results_in(folder):
        return _results(folder)
    raise UserError(f"{folder} is no run: {_what_to_give(folder)}")


def _has_begun(folder: Path) -> bool:
    """Whether a training has its folder, but no line of metrics yet."""
    file = folder / "config.json"
    if not file.is_file():
        return False
    content = json.loads(file.read_text())
    config = content.get("config") if isinstance(content, dict) else None
    return isinstance(config, dict) and config.get("type") in ("TrainConfig", "SFTConfig")


def _what_to_give(folder: Path) -> str:
    """What is near a folder that is no run."""
    if not folder.exists():
        return "it does not exist; give the folder of a run"
    near = [path.parent for path in sorted(folder.glob("*/metrics.jsonl"))]
    near += [path.parent for path in sorted(folder.glob("*/summary.json"))]
    if near:
        return f"give one of the runs in it: {', '.join(map(str, near))}"
    if (above := run_folder_of(folder)) not in (None, folder.absolute()):
        return f"give the run that it belongs to, {above}"
    return (
        "give the folder of a run (train, sft, quickstart), of a finished protocol, or of results "
        "that `pushcut eval` wrote"
    )


def _run(folder: Path) -> Report:
    """The page of a training or a fine-tuning."""
    content = json.loads((folder / "config.json").read_text())
    config = content["config"]
    facts = provenance_facts(content) | hyper_parameters(config)
    if saw_evaluation_states(folder):
        facts["initial states"] = f"the benchmark's own: {OVERLAP}; validated here on others"
    lines = read_metrics(folder / "metrics.jsonl")
    episodes = _that_count(folder, lines)
    results = results_in(folder / "eval")
    played = [result for result in results if not result.in_training]
    compared = newest_with_baseline(played, _results_before(config))
    rl = "algorithm" in config
    if rl:
        compared = _or_training(compared, first_and_last(x for x in results if x.in_training))
    others = {x.path.stem: x.content for x in played if x not in compared.results}
    return Report(
        title=f"pushcut run {folder.absolute().name}",
        kind="rl" if rl else "sft",
        metrics=[line for line in lines if _is_rl(line)],
        episodes=episodes,
        efficiency=efficiency_of(folder, episodes, results, compared.named),
        sft_metrics=[_by_step(line) for line in lines if not _is_rl(line)],
        evaluations=compared.evaluations | others,
        gains=compared.gains,
        stage_names={} if compared.before else {"after": "policy"},
        films=films_in(folder),
        videos=compared.scenes,
        facts=facts,
        settings=list(settings(config)),
        beyond_preset=changes_of(content),
    )


def _results_before(config: Mapping[str, Any]) -> list[Any]:
    """Results of the policy that a training started from."""
    start = (config.get("policy") or {}).get("path")
    run = run_folder_of(Path(start)) if start else None
    return [x for x in results_in(run / "eval") if not x.in_training] if run else []


def _or_training(played: Compared, training: Compared) -> Compared:
    """What `pushcut eval` compared, or else the first and last of the training, for each mode."""
    before, after = dict(training.before), dict(training.after)
    for mode, result in played.after.items():
        if mode in played.before or mode not in before:
            after[mode] = result
            before.pop(mode, None)
            if mode in played.before:
                before[mode] = played.before[mode]
    return Compared(before, after)


def _quickstart(folder: Path, summary: dict[str, Any]) -> Report:
    """The page of the whole recipe."""
    evaluations = {
        f"{stage}-{mode}": summary[f"{stage}{suffix}"]
        for stage in ("before", "after")
        for mode, suffix in (("greedy", ""), ("sampled", "_sampled"))
    }
    facts = {f"seconds: {name}": f"{value:.1f}" for name, value in summary["seconds"].items()}
    facts |= provenance_facts(summary)
    file = folder / "config.json"
    content = json.loads(file.read_text()) if file.exists() else {}
    config = content.get("config", {})
    facts |= {k: v for k, v in hyper_parameters(config).items() if k == "seed"}
    for part in ("sft", "train"):
        own = hyper_parameters(config.get(part, {}), f"{part}: ")
        facts |= {name: line for name, line in own.items() if name != f"{part}: seed"}
    lines = read_metrics(folder / "rl" / "metrics.jsonl")
    episodes = _that_count(folder / "rl", lines)
    compared, played = by_name(results_in(folder / "eval")), results_in(folder / "rl" / "eval")
    return Report(
        title=f"pushcut {folder.absolute().name}",
        metrics=_with_held_out(lines, evaluations),
        episodes=episodes,
        efficiency=efficiency_of(folder / "rl", episodes, played, compared.named),
        sft_metrics=[_by_step(line) for line in read_metrics(folder / "sft" / "metrics.jsonl")],
        evaluations=evaluations,
        gains=compared.gains,
        films=films_in(folder),
        videos=_videos(folder / "videos"),
        facts=facts,
        settings=list(settings(config)),
        beyond_preset=changes_of(content),
    )


def _with_held_out(
    lines: list[dict[str, Any]], evaluations: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The lines of a training, with evaluations before and after it where it has none itself."""
    if not lines:
        return lines
    places = {"before": lines[0]["iteration"], "after": lines[-1]["iteration"] + 1}
    added = []
    for name, result in evaluations.items():
        stage, _, mode = name.partition("-")
        key = f"eval_{mode}_success_rate"
        if not result.get("episodes") or any(key in line for line in lines):
            continue
        point = {key: result["successes"] / result["episodes"]}
        for task, counts in (result.get("per_task") or {}).items():
            point[f"{key}/{task}"] = counts["successes"] / counts["episodes"]
        added.append({"iteration": places[stage], **point})
    return sorted([*lines, *added], key=lambda line: line["iteration"])


def _protocol(folder: Path, content: dict[str, Any]) -> Report:
    """The page of a protocol: its table or plot, and every evaluation."""
    table, picture = folder / "result.md", folder / "result.png"
    file = folder / "config.json"
    stored = json.loads(file.read_text()) if file.exists() else {}
    facts = {f"seconds: {name}": f"{x:.1f}" for name, x in content.get("seconds", {}).items()}
    names = ("algorithm", "iterations", "mode", "states_per_task", "repeats", "seed")
    facts |= {name.replace("_", " "): str(content[name]) for name in names if name in content}
    return Report(
        title=f"pushcut {content['protocol']}",
        kind="protocol",
        evaluations={result.path.stem: result.content for result in results_in(folder / "eval")},
        facts=facts | provenance_facts(content),
        settings=list(settings(stored.get("config", {}))),
        beyond_preset=changes_of(stored),
        picture=picture if picture.exists() else None,
        text=table.read_text() if table.exists() else "",
    )


def _results(folder: Path) -> Report:
    """The page of a folder of results: the newest of each mode, and all others."""
    results = results_in(folder)
    compared = by_name(results)
    if not compared.before or not compared.after:
        compared = newest_with_baseline(results, ())
    newest = next(iter(compared.after.values()), results[-1])
    others = {x.path.stem: x.content for x in results if x not in compared.results}
    facts = provenance_facts(newest.content)
    for name in ("policy", "env"):
        if isinstance(newest.content.get(name), dict):
            facts |= {f"{name}: {k}": v for k, v in settings(newest.content[name])}
    return Report(
        title=f"pushcut results in {folder.absolute().name}",
        kind="evaluation",
        evaluations=compared.evaluations | others,
        gains=compared.gains,
        stage_names={"before": "baseline", "after": "policy"},
        films=films_in(folder),
        videos=compared.scenes,
        facts=facts,
    )


def _that_count(run: Path, lines: Sequence[Mapping[str, Any]]) -> Episodes:
    """The episodes of a training; of streams the first alone, as in its success rate."""
    episodes = read_episodes(run / "episodes.jsonl")
    if not any("success_rate_all_episodes" in line for line in lines):
        return episodes
    return {at: [one for one in own if one.member == 0] for at, own in episodes.items()}


def _is_rl(line: dict[str, Any]) -> bool:
    # The last line may be an evaluation alone.
    return any(name.startswith(("success_rate_sampled", "eval_")) for name in line)


def _by_step(line: dict[str, Any]) -> dict[str, Any]:
    """Renames iterations to steps, which fine-tuning counts."""
    return {"step": line["iteration"], **line}


def _videos(folder: Path) -> list[Scene]:
    """The videos of a recipe; those of an older one are named before-TASK.mp4, after-TASK.mp4."""
    if scenes := scenes_in({stage: folder / stage for stage in ("before", "after")}):
        return scenes
    found: dict[str, dict[str, Clip]] = {}
    for path in sorted(folder.glob("*.mp4")):
        stage, _, task = path.stem.partition("-")
        found.setdefault(task, {})[stage] = Clip(path)
    return [Scene(task, clips=clips) for task, clips in found.items()]
