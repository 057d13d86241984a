"""How weights get better: supervised fine-tuning, optimiser steps on rollouts, checkpoints.

May import ``algorithms``, ``policies``, ``ranks``, ``demos`` and ``batch``; never ``rollout`` or
``envs``. Promises that the learner alone steps the optimiser, and that a resume is exact.
"""
