"""Advantages and objectives as pure functions, and GRPO and PPO made of them.

May import ``batch`` alone: no policy, no environment, no device. Promises a paper and an equation
at each formula, and a page in docs/concepts/algorithms for each deviation.
"""
