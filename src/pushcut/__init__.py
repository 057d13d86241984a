"""pushcut: online reinforcement learning for vision-language-action policies.

The public pieces live in their own modules (``pushcut.algorithms.advantages``,
``pushcut.policies.small.token_vla``, …). Importing the package itself is cheap and never
imports torch.
"""

__version__ = "0.2.0"
