"""Flow matching: denoising chains, their noise and log-probabilities, shared by every flow policy.

May import ``policies.base`` and ``batch``. Promises pi_RL's Flow-SDE and Flow-Noise as pure
functions with their equations, and a log-ratio of 0 before the first update.
"""
