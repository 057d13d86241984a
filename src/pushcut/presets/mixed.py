"""A preset with several simulators in one run."""

from __future__ import annotations

from pushcut.algorithms.grpo import GRPO
from pushcut.config import EvaluationConfig, SFTConfig, TrainConfig
from pushcut.envs.maniskill import ManiSkillConfig
from pushcut.envs.metaworld import MetaWorldConfig
from pushcut.envs.mixed import Member, MixedConfig
from pushcut.learner import LearnerConfig
from pushcut.policies.source import TokenPolicySource
from pushcut.policies.tiny import TinyConfig
from pushcut.presets.base import preset
from pushcut.sft import FitConfig

SAWYER_AND_PANDA = MixedConfig(
    (
        Member(
            "metaworld",
            MetaWorldConfig(
                tasks=("button-press-v3",),
                cameras=(),
                state="objects",
                action_repeat=3,
                max_steps=150,
            ),
        ),
        Member("maniskill", ManiSkillConfig(tasks=("PickCube-v1",))),
    )
)

MIXED_GRPO = preset(
    "MetaWorld and ManiSkill in one run, one policy, from states (pushcut sims install maniskill)",
    SAWYER_AND_PANDA,
    demonstrations=50,
    noise=0.03,
    sft=SFTConfig(
        policy=TinyConfig(cameras=(), width=128, heads=4, chunk=4, bins=65),
        fit=FitConfig(steps=600),
    ),
    train=TrainConfig(
        SAWYER_AND_PANDA,
        policy=TokenPolicySource(temperature=1.2),
        algorithm=GRPO(groups=8, max_groups=24),
        learner=LearnerConfig(lr=1e-4, warmup_iterations=3, epochs=2),
        evaluation=EvaluationConfig(every=0),
        iterations=20,
    ),
    episodes_per_task=50,
)
