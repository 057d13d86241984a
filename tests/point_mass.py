"""The point mass as the tests train on it: a recipe that takes seconds, whatever it learns."""

from __future__ import annotations

from pushcut.algorithms.grpo import GRPO
from pushcut.config import EvaluationConfig, SFTConfig, TrainConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.learning.learner import LearnerConfig
from pushcut.learning.sft import FitConfig
from pushcut.policies.small.token_vla import TinyConfig
from pushcut.policies.source import StartPolicy
from pushcut.presets.base import preset

ENV = PointMassConfig()

PLAIN = preset(
    "point mass in seconds, for tests",
    ENV,
    demonstrations=8,
    sft=SFTConfig(
        policy=StartPolicy(
            new=TinyConfig(
                cameras=("top",), image_size=32, width=64, depth=2, heads=4, bins=16, chunk=4
            )
        ),
        fit=FitConfig(steps=60, batch_size=32),
    ),
    train=TrainConfig(
        ENV,
        learner=LearnerConfig(lr=3e-4, epochs=2),
        algorithm=GRPO(groups=8, max_groups=16),
        evaluation=EvaluationConfig(every=0),
        iterations=5,
    ),
    episodes_per_task=20,
)
