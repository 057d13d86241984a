"""Ranks: processes that share one training run, each with simulators and a learner of its own.

``base`` is what the rest of the program sees, and the single process that needs no engine;
``group`` is torch.distributed, started by torchrun or Ray.

May import ``system`` and ``weights``; torch.distributed stays in here. Promises the same episodes
and, within rounding, the same updates for any number of ranks.
"""
