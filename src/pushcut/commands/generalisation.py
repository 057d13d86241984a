"""`pushcut generalisation`: unseen against seen success along SFT and RL (SimpleVLA-RL, Fig. 4).

A base policy is fitted to one demonstration of each task. For each held-out task it is then
trained on all the others, once by SFT on all their demonstrations and once by RL, and copies
along both ways are evaluated on all tasks. With a group as held-out task it is pi_RL's ML45
protocol (appendix D.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pushcut.commands.protocol import (
    ProtocolConfig,
    check_more,
    counts_in,
    evaluated,
    facts_of,
    longer,
    marks,
    names_in,
    of_tasks,
    on_tasks,
    parts_of,
    to_the_end,
    with_suite,
)
from pushcut.commands.recipe import Recipe, write_json
from pushcut.config import SFTConfig
from pushcut.demos.dataset import DemoDataset
from pushcut.envs import AnyEnvConfig
from pushcut.errors import UserError
from pushcut.evaluation.leakage import OVERLAP
from pushcut.evaluation.results import EvalResult, pair, rate_of
from pushcut.learning.sft import FitConfig
from pushcut.presets import Preset
from pushcut.reporting.plots import Point, plot_generalisation
from pushcut.runs.lock import alone_in_folder
from pushcut.system.progress import say

SPLITS = 3
"""Held-out tasks, where none are named."""


@dataclass(frozen=True)
class GeneralisationConfig(ProtocolConfig):
    """SFT and RL on the seen tasks of a suite, and what they do to the unseen ones."""

    held_out: tuple[str, ...] = ()
    """What is held out in turn, one split each: a task, or a group whose tasks are held out
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


@alone_in_folder
def run_generalisation(config: GeneralisationConfig) -> dict[str, Any]:
    """Runs all splits, writes result.json and result.png, returns the result."""
    config = with_suite(config)
    groups = held_out_groups(config.train.env, config.held_out)
    recipe = Recipe.open(config)
    demonstrations = config.dataset or recipe.collect()
    splits = [Split(recipe, config, demonstrations, name, groups[name]) for name in groups]
    result = {
        "protocol": "generalisation (SimpleVLA-RL, Figure 4)",
        "base_tasks": config.base_tasks,
        "splits": [split.run() for split in splits],
        **facts_of(recipe),
    }
    write_json(recipe.out / "result.json", result)
    plot_generalisation(recipe.out / "result.png", curves_of(result), note=note_on(result))
    announce(result)
    say(f"result: {recipe.out / 'result.json'}, drawn in {recipe.out / 'result.png'}")
    return result


def held_out_groups(env: AnyEnvConfig, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
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

    recipe: Recipe
    config: GeneralisationConfig
    demonstrations: Path
    name: str
    unseen: tuple[str, ...]

    @property
    def seen(self) -> tuple[str, ...]:
        """The tasks that SFT and RL train on."""
        return tuple(task for task in self.config.train.env.spec.tasks if task not in self.unseen)

    def run(self) -> dict[str, Any]:
        """The base policy, then SFT and RL from it: counts of seen and unseen tasks."""
        suite = self.config.train.env.spec.tasks
        data = self.config.sft.data
        names = names_in(DemoDataset.open(self.demonstrations, cameras=(), data=data), suite)
        shared = self.config.base_tasks == "all"
        sft = replace(
            self.config.sft,
            dataset=self.demonstrations,
            tasks=tuple(names.values() if shared else (names[task] for task in self.seen)),
            episodes_per_task=self.config.base_episodes,
            instructions=tuple(suite.values()),
        )
        folder = "base" if shared else f"{self.name}/base"
        base = self.recipe.fine_tune(folder, f"base policy: {folder}", sft)
        further = replace(
            sft,
            fit=self.config.further_fit,
            tasks=tuple(names[task] for task in self.seen),
            episodes_per_task=None,
            policy=replace(sft.policy, path=base),
        )
        start = evaluated(self.recipe, folder, base)
        return {
            "name": self.name,
            "unseen": list(self.unseen),
            "seen": list(self.seen),
            "base": self.counted(start),
            "sft": self.along_sft(further, start),
            "rl": self.along_rl(base, start),
        }

    def along_sft(self, config: SFTConfig, start: EvalResult) -> list[dict[str, Any]]:
        """SFT goes on from the base policy: success after some of its steps."""
        every, steps = marks(config.fit.steps, self.config.points)
        folder = f"{self.name}/sft"
        title = f"SFT on all tasks but {self.name}"
        policy = self.recipe.fine_tune(folder, title, replace(config, save_every=every))
        copies = {step: policy.parent / "checkpoints" / f"{step:06d}" for step in steps[:-1]}
        copies[steps[-1]] = policy
        return [
            {"steps": step} | self.compared(f"{folder}-{step:06d}", copy, start)
            for step, copy in copies.items()
        ]

    def along_rl(self, base: Path, start: EvalResult) -> list[dict[str, Any]]:
        """RL from the base policy: success after some of its iterations."""
        train = self.config.train
        every, iterations = marks(train.iterations, self.config.points)
        train = replace(to_the_end(train), tasks=self.seen, save_every=every, keep=train.iterations)
        folder = f"{self.name}/rl"
        run = self.recipe.train(folder, train, base, where=f" on all tasks but {self.name}")
        copies = {number: run / "checkpoints" / f"{number:06d}" for number in iterations}
        return [
            {"iterations": number} | self.compared(f"{folder}-{number:06d}", copy, start)
            for number, copy in copies.items()
        ]

    def compared(self, name: str, policy: Path, start: EvalResult) -> dict[str, Any]:
        """Counts of a policy, and its paired differences from where it started."""
        result = evaluated(self.recipe, name, policy)
        change = {
            kind: pair(on_tasks(result, tasks), on_tasks(start, tasks)).to_json()
            for kind, tasks in (("seen", self.seen), ("unseen", self.unseen))
        }
        return self.counted(result) | {"change": change}

    def counted(self, result: EvalResult) -> dict[str, Any]:
        """Counts and intervals on the seen and on the unseen tasks."""
        kinds = {"seen": self.seen, "unseen": self.unseen}
        return {kind: rate_of(on_tasks(result, tasks)).to_json() for kind, tasks in kinds.items()}


def announce(result: dict[str, Any]) -> None:
    """Prints where each split began and ended."""
    for split in result["splits"]:
        say(f"\nunseen: {split['name']}")
        lines = {"base": split["base"], "SFT": split["sft"][-1], "RL": split["rl"][-1]}
        for name, line in lines.items():
            say(f"  {name:5} seen {counts_in(line['seen'])}   unseen {counts_in(line['unseen'])}")


def curves_of(result: dict[str, Any]) -> dict[str, dict[str, list[Point]]]:
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


def note_on(result: dict[str, Any]) -> str:
    """What the axes mean."""
    base = {"all": "of every task", "seen": "of the seen tasks only"}[result["base_tasks"]]
    overlap = f"; RL: {OVERLAP}" if result["trained_on_evaluation_states"] else ""
    return (
        f"both start from a base policy with demonstrations {base}; numbers: SFT steps, RL "
        f"iterations; {result['mode']} actions, {result['states_per_task']} initial states per "
        f"task; bars: 95 % Wilson{overlap}"
    )
