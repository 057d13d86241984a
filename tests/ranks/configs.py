"""A small training for several ranks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pushcut.config import TrainConfig
from pushcut.policies.source import TokenPolicySource
from pushcut.presets import Preset


def uneven(smoke: Preset, policy: Path, **fields: Any) -> TrainConfig:
    """Nothing in it divides by two."""
    train = smoke.train
    config = replace(
        train,
        policy=TokenPolicySource(path=policy),
        algorithm=replace(train.algorithm, group_size=4, groups=3, max_groups=7),
        learner=replace(train.learner, epochs=1, minibatches=3, micro_batch=16),
        rollout=replace(train.rollout, slots=6, workers=1),
        patience=10,
        save_every=1,
        trackers=(),
        device="cpu",
    )
    return replace(config, **fields)
