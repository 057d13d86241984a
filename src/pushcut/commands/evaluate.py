"""`pushcut eval`: a checkpoint on the held-out manifest; and videos of single episodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table as Printed

from pushcut.config import EvalConfig
from pushcut.envs.init_states import evaluation_inits
from pushcut.envs.pool.pool import EnvPool
from pushcut.errors import UserError
from pushcut.evaluation.evaluator import Evaluator
from pushcut.evaluation.leakage import OVERLAP, saw_evaluation_states
from pushcut.evaluation.results import (
    EvalResult,
    LedgerLine,
    difference_of,
    different_field,
    load_result,
    pair,
    spread_over_repeats,
)
from pushcut.evaluation.tables import Row, Table
from pushcut.policies.base import Mode, Policy
from pushcut.policies.source import PolicySource
from pushcut.ranks.devices import choose_device
from pushcut.reporting.video import write_mp4
from pushcut.rollout.episode_runner import EpisodeRunner, PlayedEpisode, check_fits
from pushcut.rollout.scheduler import ListSchedule
from pushcut.runs.config_json import to_json
from pushcut.runs.run import provenance
from pushcut.system.progress import bar, console, say
from pushcut.system.signals import SafeExit
from pushcut.types import InitState

VIDEO_SIZE = 224
"""Height and width of videos for people, in pixels."""


def run_eval(config: EvalConfig) -> dict[str, Any]:
    """Evaluates, prints a table per task, writes JSON and Markdown, returns the JSON's content."""
    out = config.out or free_name(Path("eval"), config.mode)
    if out.suffix != ".json":
        raise UserError(f"--out {out}: the result is JSON, call it {out.with_suffix('.json')}")
    beside = out.with_name(f"{out.stem}-baseline.json")
    saved = saved_baseline(config)
    sources = [config.policy]
    if config.baseline is not None and saved is None:
        sources.insert(0, replace(config.policy, path=config.baseline))
    for path in (beside, out)[-len(sources) :]:
        if path.exists():
            raise UserError(f"{path} exists; choose another --out, or none to have one found")
    results = play_sources(config, sources, config.mode)
    played = [row_of(config, source, results[source]) for source in sources]
    table = Table([saved, *played] if saved else played)
    for row in played:
        if len(played) > 1:
            say(f"\n{row.name}")
        print_result(row)
    for row in table.compared:
        baseline = table.rows[0]
        say(f"baseline {baseline.name}: {baseline.result.total}")
        say(f"difference: {pair(row.result.ledger, baseline.result.ledger)}")
    for source, row in zip(sources[:-1], played[:-1], strict=True):
        row.result.save(beside, **facts_of(config, source))
    content = played[-1].result.save(out, **facts_of(config, config.policy), table=table.to_json())
    out.with_suffix(".md").write_text(table.markdown())
    say(f"result: {out}; table: {out.with_suffix('.md')}")
    return content


def row_of(config: EvalConfig, source: PolicySource, result: EvalResult) -> Row:
    """Row of the result's table for a played policy."""
    facts = facts_of(config, source)
    return Row(facts["checkpoint"], result, facts["trained_on_evaluation_states"])


def facts_of(config: EvalConfig, source: PolicySource) -> dict[str, Any]:
    """Facts that a result states besides its counts."""
    on_benchmark = config.first < config.env.spec.fixed_inits
    assert source.path is not None, "it has been loaded"
    return {
        "checkpoint": str(source.path),
        "trained_on_evaluation_states": on_benchmark and saw_evaluation_states(source.path),
        "first_seed": config.first,
        "policy": to_json(source),
        "env": to_json(config.env),
        **provenance(),
    }


def saved_baseline(config: EvalConfig) -> Row | None:
    """The earlier result that is to be compared with; None if it is to be played, or nothing.

    UserError where its episodes are not those that the config asks for.
    """
    path = config.baseline
    if path is None or path.is_dir() or path.suffix != ".json":
        return None
    result, content = load_result(path)
    planned = tuple(
        LedgerLine(init.task, init.seed, False, 0, 0, repeat)
        for repeat in range(config.repeats)
        for init in manifest_of(config)
    )
    reason = difference_of(EvalResult(config.mode, planned, 0.0), result)
    env = content.get("env")
    if reason is None:
        if not isinstance(env, dict):
            reason = "it does not say what it was played in"
        elif field := different_field(env, to_json(config.env)):
            reason = f"the environments differ in {field}"
    if reason:
        raise UserError(f"--baseline {path} was not evaluated on the same episodes: {reason}")
    return Row(content["checkpoint"], result, content.get("trained_on_evaluation_states", False))


def free_name(folder: Path, mode: Mode) -> Path:
    """The first of FOLDER/MODE.json, FOLDER/MODE-2.json, … that does not exist."""
    names = (f"{mode}-{number}.json" if number > 1 else f"{mode}.json" for number in count(1))
    return next(folder / name for name in names if not (folder / name).exists())


def play_manifest(config: EvalConfig) -> EvalResult:
    """Plays the evaluation that the config describes, with a progress bar."""
    return play_sources(config, [config.policy], config.mode)[config.policy]


def play_sources(
    config: EvalConfig, sources: Iterable[PolicySource], mode: Mode
) -> dict[PolicySource, EvalResult]:
    """Plays one manifest with several policies, in place of the policy of the config."""
    manifest = manifest_of(config)
    policies = {source: source.load().to(choose_device(config.device)) for source in sources}
    for policy in policies.values():  # the last one, too, before the first is played
        check_fits(policy, config.env.spec)
    total = len(manifest) * config.repeats * len(policies)
    with SafeExit() as stop, open_pool(config) as pool, bar("evaluating", total) as shown:
        runner = EpisodeRunner(
            pool,
            seed=config.seed,
            inference_batch=config.rollout.inference_batch,
            check=stop.check,
        )
        evaluator = Evaluator(
            runner,
            manifest,
            repeats=config.repeats,
            on_episode=lambda episode: shown.advance(),
        )
        return {source: evaluator.evaluate(policy, mode) for source, policy in policies.items()}


def manifest_of(config: EvalConfig) -> list[InitState]:
    """The initial states of an evaluation."""
    spec = config.env.spec
    return evaluation_inits(
        list(spec.tasks),
        config.episodes_per_task,
        first=config.first,
        fixed_inits=spec.fixed_inits,
    )


def record_videos(config: EvalConfig, folder: Path, name: str) -> None:
    """One greedy episode of each task from the manifest's first state, as NAME-TASK.mp4."""
    policy = config.policy.load().to(choose_device(config.device))
    inits = [InitState(task, config.first) for task in config.env.spec.tasks]
    with SafeExit() as stop, open_pool(config) as pool:
        episodes = play_recorded(policy, pool, inits, config, stop)
    fps = pool.spec.control_hz
    for episode in episodes:
        path = folder / f"{name}-{episode.task.init.task}.mp4"
        write_mp4(path, np.stack(episode.frames), fps)


def play_recorded(
    policy: Policy, pool: EnvPool, inits: Sequence[InitState], config: EvalConfig, stop: SafeExit
) -> list[PlayedEpisode]:
    """Plays each initial state greedily with images of every control step."""
    runner = EpisodeRunner(
        pool,
        seed=config.seed,
        inference_batch=config.rollout.inference_batch,
        record_size=VIDEO_SIZE,
        check=stop.check,
    )
    episodes: list[PlayedEpisode] = []
    schedule = ListSchedule(inits)
    runner.play(policy, schedule, iteration=0, mode="greedy", on_episode=episodes.append)
    return sorted(episodes, key=lambda episode: episode.task.group)


def open_pool(config: EvalConfig) -> EnvPool:
    """The pool that an evaluation asks for."""
    return EnvPool(
        config.env,
        slots=config.rollout.slots,
        workers=config.rollout.processes,
        timeout_s=config.rollout.timeout_s,
    )


def print_result(row: Row) -> None:
    """A table with one row per task and the total."""
    result, label = row.result, f"; {OVERLAP}" if row.overlap else ""
    table = Printed(title=f"success, {result.mode} actions ({result.seconds:.0f} s){label}")
    for column in ("task", "success", "episodes", "95 % interval"):
        table.add_column(column)
    for task, rate in [*result.per_task.items(), ("all", result.total)]:
        low, high = rate.interval
        counts = f"{rate.successes}/{rate.episodes}"
        table.add_row(task, f"{rate.value:.1%}", counts, f"{low:.1%} to {high:.1%}")
    console.print(table)
    say(f"success {result.mode}: {result.total}{label}")
    if result.repeats > 1:
        spread = spread_over_repeats(result.ledger)
        say(f"over {result.repeats} repeats: {spread['mean']:.1%} ± {spread['std']:.1%}")
        if all_repeats_alike(result):
            say("each repeat was the same to the step: nothing is random here, 1 repeat is enough")


def all_repeats_alike(result: EvalResult) -> bool:
    """Whether every repeat of each initial state went the same way."""
    courses: dict[tuple[str, int], set[tuple[bool, int]]] = {}
    for line in result.ledger:
        courses.setdefault((line.task, line.init_seed), set()).add((line.success, line.length))
    return all(len(course) == 1 for course in courses.values())
