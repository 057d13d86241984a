"""What can be filmed: results that say how to play their episodes again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pushcut.commands.evaluate import open_pool, runner_of
from pushcut.commands.expert import EXPERT
from pushcut.commands.table import split_name
from pushcut.config import Device, EvalConfig, RolloutConfig
from pushcut.demos.collect import DEMONSTRATION_TIMEOUT_S
from pushcut.envs.base import EnvConfig
from pushcut.envs.pool.pool import EnvPool
from pushcut.errors import UserError
from pushcut.evaluation.evaluator import Evaluator
from pushcut.evaluation.experts import ExpertPlay, replay_expert
from pushcut.evaluation.films import FILM_SIZE
from pushcut.evaluation.results import EvalResult, LedgerLine, load_result
from pushcut.policies.source import PolicySource
from pushcut.ranks.devices import choose_device
from pushcut.reporting.side_by_side import Played
from pushcut.rollout.episode_runner import PlayedEpisode
from pushcut.runs.config_json import from_stored, stored_config
from pushcut.runs.renamed import current
from pushcut.system.signals import SafeExit
from pushcut.types import InitState


@dataclass(frozen=True)
class Replayable(ABC):
    """A result, and all that playing its episodes once more takes."""

    name: str
    path: Path
    result: EvalResult
    env: EnvConfig

    @property
    def manifest(self) -> list[InitState]:
        """The initial states, in the order that the noise of an episode depends on."""
        return [InitState(x.task, x.init_seed) for x in self.result.ledger if x.repeat == 0]

    def line(self, task: str, seed: int) -> LedgerLine:
        """The first episode from an initial state."""
        lines = (x for x in self.result.ledger if (x.task, x.init_seed) == (task, seed))
        return next(lines)

    def replayed(self, line: LedgerLine) -> Played:
        """Plays an episode again; UserError where it does not end as the ledger says."""
        played = self._play(line)
        if (played.success, played.length) != (line.success, line.length):
            told = replace(played, success=line.success, length=line.length).caption
            raise UserError(
                f"{self.path}: start {line.init_seed} of {line.task} does not go as it went: its "
                f"ledger says {told}; now {played.caption}. Evaluate again with this version on "
                "this machine"
            )
        return played

    @abstractmethod
    def _play(self, line: LedgerLine) -> Played: ...


@dataclass(frozen=True)
class OfPolicy(Replayable):
    """What a policy played: the result of `pushcut eval`, or of a training."""

    config: EvalConfig

    def _play(self, line: LedgerLine) -> Played:
        policy = self.config.policy.load_to_act(device=choose_device(self.config.device))

        def take(episode: PlayedEpisode) -> Played:
            frames = np.stack(episode.frames)
            return Played(self.name, episode.success, episode.length, frames)

        with SafeExit() as stop, open_pool(self.config, records=True) as pool:
            evaluator = Evaluator(runner_of(self.config, pool, stop), self.manifest)
            (played,) = evaluator.replay(policy, self.config.mode, [line], take)
        return played


@dataclass(frozen=True)
class OfExpert(Replayable):
    """What the scripted experts played: the result of `pushcut expert`."""

    play: ExpertPlay

    def _play(self, line: LedgerLine) -> Played:
        with (
            SafeExit(),
            EnvPool(self.env, slots=1, workers=1, timeout_s=DEMONSTRATION_TIMEOUT_S) as pool,
        ):
            reply = replay_expert(pool, line, self.play, size=FILM_SIZE)
        shown = reply.demonstration
        assert shown is not None and reply.frames is not None
        return Played(self.name, shown.success, len(shown.action), reply.frames)


def replayable(text: str, device: Device) -> Replayable:
    """The result of [NAME=]FILE.json; UserError where it does not say how it was played."""
    name, path = split_name(text)
    result, content = load_result(path)
    if content.get("checkpoint") == EXPERT and isinstance(content.get("env"), dict):
        env = from_stored(EnvConfig, current(content["env"]), path)
        play = ExpertPlay(content["expert_noise"], repeats=1, seed=content.get("seed", 0))
        return OfExpert(name, path, result, env, play)
    config = _as_evaluated(path, content) or _as_trained(path, content)
    if config is None:
        raise UserError(f"{path} does not say what it was played with: evaluate again")
    config = replace(config, mode=result.mode, device=device)
    return OfPolicy(name, path, result, config.env, config)


def _as_evaluated(path: Path, content: Mapping[str, Any]) -> EvalConfig | None:
    """How `pushcut eval` played; what an older result does not say was at its default."""
    if not isinstance(content.get("policy"), dict) or not isinstance(content.get("env"), dict):
        return None
    source = from_stored(PolicySource, current(content["policy"]), path)
    env = from_stored(EnvConfig, current(content["env"]), path)
    batch = content.get("inference_batch", RolloutConfig().inference_batch)
    return EvalConfig(env, source, _alone(batch), seed=content.get("seed", 0))


def _as_trained(path: Path, content: Mapping[str, Any]) -> EvalConfig | None:
    """How a training played its own evaluation, with the checkpoint of that iteration."""
    run = path.absolute().parent.parent
    if "iteration" not in content or not (run / "config.json").is_file():
        return None
    stored = stored_config(run)
    checkpoint = run / "checkpoints" / f"{content['iteration']:06d}" / "policy"
    if not checkpoint.is_dir():
        kept = ", ".join(sorted(x.name for x in (run / "checkpoints").glob("[0-9]*"))) or "none"
        raise UserError(f"{path}: its checkpoint {checkpoint} was not kept; there are {kept}")
    source = from_stored(PolicySource, stored["policy"], run)
    env = from_stored(EnvConfig, stored["env"], run)
    batch = stored["rollout"]["inference_batch"]
    return EvalConfig(env, replace(source, path=checkpoint), _alone(batch), seed=stored["seed"])


def _alone(inference_batch: int) -> RolloutConfig:
    return RolloutConfig(slots=1, workers=1, inference_batch=inference_batch)
