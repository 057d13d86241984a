"""Ranks: processes that share one training run, each with simulators and a learner of its own.

``base`` is what the rest of the program sees, and the single process that needs no engine;
``group`` is torch.distributed, started by torchrun or Ray.
"""
