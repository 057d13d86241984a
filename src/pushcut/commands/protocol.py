"""What the protocols of the papers have in common: a suite, demonstrations, comparable points."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pushcut.commands.recipe import Recipe
from pushcut.config import RecipeConfig, TrainConfig
from pushcut.demos.dataset import DemoDataset
from pushcut.envs import AnyEnvConfig
from pushcut.errors import UserError
from pushcut.evaluation.results import EvalResult, LedgerLine, load_result
from pushcut.learning.sft import FitConfig
from pushcut.presets import Preset
from pushcut.runs.run import provenance

ALL_DEMONSTRATIONS = 50
"""Of each task, as in LIBERO and both papers."""
LONGER = 4
"""All demonstrations are fitted for so many times the steps of the preset, which has few."""


@dataclass(frozen=True)
class ProtocolConfig(RecipeConfig):
    """A recipe that is run in variants, on one suite of tasks."""

    tasks: tuple[str, ...] = ()
    """The suite, tasks or groups, in place of that of the preset."""
    dataset: Path | None = None
    """Demonstrations of the suite in place of those of the scripted experts."""


C = TypeVar("C", bound=ProtocolConfig)


def with_suite(config: C) -> C:
    """The config with ``config.tasks`` as its suite everywhere; UserError where parts disagree."""
    parts = {"collect": config.collect, "train": config.train, "eval": config.eval}
    envs = {name: part.env for name, part in parts.items()}
    if config.tasks:
        envs = {name: of_tasks(env, config.tasks) for name, env in envs.items()}
    suites = {tuple(env.spec.tasks) for env in envs.values()}
    if len(suites) > 1:
        raise UserError("collect, train and eval name different tasks: give the suite as --tasks")
    parts = {name: replace(part, env=envs[name]) for name, part in parts.items()}
    return replace(config, **parts)


def of_tasks(env: AnyEnvConfig, tasks: Collection[str]) -> AnyEnvConfig:
    """The environment with other tasks or groups; it knows itself which there are."""
    if not hasattr(env, "tasks"):
        kind = type(env).__name__.removesuffix("Config")
        raise UserError(
            f"{kind} has no {', '.join(tasks)}, nor any groups; it has {', '.join(env.spec.tasks)}"
        )
    return replace(env, tasks=tuple(tasks))


def parts_of(preset: Preset) -> dict[str, Any]:
    """The parts of a protocol with the settings of a preset: ``sft`` fits few demonstrations."""
    return {
        "collect": replace(preset.collect, episodes_per_task=ALL_DEMONSTRATIONS),
        "sft": replace(preset.sft, episodes_per_task=None),
        "train": preset.train,
        "eval": preset.eval,
    }


def longer(fit: FitConfig) -> FitConfig:
    """How all demonstrations are fitted."""
    return replace(fit, steps=LONGER * fit.steps)


def check_more(config: ProtocolConfig, few: int) -> None:
    """ValueError unless there are more demonstrations than the few."""
    if few < 1:
        raise ValueError(f"need at least one demonstration of each task, got {few}")
    if config.dataset is None and config.collect.episodes_per_task <= few:
        raise ValueError(
            f"all demonstrations (collect.episodes_per_task {config.collect.episodes_per_task}) "
            f"must be more of each task than the few ({few})"
        )


def names_in(dataset: DemoDataset, suite: Mapping[str, str]) -> dict[str, str]:
    """Task of the suite -> what the dataset calls it: its name or, without names, instruction."""
    named = any(episode.task_name for episode in dataset.episodes)
    return {task: task if named else instruction for task, instruction in suite.items()}


def to_the_end(train: TrainConfig) -> TrainConfig:
    """RL that only the protocol evaluates; a curve that stays flat is a result here."""
    never = train.iterations + 1
    return replace(train, patience=never, evaluation=replace(train.evaluation, every=0))


def marks(total: int, points: int) -> tuple[int, list[int]]:
    """So many marks along ``total`` steps, evenly spaced, the last at the end; and their distance.

    Fewer where there are not so many steps.
    """
    every = math.ceil(total / points)
    return every, [*range(every, total, every), total]


def evaluated(recipe: Recipe, name: str, policy: Path) -> EvalResult:
    """The evaluation called ``name``, played unless it is there."""
    file = recipe.out / "eval" / f"{name.replace('/', '-')}.json"
    recipe.evaluate(f"eval {name}", f"evaluation: {name}", file, recipe.config.eval, policy)
    return load_result(file)[0]


def on_tasks(result: EvalResult, tasks: Collection[str]) -> list[LedgerLine]:
    """The episodes of some tasks."""
    return [line for line in result.ledger if line.task in tasks]


def facts_of(recipe: Recipe) -> dict[str, Any]:
    """What the result of a protocol says besides its counts."""
    config = recipe.config
    own_states = config.eval.first < config.eval.env.spec.fixed_inits
    return {
        "algorithm": type(config.train.algorithm).__name__,
        "iterations": config.train.iterations,
        "mode": config.eval.mode,
        "states_per_task": config.eval.episodes_per_task,
        "repeats": config.eval.repeats,
        "train_init": config.train.train_init,
        "trained_on_evaluation_states": own_states and config.train.train_init == "benchmark",
        "seed": config.seed,
        "seconds": recipe.seconds,
        "commits": recipe.commits,
        **provenance(),
        "cores": os.cpu_count(),
    }


def counts_in(counts: Mapping[str, Any]) -> str:
    """Success with counts and interval, short."""
    successes, episodes = counts["successes"], counts["episodes"]
    low, high = (100 * bound for bound in counts["interval"])
    return f"{100 * successes / episodes:.1f} % ({successes}/{episodes}; {low:.0f} to {high:.0f})"
