"""`pushcut quickstart`: the whole recipe, from demonstrations to a report."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pushcut.checkpoint import latest
from pushcut.commands.collect import run_collect
from pushcut.commands.evaluate import record_videos, run_eval
from pushcut.commands.report import run_report
from pushcut.commands.sft import run_sft
from pushcut.config import EvalConfig, QuickstartConfig
from pushcut.errors import UserError
from pushcut.progress import say
from pushcut.run import provenance
from pushcut.trainer import train

PHASES = "phases.json"
"""File that says which phases are done and how long they took."""


@dataclass
class Recipe:
    """The phases of a quickstart folder; a phase that finished is not run again."""

    config: QuickstartConfig
    seconds: dict[str, float] = field(default_factory=dict)
    """Phase -> seconds so far, interrupted attempts included."""
    done: list[str] = field(default_factory=list)
    """Phases that finished."""

    @property
    def out(self) -> Path:
        """Folder of the recipe."""
        return self.config.out

    def phase(self, name: str, title: str, result: Path, action: Callable[[], Any]) -> None:
        """Runs a phase unless it is done and its ``result`` there, and notes its seconds."""
        if name in self.done and result.exists():
            say(f"{title}: done before")
            return
        say(f"\n=== {title}")
        start = time.perf_counter() - self.seconds.get(name, 0.0)
        try:
            action()
            self.done.append(name)
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 1)
            _write_json(self.out / PHASES, {"seconds": self.seconds, "done": self.done})

    def evaluate(self, stage: str, checkpoint: Path) -> None:
        """Evaluates a checkpoint greedily and with sampled actions."""
        for mode in ("greedy", "sampled"):
            out = self.out / "eval" / f"{stage}-{mode}.json"
            config = replace(self._eval_config(checkpoint), mode=mode, out=out)
            title = f"evaluation {stage} RL, {mode} actions"
            self.phase(f"eval_{stage}_{mode}", title, out, partial(_evaluate_anew, config, out))

    def videos(self, stage: str, checkpoint: Path) -> None:
        """One video of each task."""
        folder, config = self.out / "videos", self._eval_config(checkpoint)
        title = f"videos {stage} RL"
        self.phase(f"videos_{stage}", title, folder, lambda: record_videos(config, folder, stage))

    def fine_tune(self, demonstrations: Path) -> None:
        """SFT; an unfinished attempt is thrown away."""
        out = self.out / "sft"
        shutil.rmtree(out, ignore_errors=True)
        config = self.config
        run_sft(replace(config.sft, dataset=demonstrations, seed=config.seed, out=out))

    def train(self, policy: Path) -> None:
        """RL; an interrupted run goes on from its newest checkpoint."""
        out = self.out / "rl"
        checkpointed = any((out / "checkpoints").glob("[0-9]*"))
        if not checkpointed:
            shutil.rmtree(out, ignore_errors=True)
        source = replace(self.config.train.policy, path=policy)
        config = replace(self.config.train, policy=source, seed=self.config.seed)
        train(replace(config, out=out, resume=checkpointed))

    def _eval_config(self, checkpoint: Path) -> EvalConfig:
        source = replace(self.config.train.policy, path=checkpoint)
        return replace(self.config.eval, policy=source)


def run_quickstart(config: QuickstartConfig) -> dict[str, Any]:
    """Runs the recipe, writes summary.json and report.html, returns the summary."""
    recipe = open_recipe(config)
    out = recipe.out
    demos, before = out / "demonstrations", out / "sft" / "policy"
    recipe.phase(
        "collect",
        "demonstrations by scripted experts",
        demos,
        lambda: run_collect(replace(config.collect, seed=config.seed, out=demos)),
    )
    recipe.phase("sft", "supervised fine-tuning", before, lambda: recipe.fine_tune(demos))
    recipe.evaluate("before", before)
    method = type(config.train.algorithm).__name__
    recipe.phase("rl", f"{method} from outcome reward", out / "rl", lambda: recipe.train(before))
    after = latest(out / "rl" / "checkpoints") / "policy"
    recipe.evaluate("after", after)
    checkpoints = {"before": before, "after": after}
    for stage, checkpoint in checkpoints.items():
        recipe.videos(stage, checkpoint)
    summary = summarise(recipe, checkpoints)
    announce(summary, run_report(out))
    return summary


def open_recipe(config: QuickstartConfig) -> Recipe:
    """A new recipe, or with ``resume`` what is there."""
    phases = config.out / PHASES
    if config.out.exists() and any(config.out.iterdir()) and not config.resume:
        raise UserError(f"{config.out} exists; continue it with --resume or choose another --out")
    config.out.mkdir(parents=True, exist_ok=True)
    return Recipe(config, **(json.loads(phases.read_text()) if phases.exists() else {}))


def summarise(recipe: Recipe, checkpoints: dict[str, Path]) -> dict[str, Any]:
    """Writes summary.json: both evaluations, seconds per phase, checkpoints."""
    stages = {
        f"{stage}{suffix}": _read_json(recipe.out / "eval" / f"{stage}-{mode}.json")
        for stage in ("before", "after")
        for mode, suffix in (("greedy", ""), ("sampled", "_sampled"))
    }
    summary = {
        **stages,
        "gain": _rate(stages["after"]) - _rate(stages["before"]),
        "seconds": recipe.seconds | {"total": round(sum(recipe.seconds.values()), 1)},
        **{f"checkpoint_{stage}": str(path) for stage, path in checkpoints.items()},
        **provenance(),
        "cores": os.cpu_count(),
    }
    _write_json(recipe.out / "summary.json", summary)
    return summary


def announce(summary: dict[str, Any], report: Path) -> None:
    """Prints the result."""
    say("")
    for suffix, mode in (("", "greedy"), ("_sampled", "sampled")):
        before, after = summary[f"before{suffix}"], summary[f"after{suffix}"]
        say(f"{mode:8} before {_counted(before)}   after {_counted(after)}")
    say(f"gain (greedy): {100 * summary['gain']:+.1f} points")
    say(f"time: {summary['seconds']['total']:.0f} s; report: {report}")


def _evaluate_anew(config: EvalConfig, out: Path) -> None:
    """Evaluates; what an attempt that was cut off wrote is thrown away."""
    out.unlink(missing_ok=True)
    run_eval(config)


def _rate(result: dict[str, Any]) -> float:
    return result["successes"] / result["episodes"]


def _counted(result: dict[str, Any]) -> str:
    low, high = result["interval"]
    counts = f"{result['successes']}/{result['episodes']}"
    return f"{_rate(result):.1%} ({counts}, {low:.1%} to {high:.1%})"


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
