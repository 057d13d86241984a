"""`pushcut report`: a run folder as one HTML page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.evaluation.leakage import OVERLAP, saw_evaluation_states
from pushcut.reporting.report import write_report
from pushcut.runs.run import read_metrics


def run_report(run: Path) -> Path:
    """Writes RUN/report.html, a page with the run's curves and results.

    Args:
        run: Folder of `pushcut train`, `sft` or `quickstart`.
    """
    folder = run
    summary = folder / "summary.json"
    if summary.exists():
        return _quickstart_report(folder, json.loads(summary.read_text()))
    if not (folder / "metrics.jsonl").exists():
        raise UserError(f"{folder} is no run: it has neither metrics.jsonl nor summary.json")
    config = json.loads((folder / "config.json").read_text())
    facts = {name: str(config[name]) for name in ("command", "commit", "machine", "pushcut")}
    if saw_evaluation_states(folder):
        facts["initial states"] = f"the benchmark's own: {OVERLAP}; validated here on others"
    return write_report(
        folder / "report.html",
        title=f"pushcut run {folder.name}",
        metrics=[line for line in read_metrics(folder / "metrics.jsonl") if _is_rl(line)],
        sft_metrics=[_by_step(x) for x in read_metrics(folder / "metrics.jsonl") if not _is_rl(x)],
        evaluations=_first_and_last(folder / "eval"),
        videos={},
        facts=facts,
    )


def _quickstart_report(folder: Path, summary: dict[str, Any]) -> Path:
    """The page of the whole recipe."""
    evaluations = {
        f"{stage}-{mode}": summary[f"{stage}{suffix}"]
        for stage in ("before", "after")
        for mode, suffix in (("greedy", ""), ("sampled", "_sampled"))
    }
    facts = {f"seconds: {name}": f"{value:.1f}" for name, value in summary["seconds"].items()}
    facts |= {
        "command": " ".join(summary["command"]),
        "commit": str(summary["commit"]),
        "machine": f"{summary['machine']}, {summary['cores']} cores",
    }
    return write_report(
        folder / "report.html",
        title=f"pushcut {folder.name}",
        metrics=read_metrics(folder / "rl" / "metrics.jsonl"),
        sft_metrics=[_by_step(line) for line in read_metrics(folder / "sft" / "metrics.jsonl")],
        evaluations=evaluations,
        videos=_videos(folder),
        facts=facts,
    )


def _is_rl(line: dict[str, Any]) -> bool:
    # The last line may be an evaluation alone.
    return any(name.startswith(("success_rate_sampled", "eval_")) for name in line)


def _by_step(line: dict[str, Any]) -> dict[str, Any]:
    """Renames iterations to steps, which fine-tuning counts."""
    return {"step": line["iteration"], **line}


def _first_and_last(folder: Path) -> dict[str, dict[str, Any]]:
    """The first and last evaluation of each mode as before and after."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        stage = "after" if f"before-{result['mode']}" in found else "before"
        found[f"{stage}-{result['mode']}"] = result
    return found


def _videos(folder: Path) -> dict[str, dict[str, Path]]:
    """Task -> {"before": mp4, "after": mp4} from the names that quickstart gives."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / "videos").glob("*.mp4")):
        stage, _, task = path.stem.partition("-")
        found.setdefault(task, {})[stage] = path
    return found
