"""Advantages and objectives as pure functions, and GRPO and PPO made of them.

May import ``batch`` and ``registry`` alone: no policy, no environment, no device. Promises a paper
and an equation at each formula, and a page in docs/concepts/algorithms for each deviation.
"""

from __future__ import annotations

from pushcut.algorithms.base import Algorithm
from pushcut.algorithms.grpo import GRPO
from pushcut.algorithms.ppo import PPO
from pushcut.registry import Registry, subclass_of

ALGORITHMS: Registry[type[Algorithm]] = Registry(
    "algorithm",
    "pushcut.algorithms",
    {"grpo": GRPO, "ppo": PPO},
    adapt=subclass_of(Algorithm),
)
"""Every algorithm, by the class of its settings."""
