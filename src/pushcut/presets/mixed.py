"""A preset with several simulators in one run."""

from __future__ import annotations

from dataclasses import replace

from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.mixed.config import Member, MixedConfig
from pushcut.learning.sft import FitConfig
from pushcut.presets.base import preset
from pushcut.presets.maniskill import MANISKILL_GRPO

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
    sft=replace(MANISKILL_GRPO.sft, fit=FitConfig(steps=600)),
    train=replace(MANISKILL_GRPO.train, env=SAWYER_AND_PANDA),
    episodes_per_task=50,
)
