"""Base of the papers' protocols: a suite, its demonstrations, comparable points."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from pushcut.commands.recipe import Recipe, write_json
from pushcut.commands.sft_start import first_policy, open_dataset
from pushcut.config import RecipeConfig, SFTConfig
from pushcut.demos.dataset import DemoDataset
from pushcut.envs.base import EnvConfig
from pushcut.errors import UserError
from pushcut.evaluation.leakage import OVERLAP
from pushcut.evaluation.results import EvalResult, pair
from pushcut.learning.checkpoint import latest
from pushcut.learning.sft import FitConfig
from pushcut.presets import Preset
from pushcut.runs.lock import alone_in_folder
from pushcut.system.progress import say

ALL_DEMONSTRATIONS = 50
"""Demonstrations of each task, as in LIBERO and both papers."""
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


@dataclass
class Protocol(Recipe[ProtocolConfig]):
    """A recipe in variants that share a suite, its demonstrations and its held-out states."""

    @property
    def suite(self) -> Mapping[str, str]:
        """Task -> instruction."""
        return self.config.train.env.spec.tasks

    @cached_property
    def demonstrations(self) -> DemoDataset:
        """Demonstrations that the config names, or else those of the scripted experts."""
        folder = self.config.dataset or self.collect()
        return DemoDataset.open(folder, cameras=(), data=self.config.sft.data)

    def sft_on(self, tasks: Iterable[str], **changes: Any) -> SFTConfig:
        """SFT on the demonstrations of some tasks of the suite."""
        # Without names, a dataset calls its tasks by their instructions.
        named = any(episode.task_name for episode in self.demonstrations.episodes)
        names = tuple(task if named else self.suite[task] for task in tasks)
        path = self.demonstrations.info.path
        return replace(self.config.sft, dataset=(path,), tasks=names, **changes)

    def all_of_suite(self) -> tuple[SFTConfig, DemoDataset]:
        """SFT on all demonstrations of the suite, and these."""
        sft = self.sft_on(self.suite)
        return sft, self.demonstrations.only(sft.tasks)

    def train_from(self, policy: Path, name: str, where: str, **changes: Any) -> Path:
        """RL in OUT/NAME that only the protocol evaluates; a flat curve is a result here."""
        train = self.config.train
        never = train.iterations + 1
        quiet = replace(train.evaluation, every=0)
        train = replace(train, patience=never, evaluation=quiet, **changes)
        return self.train(name, train, policy, where)

    def seeded(self, seed: int):  # beartype knows no Self here
        """A protocol in this folder, with these phases, that fits and trains with another seed."""
        return replace(self, config=replace(self.config, seed=seed))

    def untrained(self, name: str, title: str, sft: SFTConfig) -> Path:
        """The policy of SFT before its first step, in OUT/NAME; returns the policy's folder.

        A new one is as random as SFT would begin with; it scales states and actions by the
        statistics of the demonstrations and knows the words of their instructions.
        """
        out = self.out / name

        def action() -> None:
            shutil.rmtree(out, ignore_errors=True)
            config = replace(sft, seed=self.config.seed)
            first_policy(config, open_dataset(config)).save_pretrained(out / "policy")

        self.phase(name, title, out / "policy", action, part="sft")
        return out / "policy"

    def before_and_after(self, name: str, start: Path, where: str) -> dict[str, Any]:
        """RL in OUT/NAME from a policy; counts of both, and the paired gain, of each task too."""
        run = self.train_from(start, f"{name}/rl", where)
        first = self.evaluated(f"{name}-sft", start)
        last = self.evaluated(f"{name}-rl", latest(run / "checkpoints") / "policy")
        gains = {
            task: pair(*([x for x in one.ledger if x.task == task] for one in (last, first)))
            for task in first.per_task
        }
        per_task = {task: gain.to_json() for task, gain in gains.items()}
        return {
            "sft": counted(first),
            "sft_rl": counted(last),
            "gain": pair(last.ledger, first.ledger).to_json() | {"per_task": per_task},
        }

    def evaluated(self, name: str, policy: Path) -> EvalResult:
        """The evaluation called ``name``, played unless it is there."""
        file = self.out / "eval" / f"{name.replace('/', '-')}.json"
        return self.evaluate(f"eval {name}", f"evaluation: {name}", file, self.config.eval, policy)

    def write(self, protocol: str, **content: Any) -> dict[str, Any]:
        """Writes result.json: what was found, and how it was run."""
        config = self.config
        own_states = config.eval.first < config.eval.env.spec.fixed_inits
        result = {
            "protocol": protocol,
            **content,
            "algorithm": type(config.train.algorithm).__name__,
            "iterations": config.train.iterations,
            "mode": config.eval.mode,
            "states_per_task": config.eval.episodes_per_task,
            "repeats": config.eval.repeats,
            "train_init": config.train.train_init,
            "trained_on_evaluation_states": own_states and config.train.train_init == "benchmark",
            "seed": config.seed,
            **self.facts(),
        }
        write_json(self.out / "result.json", result)
        return result


@dataclass(frozen=True)
class Study(Generic[C]):
    """One of the papers' protocols: what is played, and how its result is told.

    Trainings and evaluations are phases in one folder: what was stopped goes on with ``resume``.
    """

    title: str
    kind: type[C]
    """Class of its config."""
    play: Callable[[Protocol, C], dict[str, Any]]
    """Runs everything; what its result has, besides how it was run."""
    lines: Callable[[Mapping[str, Any]], Iterable[str]]
    """A result in Markdown."""
    draw: Callable[[Path, Mapping[str, Any]], None] | None = None
    """Draws a result into a PNG."""
    check: Callable[[C], object] = lambda config: None
    """Raises UserError where it cannot be played, before anything is written."""

    def run(self, config: C) -> dict[str, Any]:
        """Plays it, writes result.json, result.md and result.png, returns the result."""
        return alone_in_folder(self._run)(config)

    def _run(self, config: C) -> dict[str, Any]:
        config = with_suite(config)
        self.check(config)
        protocol = Protocol.open(config)
        result = protocol.write(self.title, **self.play(protocol, config))
        table = "\n".join(self.lines(result)) + "\n"
        (config.out / "result.md").write_text(table)
        if self.draw is not None:
            self.draw(config.out / "result.png", result)
        drawn = ", drawn in result.png" if self.draw else ""
        say(f"\n{table}\nresult: {config.out / 'result.json'} and result.md{drawn}")
        return result


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


def of_tasks(env: EnvConfig, tasks: Collection[str]) -> EnvConfig:
    """The environment with other tasks or groups; it knows itself which there are."""
    if not hasattr(env, "tasks"):
        kind = type(env).__name__.removesuffix("Config")
        raise UserError(
            f"{kind} has no {', '.join(tasks)}, nor any groups; it has {', '.join(env.spec.tasks)}"
        )
    return replace(env, **{"tasks": tuple(tasks)})


def parts_of(preset: Preset) -> dict[str, Any]:
    """The parts of a protocol with the settings of a preset: ``sft`` fits few demonstrations."""
    return {
        "collect": replace(preset.collect, episodes_per_task=ALL_DEMONSTRATIONS),
        "sft": replace(preset.sft, episodes_per_task=None),
        "train": preset.train,
        "eval": preset.eval,
    }


def longer(fit: FitConfig) -> FitConfig:
    """Fits for longer, as all demonstrations are fitted."""
    return replace(fit, steps=LONGER * fit.steps)


def check_more(config: ProtocolConfig, few: int) -> None:
    """Raises ValueError unless there are more demonstrations than the few."""
    if few < 1:
        raise ValueError(f"need at least one demonstration of each task, got {few}")
    if config.dataset is None and config.collect.episodes_per_task <= few:
        raise ValueError(
            f"all demonstrations (collect.episodes_per_task {config.collect.episodes_per_task}) "
            f"must be more of each task than the few ({few})"
        )


def marks(total: int, points: int) -> tuple[int, list[int]]:
    """Evenly spaced marks along ``total`` steps, the last at the end, and their distance.

    Fewer where there are not so many steps.
    """
    every = math.ceil(total / points)
    return every, [*range(every, total, every), total]


def counted(result: EvalResult) -> dict[str, Any]:
    """Counts and interval, also of each task."""
    per_task = {task: rate.to_json() for task, rate in result.per_task.items()}
    return result.total.to_json() | {"per_task": per_task}


def counts_in(counts: Mapping[str, Any]) -> str:
    """Success with counts and interval, short."""
    successes, episodes = counts["successes"], counts["episodes"]
    low, high = (100 * bound for bound in counts["interval"])
    return f"{100 * successes / episodes:.1f} % ({successes}/{episodes}; {low:.0f} to {high:.0f})"


def overlap_in(result: Mapping[str, Any]) -> str:
    """What a reader must know where RL trained on the evaluation's states; else nothing."""
    return f"RL: {OVERLAP}" if result["trained_on_evaluation_states"] else ""


def gain_in(pairs: Mapping[str, Any]) -> str:
    """A paired difference with its interval, short."""
    low, high = (100 * bound for bound in pairs["interval"])
    return f"{100 * pairs['difference']:+.1f} points ({low:+.0f} to {high:+.0f})"
