"""The whole recipe in seconds."""

from dataclasses import replace
from pathlib import Path

from pushcut.config import QuickstartConfig
from pushcut.presets import Preset


def small(smoke: Preset, out: Path) -> QuickstartConfig:
    """Two iterations of two small groups."""
    rollout = replace(smoke.train.rollout, slots=8, workers=1)
    algorithm = replace(smoke.train.algorithm, group_size=4, groups=2, max_groups=4)
    train = replace(
        smoke.train,
        algorithm=algorithm,
        rollout=rollout,
        iterations=2,
        patience=10,
        save_every=1,
        trackers=(),
    )
    return replace(
        smoke.quickstart,
        collect=replace(smoke.collect, episodes_per_task=4, workers=1),
        sft=replace(smoke.sft, fit=replace(smoke.sft.fit, steps=40)),
        train=train,
        eval=replace(smoke.eval, rollout=rollout, episodes_per_task=6),
        out=out,
    )
