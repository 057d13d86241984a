"""The preset that is tried first: it needs no simulator, and RL helps within a minute."""

from __future__ import annotations

from pushcut.algorithms.grpo import GRPO
from pushcut.config import EvaluationConfig, RolloutConfig, SFTConfig, TrainConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.learning.learner import LearnerConfig
from pushcut.learning.sft import FitConfig
from pushcut.policies.small.token_vla import TinyConfig
from pushcut.policies.source import StartPolicy, TokenPolicySource
from pushcut.presets.base import preset

# Two decisions of two steps bring the point to its goal: credit is soon assigned.
POINT_MASS_ENV = PointMassConfig(goal_distance=0.6, success_radius=0.3, step_size=0.3, max_steps=4)

# Few steps of SFT: the policy moves towards a goal, but not yet surely to the one it is told.
SMOKE = preset(
    "point mass, no simulator needed: action tokens and GRPO in a minute, to see that all works",
    POINT_MASS_ENV,
    demonstrations=20,
    sft=SFTConfig(
        policy=StartPolicy(
            new=TinyConfig(
                cameras=("top",), image_size=32, width=64, depth=1, heads=4, bins=5, chunk=2
            )
        ),
        fit=FitConfig(steps=60, batch_size=32),
        threads=1,
    ),
    train=TrainConfig(
        POINT_MASS_ENV,
        policy=TokenPolicySource(temperature=1.3),
        learner=LearnerConfig(lr=1e-3, warmup_iterations=2, epochs=2, micro_batch=1024),
        algorithm=GRPO(groups=32, max_groups=32),
        rollout=RolloutConfig(slots=64, workers=1, inference_batch=64),
        evaluation=EvaluationConfig(every=0),
        iterations=12,
        threads=1,
    ),
    episodes_per_task=50,
)
