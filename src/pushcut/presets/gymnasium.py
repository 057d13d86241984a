"""A preset for environments of gymnasium: Box2D's LunarLander, or any other with --env.id."""

from __future__ import annotations

from pushcut.algorithms.grpo import GRPO
from pushcut.config import EvaluationConfig, SFTConfig, TrainConfig
from pushcut.envs.gymnasium.env import GymnasiumConfig
from pushcut.learning.learner import LearnerConfig
from pushcut.learning.sft import FitConfig
from pushcut.policies.small.token_vla import TinyConfig
from pushcut.policies.source import StartPolicy, TokenPolicySource
from pushcut.presets.base import preset

LUNAR_LANDER = GymnasiumConfig(
    id="LunarLanderContinuous-v3",
    instruction="land between the flags",
    # What the environment pays in the step in which the lander comes to rest.
    success="reward >= 100",
    cameras=(),
    max_steps=400,
    expert="gymnasium.envs.box2d.lunar_lander:heuristic",
)

GYMNASIUM_GRPO = preset(
    "gymnasium's LunarLander from states (pip install 'pushcut[box2d]'), or another with --env.id",
    LUNAR_LANDER,
    demonstrations=5,
    sft=SFTConfig(
        policy=StartPolicy(new=TinyConfig(cameras=(), width=128, heads=4, chunk=4, bins=33)),
        fit=FitConfig(steps=400),
    ),
    train=TrainConfig(
        LUNAR_LANDER,
        policy=TokenPolicySource(temperature=1.2),
        algorithm=GRPO(groups=8, max_groups=24),
        learner=LearnerConfig(lr=1e-4, warmup_iterations=3, epochs=2),
        evaluation=EvaluationConfig(every=0),
        iterations=20,
    ),
    episodes_per_task=50,
)
