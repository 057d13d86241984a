"""A preset for environments of gymnasium: Box2D's LunarLander, or any other with --env.id."""

from __future__ import annotations

from dataclasses import replace

from pushcut.envs.gymnasium.env import GymnasiumConfig
from pushcut.learning.sft import FitConfig
from pushcut.policies.small.token_vla import TinyConfig
from pushcut.policies.source import StartPolicy
from pushcut.presets.base import preset
from pushcut.presets.maniskill import MANISKILL_GRPO

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
    sft=replace(
        MANISKILL_GRPO.sft,
        policy=StartPolicy(new=TinyConfig(cameras=(), width=128, heads=4, chunk=4, bins=33)),
        fit=FitConfig(steps=400),
    ),
    train=replace(MANISKILL_GRPO.train, env=LUNAR_LANDER),
    episodes_per_task=50,
)
