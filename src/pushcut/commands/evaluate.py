"""`pushcut eval`: a checkpoint on the held-out manifest; and videos of single episodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from pushcut.config import EvalConfig
from pushcut.devices import choose_device
from pushcut.envs.pool import EnvPool
from pushcut.errors import UserError
from pushcut.evaluator import EvalResult, Evaluator
from pushcut.manifests import evaluation_inits
from pushcut.policies.base import Mode, Policy
from pushcut.policies.source import AnyPolicySource
from pushcut.progress import bar, console, say
from pushcut.rollout.player import PlayedEpisode, Player
from pushcut.rollout.scheduler import ListSchedule
from pushcut.run import provenance, to_json
from pushcut.signals import SafeExit
from pushcut.types import InitState
from pushcut.video import write_mp4

VIDEO_SIZE = 224
"""Height and width of videos for people, in pixels."""


def run_eval(config: EvalConfig) -> dict[str, Any]:
    """Evaluates, prints a table per task, writes the JSON and returns its content."""
    out = config.out or free_name(Path("eval"), config.mode)
    if out.exists():
        raise UserError(f"{out} exists; choose another --out, or none to have one found")
    result = play_manifest(config)
    print_result(result)
    say(f"result: {out}")
    return result.save(
        out,
        checkpoint=str(config.policy.path),
        first_seed=config.first,
        policy=to_json(config.policy),
        env=to_json(config.env),
        **provenance(),
    )


def free_name(folder: Path, mode: Mode) -> Path:
    """The first of FOLDER/MODE.json, FOLDER/MODE-2.json, … that does not exist."""
    names = (f"{mode}-{number}.json" if number > 1 else f"{mode}.json" for number in count(1))
    return next(folder / name for name in names if not (folder / name).exists())


def play_manifest(config: EvalConfig) -> EvalResult:
    """Plays the evaluation that the config describes, with a progress bar."""
    return play_sources(config, [config.policy], config.mode)[config.policy]


def play_sources(
    config: EvalConfig, sources: Iterable[AnyPolicySource], mode: Mode
) -> dict[AnyPolicySource, EvalResult]:
    """The same manifest with several policies, each once, in place of that of the config."""
    policies = {source: source.load().to(choose_device(config.device)) for source in sources}
    manifest = evaluation_inits(
        list(config.env.spec.tasks), config.episodes_per_task, first=config.first
    )
    total = len(manifest) * len(policies)
    with SafeExit() as stop, open_pool(config) as pool, bar("evaluating", total) as shown:
        player = Player(
            pool,
            seed=config.seed,
            inference_batch=config.rollout.inference_batch,
            check=stop.check,
        )
        evaluator = Evaluator(player, manifest, on_episode=lambda episode: shown.advance())
        return {source: evaluator.evaluate(policy, mode) for source, policy in policies.items()}


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
    """Plays each initial state greedily with pictures of every control step."""
    player = Player(
        pool,
        seed=config.seed,
        inference_batch=config.rollout.inference_batch,
        record_size=VIDEO_SIZE,
        check=stop.check,
    )
    episodes: list[PlayedEpisode] = []
    schedule = ListSchedule(inits)
    player.play(policy, schedule, iteration=0, mode="greedy", on_episode=episodes.append)
    return sorted(episodes, key=lambda episode: episode.task.group)


def open_pool(config: EvalConfig) -> EnvPool:
    """The pool that an evaluation asks for."""
    return EnvPool(
        config.env,
        slots=config.rollout.slots,
        workers=config.rollout.processes,
        timeout_s=config.rollout.timeout_s,
    )


def print_result(result: EvalResult) -> None:
    """A table with one row per task and the total."""
    table = Table(title=f"success, {result.mode} actions ({result.seconds:.0f} s)")
    for column in ("task", "success", "episodes", "95 % interval"):
        table.add_column(column)
    for task, rate in [*result.per_task.items(), ("all", result.total)]:
        low, high = rate.interval
        counts = f"{rate.successes}/{rate.episodes}"
        table.add_row(task, f"{rate.value:.1%}", counts, f"{low:.1%} to {high:.1%}")
    console.print(table)
    say(f"success {result.mode}: {result.total}")
