"""`pushcut generalisation`: unseen against seen success along SFT and RL (SimpleVLA-RL, Fig. 4).

A base policy is fitted to one demonstration of each task. For each held-out task it is then
trained on all the others, once by SFT on all their demonstrations and once by RL, and copies
along both ways are evaluated on all tasks. With a group as held-out task it is pi_RL's ML45
protocol (appendix D.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pushcut.commands.protocol import (
    Protocol,
    ProtocolConfig,
    Study,
    check_more,
    counts_in,
    gain_in,
    longer,
    marks,
    of_tasks,
    overlap_in,
    parts_of,
)  # fmt: skip
from pushcut.envs.base import EnvConfig
from pushcut.errors import UserError
from pushcut.evaluation.results import EvalResult, LedgerLine, pair, rate_of
from pushcut.evaluation.tables import markdown_line
from pushcut.learning.sft import FitConfig
from pushcut.presets import Preset
from pushcut.reporting.plots import Point, plot_generalisation

SPLITS = 3
"""Held-out tasks, where none are named."""


@dataclass(frozen=True)
class GeneralisationConfig(ProtocolConfig):
    """SFT and RL on the seen tasks of a suite, and what they do to the unseen ones."""

    held_out: tuple[str, ...] = ()
    """Tasks that are held out in turn, one split each: a task, or a group whose tasks are held out
    together (ml45-test). None: three tasks, evenly spaced over the suite."""
    base_tasks: Literal["all", "seen"] = "all"
    """Tasks that the base policy has demonstrations of: all of the suite, as SimpleVLA-RL's
    one-trajectory base; or the seen ones, so that the others are unseen from the start."""
    base_episodes: int = 1
    """Demonstrations of each task that the base policy is fitted to, as ``sft`` says."""
    further_fit: FitConfig = FitConfig()
    """How SFT goes on from the base policy, on all demonstrations of the seen tasks."""
    points: int = 4
    """Evaluations along each training, besides that of the base policy."""
    out: Path = Path("runs/generalisation")
    """Folder of the whole protocol."""

    def __post_init__(self) -> None:
        if self.points < 1:
            raise ValueError(f"points must be >= 1, got {self.points}")
        check_more(self, self.base_episodes)

    @staticmethod
    def of(preset: Preset) -> GeneralisationConfig:
        """The protocol with the settings of a preset."""
        return GeneralisationConfig(**parts_of(preset), further_fit=longer(preset.sft.fit))


def play(protocol: Protocol, config: GeneralisationConfig) -> dict[str, Any]:
    """All splits."""
    groups = held_out_groups(config.train.env, config.held_out)
    splits = [Split(protocol, config, name, tasks).run() for name, tasks in groups.items()]
    return {"base_tasks": config.base_tasks, "splits": splits}


def held_out_groups(env: EnvConfig, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Name of each split -> the tasks it holds out; UserError where a split cannot be."""
    suite = list(env.spec.tasks)
    if not names:
        places = ((2 * split + 1) * len(suite) // (2 * SPLITS) for split in range(SPLITS))
        names = [suite[place] for place in dict.fromkeys(places)]
    groups = {
        name: (name,) if name in suite else tuple(of_tasks(env, [name]).spec.tasks)
        for name in names
    }
    for name, tasks in groups.items():
        if outside := [task for task in tasks if task not in suite]:
            raise UserError(
                f"cannot hold out {outside}: not in the suite; it has {', '.join(suite)}"
            )
        if len(tasks) == len(suite):
            raise UserError(f"holding out {name} leaves no task of the suite to train on")
    return groups


@dataclass(frozen=True)
class Split:
    """One choice of unseen tasks."""

    protocol: Protocol
    config: GeneralisationConfig
    name: str
    unseen: tuple[str, ...]

    @property
    def seen(self) -> tuple[str, ...]:
        """The tasks that SFT and RL train on."""
        return tuple(task for task in self.protocol.suite if task not in self.unseen)

    def run(self) -> dict[str, Any]:
        """The base policy, then SFT and RL from it: counts of seen and unseen tasks."""
        shared = self.config.base_tasks == "all"
        suite = self.protocol.suite
        sft = self.protocol.sft_on(
            suite if shared else self.seen,
            episodes_per_task=self.config.base_episodes,
            instructions=tuple(suite.values()),
        )
        folder = "base" if shared else f"{self.name}/base"
        base = self.protocol.fine_tune(folder, f"base policy: {folder}", sft)
        start = self.protocol.evaluated(folder, base)
        return {
            "name": self.name,
            "unseen": list(self.unseen),
            "seen": list(self.seen),
            "base": self.counted(start),
            "sft": self.along_sft(base, start),
            "rl": self.along_rl(base, start),
        }

    def along_sft(self, base: Path, start: EvalResult) -> list[dict[str, Any]]:
        """SFT goes on from the base policy: success after some of its steps."""
        fit = self.config.further_fit
        every, steps = marks(fit.steps, self.config.points)
        further = self.protocol.sft_on(
            self.seen,
            fit=fit,
            episodes_per_task=None,
            instructions=tuple(self.protocol.suite.values()),
            policy=replace(self.config.sft.policy, path=base),
            save_every=every,
        )
        folder = f"{self.name}/sft"
        policy = self.protocol.fine_tune(folder, f"SFT on all tasks but {self.name}", further)
        copies = {step: policy.parent / "checkpoints" / f"{step:06d}" for step in steps}
        return self.curve("steps", folder, copies | {steps[-1]: policy}, start)

    def along_rl(self, base: Path, start: EvalResult) -> list[dict[str, Any]]:
        """RL from the base policy: success after some of its iterations."""
        total = self.config.train.iterations
        every, iterations = marks(total, self.config.points)
        folder, where = f"{self.name}/rl", f" on all tasks but {self.name}"
        run = self.protocol.train_from(
            base, folder, where, tasks=self.seen, save_every=every, keep=total
        )
        copies = {number: run / "checkpoints" / f"{number:06d}" for number in iterations}
        return self.curve("iterations", folder, copies, start)

    def curve(
        self, unit: str, folder: str, copies: Mapping[int, Path], start: EvalResult
    ) -> list[dict[str, Any]]:
        """Counts along a training, and paired differences from where it started."""
        points = []
        for number, copy in copies.items():
            result = self.protocol.evaluated(f"{folder}-{number:06d}", copy)
            before = self.by_kind(start)
            change = {k: pair(new, before[k]).to_json() for k, new in self.by_kind(result).items()}
            points.append({unit: number} | self.counted(result) | {"change": change})
        return points

    def counted(self, result: EvalResult) -> dict[str, Any]:
        """Counts and intervals on the seen and on the unseen tasks."""
        return {kind: rate_of(lines).to_json() for kind, lines in self.by_kind(result).items()}

    def by_kind(self, result: EvalResult) -> dict[str, list[LedgerLine]]:
        """The episodes on the seen and on the unseen tasks."""
        kinds = {"seen": self.seen, "unseen": self.unseen}
        return {k: [line for line in result.ledger if line.task in v] for k, v in kinds.items()}


def lines_of(result: Mapping[str, Any]) -> Iterator[str]:
    """The table in Markdown: the base policy, and every point along SFT and RL."""
    yield f"Success ({result['mode']} actions, 95 % intervals) on seen and held-out tasks, and what"
    yield "changed from the base policy on the same episodes"
    yield ""
    heads = ("held out", "policy", "seen", "unseen", "change, seen", "change, unseen")
    yield markdown_line(list(heads))
    yield markdown_line(["---", "---", *["---:"] * 4])
    for split in result["splits"]:
        points = [("base", split["base"])]
        points += [(f"SFT, {point['steps']} steps", point) for point in split["sft"]]
        points += [
            (f"{result['algorithm']}, {point['iterations']} iterations", point)
            for point in split["rl"]
        ]
        for name, point in points:
            change = point.get("change")
            gains = [gain_in(change[kind]) if change else "–" for kind in ("seen", "unseen")]
            counts = [counts_in(point[kind]) for kind in ("seen", "unseen")]
            yield markdown_line([split["name"], name, *counts, *gains])
    if overlap := overlap_in(result):
        yield from ("", f"{overlap}.")


def curves_of(result: Mapping[str, Any]) -> dict[str, dict[str, list[Point]]]:
    """Split -> method -> points of its curve, from the base policy on."""
    methods = {"SFT": ("sft", "steps"), f"RL ({result['algorithm']})": ("rl", "iterations")}
    return {
        split["name"]: {
            method: [
                Point.of(line, str(line.get(unit, ""))) for line in (split["base"], *split[key])
            ]
            for method, (key, unit) in methods.items()
        }
        for split in result["splits"]
    }


def note_on(result: Mapping[str, Any]) -> str:
    """Caption that says what the axes mean."""
    base = {"all": "of every task", "seen": "of the seen tasks only"}[result["base_tasks"]]
    overlap = overlap_in(result)
    return (
        f"both start from a base policy with demonstrations {base}; numbers: SFT steps, RL "
        f"iterations; {result['mode']} actions, {result['states_per_task']} initial states per "
        f"task; bars: 95 % Wilson{overlap and '; '}{overlap}"
    )


def draw(path: Path, result: Mapping[str, Any]) -> None:
    """Success on the unseen tasks over success on the seen ones."""
    plot_generalisation(path, curves_of(result), note=note_on(result))


STUDY = Study(
    "generalisation (SimpleVLA-RL, Figure 4)",
    GeneralisationConfig,
    play,
    lines_of,
    draw,
    check=lambda config: held_out_groups(config.train.env, config.held_out),
)
