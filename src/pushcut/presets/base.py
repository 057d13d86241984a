"""What a preset is: values that the commands start from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pushcut.config import CollectConfig, EvalConfig, QuickstartConfig, SFTConfig, TrainConfig
from pushcut.envs import AnyEnvConfig
from pushcut.policies.released.options import ReleasedNetwork


@dataclass(frozen=True)
class Preset:
    """One experiment: a config for each command."""

    summary: str
    collect: CollectConfig
    sft: SFTConfig
    train: TrainConfig
    eval: EvalConfig
    network: ReleasedNetwork | None = None
    """The released VLA that the preset is for; None: a small policy."""

    @property
    def quickstart(self) -> QuickstartConfig:
        """The commands one after the other."""
        return QuickstartConfig(self.collect, self.sft, self.train, self.eval)


def preset(
    summary: str,
    env: AnyEnvConfig,
    *,
    demonstrations: int,
    noise: float = 0.0,
    sft: SFTConfig,
    train: TrainConfig,
    episodes_per_task: int,
    network: ReleasedNetwork | None = None,
) -> Preset:
    """A preset whose commands share an environment, rollout settings and temperature.

    ``demonstrations`` of each task, with ``noise`` on the expert's actions.
    """
    return Preset(
        summary=summary,
        collect=CollectConfig(env, episodes_per_task=demonstrations, noise=noise),
        sft=sft,
        train=replace(train, env=env),
        eval=EvalConfig(
            env,
            policy=train.policy,
            rollout=train.rollout,
            episodes_per_task=episodes_per_task,
        ),
        network=network,
    )
