"""`pushcut eval`: a checkpoint on the held-out manifest, and videos of its episodes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from rich.table import Table as Printed

from pushcut.before_loading import check_room
from pushcut.commands.extras import Extras, check_extras, save_extras
from pushcut.config import EvalConfig
from pushcut.envs.init_states import evaluation_inits
from pushcut.envs.pool.batch_pool import open_pool as pool_or_batches
from pushcut.envs.pool.pool import EnvPool
from pushcut.errors import UserError
from pushcut.evaluation.evaluator import Evaluator
from pushcut.evaluation.films import chosen, save_films
from pushcut.evaluation.leakage import OVERLAP, run_folder_of, saw_evaluation_states
from pushcut.evaluation.results import (
    EvalResult,
    LedgerLine,
    difference_of,
    different_field,
    load_result,
    pair,
    spread_over_repeats,
)
from pushcut.evaluation.stages import stage_table
from pushcut.evaluation.tables import Row, Table
from pushcut.instructions import as_remembered
from pushcut.policies.base import Mode, Policy
from pushcut.policies.source import PolicySource
from pushcut.ranks.base import Ranks, SingleProcess
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.devices import choose_device
from pushcut.ranks.start import joined
from pushcut.reporting.video import mp4_of
from pushcut.rollout.episode_runner import EpisodeRunner
from pushcut.rollout.fit import check_fits, language_warnings
from pushcut.runs.config_json import to_json
from pushcut.runs.run import provenance
from pushcut.system.progress import bar, console, mute, say
from pushcut.system.signals import SafeExit
from pushcut.types import InitState


def run_eval(config: EvalConfig) -> dict[str, Any]:
    """Evaluates, prints a table per task, writes JSON and Markdown, returns the JSON's content.

    Where torchrun started several of us, they share the episodes and the first one writes.
    """
    with joined(RanksConfig(), gpus=config.device != "cpu") as ranks:
        if not ranks.first:
            mute()
        return run_eval_on(ranks, config)


def run_eval_on(ranks: Ranks, config: EvalConfig) -> dict[str, Any]:
    """This rank's part in an evaluation; the content of the result on every rank."""
    with ranks.together():
        config = replace(config, env=as_remembered(config.env, config.policy))
    # As the first rank finds the folder, before it writes.
    out = ranks.gather(config.out or free_name(results_folder(config.policy), config.mode))[0]
    beside = out.with_name(f"{out.stem}-baseline.json")
    with ranks.together():
        if out.suffix != ".json":
            raise UserError(f"--out {out}: the result is JSON, call it {out.with_suffix('.json')}")
        saved = saved_baseline(config)
        sources = [config.policy]
        if config.baseline is not None and saved is None:
            sources.insert(0, replace(config.policy, path=config.baseline))
        for path in (beside, out)[-len(sources) :]:
            if path.exists():
                raise UserError(f"{path} exists; choose another --out, or none to have one found")
        check_writable(out)
        check_room(out)
        check_extras(config)
    extras = Extras()
    results = play_sources(config, sources, config.mode, extras, ranks=ranks)
    content: dict[str, Any] = {}
    with ranks.together():
        if ranks.first:
            rows = [row_of(config, source, results[source]) for source in sources]
            table = Table([saved, *rows] if saved else rows)
            content = write_results(config, table, rows, out, extras)
            for source, row in zip(sources[:-1], rows[:-1], strict=True):
                row.result.save(beside, **facts_of(config, source))
                save_extras(config, source, beside, extras)
    return ranks.gather(content)[0]


def check_writable(file: Path) -> None:
    """UserError where a result could not be written once it is there."""
    folder = next(path for path in file.absolute().parents if path.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UserError(f"{folder} cannot be written to: choose another place with --out")


def write_results(
    config: EvalConfig, table: Table, played: list[Row], out: Path, extras: Extras
) -> dict[str, Any]:
    """Prints what was played, and writes the result of the config's policy."""
    for row in played:
        if len(played) > 1:
            say(f"\n{row.name}")
        print_result(row)
    for row in table.compared:
        baseline = table.rows[0]
        say(f"baseline {baseline.name}: {baseline.result.total}")
        say(f"difference: {pair(row.result.ledger, baseline.result.ledger)}")
    if chains := stage_table(table.rows):
        say(f"\n{chains}")
    content = played[-1].result.save(out, **facts_of(config, config.policy), table=table.to_json())
    out.with_suffix(".md").write_text("\n".join(filter(None, (table.markdown(), chains))))
    save_extras(config, config.policy, out, extras)
    say(f"result: {out}; table: {out.with_suffix('.md')}")
    return content


def results_folder(source: PolicySource) -> Path:
    """Where results of a policy belong: the eval folder of its run, else ./eval."""
    run = run_folder_of(source.path) if source.path is not None else None
    if run is None or not os.access(run, os.W_OK):
        return Path("eval")
    # As the user named it, where that is shorter than the whole path.
    here = Path.cwd()
    return (run.relative_to(here) if run.is_relative_to(here) else run) / "eval"


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
        "seed": config.seed,
        "inference_batch": config.rollout.inference_batch,
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


def free_name(folder: Path, mode: Mode, kind: str = "") -> Path:
    """The first of FOLDER/[KIND-]MODE.json, FOLDER/[KIND-]MODE-2.json, … that does not exist."""
    name = f"{kind}-{mode}" if kind else mode
    names = (f"{name}-{number}.json" if number > 1 else f"{name}.json" for number in count(1))
    return next(folder / name for name in names if not (folder / name).exists())


def play_manifest(config: EvalConfig) -> EvalResult:
    """Plays the evaluation that the config describes, with a progress bar."""
    return play_sources(config, [config.policy], config.mode)[config.policy]


def play_sources(
    config: EvalConfig,
    sources: Iterable[PolicySource],
    mode: Mode,
    extras: Extras | None = None,
    *,
    ranks: Ranks | None = None,
    env_flags: str = "env",
) -> dict[PolicySource, EvalResult]:
    """Plays one manifest with several policies, in place of the policy of the config.

    Args:
        config: What is played, and how.
        sources: The policies.
        mode: In place of that of the config.
        extras: Takes the videos, of the same starts for all, and events that the config asks for.
        ranks: Who share the episodes.
        env_flags: How the flags begin that set the environment; empty where there are none.
    """
    ranks = ranks or SingleProcess()
    config = replace(config, env=as_remembered(config.env, config.policy))
    sources, manifest = list(sources), manifest_of(config)
    with ranks.together():
        device = choose_device(config.device, ranks.local)
        look_at(config, sources, env_flags)  # the last one, too, before the first is played
    total = len(manifest) * config.repeats * len(set(sources))
    if ranks.count > 1:
        say(f"{ranks.count} ranks share {total} episodes; this is what the first one plays of them")
    with ExitStack() as opened:
        stop = opened.enter_context(SafeExit())
        with ranks.together():
            records = bool(config.videos) or config.events
            pool = opened.enter_context(open_pool(config, records=records))
        shown = opened.enter_context(bar("evaluating", total // ranks.count))
        evaluator = Evaluator(
            runner_of(config, pool, stop),
            manifest,
            repeats=config.repeats,
            on_episode=lambda episode: shown.advance(),
            ranks=ranks,
        )
        results: dict[PolicySource, EvalResult] = {}
        lines: list[LedgerLine] = []
        # One policy at a time is in memory. The last one first: its episodes choose what is filmed.
        for source in dict.fromkeys(reversed(sources)):
            with ranks.together():
                policy = source.load_to_act(device=device)
            told = (
                extras.events.setdefault(source, {})
                if extras is not None and config.events
                else None
            )
            results[source] = evaluator.evaluate(policy, mode, events=told)
            if extras is not None and config.videos:
                lines = lines or chosen(results[source].ledger, config.videos)
                extras.films[source] = evaluator.film(policy, mode, lines, mp4_of)
            del policy
        return {source: results[source] for source in sources}


def look_at(config: EvalConfig, sources: Iterable[PolicySource], env_flags: str) -> None:
    """Refuses policies that do not fit the environment, and warns, before any weight is read."""
    told: list[str] = []

    def check(policy: Policy) -> None:
        check_fits(policy, config.env, env_flags)
        told.extend(language_warnings(policy, config.env.spec))

    for source in dict.fromkeys(sources):
        source.look(check)
    for line in dict.fromkeys(told):
        say(f"warning: {line}")


def runner_of(config: EvalConfig, pool: EnvPool, stop: SafeExit) -> EpisodeRunner:
    """Who plays the episodes."""
    return EpisodeRunner(
        pool,
        seed=config.seed,
        inference_batch=config.rollout.inference_batch,
        check=stop.check,
    )


def manifest_of(config: EvalConfig) -> list[InitState]:
    """The initial states of an evaluation."""
    spec = config.env.spec
    return evaluation_inits(
        list(spec.tasks),
        config.episodes_per_task,
        first=config.first,
        fixed_inits=spec.fixed_inits,
    )


def record_videos(config: EvalConfig, folder: Path, lines: Sequence[LedgerLine]) -> None:
    """Films episodes of the evaluation that the config describes, into FOLDER with videos.json."""
    config = replace(config, env=as_remembered(config.env, config.policy))
    policy = config.policy.load_to_act(device=choose_device(config.device))
    with SafeExit() as stop, open_pool(config, records=True) as pool:
        runner = runner_of(config, pool, stop)
        films = Evaluator(runner, manifest_of(config)).film(policy, config.mode, lines, mp4_of)
    save_films(folder, films, spec=config.env.spec, mode=config.mode)


def open_pool(config: EvalConfig, *, records: bool = False) -> EnvPool:
    """The pool that an evaluation asks for; a batch of scenes cannot keep ``records``."""
    return (EnvPool if records else pool_or_batches)(
        config.env,
        slots=config.rollout.slots,
        workers=config.rollout.processes,
        timeout_s=config.rollout.timeout_s,
        tasks_per_process=config.rollout.tasks_per_process,
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
    for line in result.notes_in_words():
        say(line)
    for share in result.malformed.values():
        say(f"{share:.1%} of the answers were no action (mean over episodes)")
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
