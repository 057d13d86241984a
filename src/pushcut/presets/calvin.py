"""Presets for CALVIN: small policies for a CPU; the paper's own are in ``vla``."""

from __future__ import annotations

from dataclasses import replace

from pushcut.algorithms.ppo import PPO
from pushcut.config import EvaluationConfig, RolloutConfig, SFTConfig, TrainConfig
from pushcut.envs.calvin.env import CalvinConfig
from pushcut.envs.calvin.tasks import TASKS
from pushcut.learning.learner import LearnerConfig
from pushcut.learning.sft import FitConfig
from pushcut.policies.small.flow_vla import FlowConfig
from pushcut.policies.source import FlowPolicySource, StartPolicy
from pushcut.policies.value_head import CriticConfig
from pushcut.presets.base import preset

IMAGE_SIZE = 64
"""What the small policy sees, pixels."""

CHAINS = CalvinConfig(image_size=IMAGE_SIZE)

CHAIN_STEPS = 480
"""Time limit of a chain in training (pi_RL, table 13)."""


ENV = replace(CHAINS, max_steps=CHAIN_STEPS)

_CHAINED = preset(
    "CALVIN in scene D from pictures: a small flow policy, PPO over chains; a first version",
    ENV,
    demonstrations=20,
    noise=0.05,
    sft=SFTConfig(
        policy=StartPolicy(new=FlowConfig(cameras=ENV.cameras, image_size=IMAGE_SIZE, chunk=5)),
        fit=FitConfig(steps=4000),
    ),
    train=TrainConfig(
        ENV,
        policy=FlowPolicySource(trained="all"),
        algorithm=PPO(episodes=64, bootstrap_on_truncation=False),
        critic=CriticConfig(detach=False, warmup_iterations=1),
        learner=LearnerConfig(warmup_iterations=3, epochs=2),
        rollout=RolloutConfig(slots=16, timeout_s=180.0),
        evaluation=EvaluationConfig(every=0),
        iterations=50,
    ),
    episodes_per_task=100,
)

CALVIN_D = replace(
    _CHAINED,
    collect=replace(_CHAINED.collect, env=replace(CHAINS, tasks=tuple(TASKS))),
    eval=replace(_CHAINED.eval, env=CHAINS),
)
"""Demonstrations of each sub-task alone; evaluation with the benchmark's time for each."""
