"""Evaluation: a manifest of initial states, each played once, counted honestly."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushcut.policies.base import Mode, Policy
from pushcut.rollout.player import PlayedEpisode, Player
from pushcut.rollout.scheduler import ListSchedule
from pushcut.statistics import Rate
from pushcut.types import InitState

EVALUATION_STREAM = 2**32 - 1
"""Stands where training has its iteration: no training episode draws the same noise."""


@dataclass(frozen=True)
class LedgerLine:
    """What became of one evaluation episode."""

    task: str
    init_seed: int
    success: bool
    length: int
    """Control steps."""
    sim_steps: int
    """Simulator steps."""


@dataclass(frozen=True)
class EvalResult:
    """The result of an evaluation; ``ledger`` has one line per episode, in manifest order."""

    mode: Mode
    ledger: tuple[LedgerLine, ...]
    seconds: float

    @property
    def total(self) -> Rate:
        """Over all episodes."""
        return _rate(self.ledger)

    @property
    def per_task(self) -> dict[str, Rate]:
        """By task, in manifest order."""
        tasks = dict.fromkeys(line.task for line in self.ledger)
        return {task: _rate([x for x in self.ledger if x.task == task]) for task in tasks}

    def metrics(self) -> dict[str, float]:
        """For the metrics of a run."""
        name = f"eval_{self.mode}"
        return {
            f"{name}_success_rate": self.total.value,
            f"{name}_episodes": self.total.episodes,
            f"{name}_seconds": self.seconds,
        }

    def save(self, path: Path, **facts: Any) -> dict[str, Any]:
        """Writes ``path`` (JSON) and its ledger beside it; returns what the JSON says."""
        path.parent.mkdir(parents=True, exist_ok=True)
        ledger = path.with_suffix(".ledger.jsonl")
        ledger.write_text("".join(json.dumps(vars(line)) + "\n" for line in self.ledger))
        content = {
            "mode": self.mode,
            **self.total.to_json(),
            "per_task": {task: rate.to_json() for task, rate in self.per_task.items()},
            "ledger": str(ledger),
            "seconds": round(self.seconds, 2),
            **facts,
        }
        path.write_text(json.dumps(content, indent=2) + "\n")
        return content


class Evaluator:
    """Plays a manifest; the same result, to the bit, for any number of slots."""

    def __init__(
        self,
        player: Player,
        manifest: Sequence[InitState],
        *,
        on_episode: Callable[[PlayedEpisode], None] = lambda episode: None,
    ) -> None:
        self._player, self._manifest = player, tuple(manifest)
        self._on_episode = on_episode

    def evaluate(self, policy: Policy, mode: Mode = "greedy") -> EvalResult:
        """Plays each initial state of the manifest exactly once."""
        start = time.perf_counter()
        lines: dict[int, LedgerLine] = {}

        def note(episode: PlayedEpisode) -> None:
            init = episode.task.init
            lines[episode.task.group] = LedgerLine(
                init.task, init.seed, episode.success, episode.length, episode.sim_steps
            )
            self._on_episode(episode)

        schedule = ListSchedule(self._manifest)
        self._player.play(policy, schedule, iteration=EVALUATION_STREAM, mode=mode, on_episode=note)
        ledger = tuple(lines[index] for index in range(len(self._manifest)))
        return EvalResult(mode, ledger, time.perf_counter() - start)


def _rate(lines: Sequence[LedgerLine]) -> Rate:
    return Rate(sum(line.success for line in lines), len(lines))
