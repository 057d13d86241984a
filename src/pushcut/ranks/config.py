"""How the ranks of a run share weights and work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RanksConfig:
    """Several processes with one run (torchrun, Ray); one process needs none of it."""

    weights: Literal["replicated", "sharded"] = "replicated"
    """Each rank holds all weights and optimiser state, or a part of them (FSDP2): for policies
    that do not fit a GPU."""
    shard_over: int = 0
    """With sharded weights: each group of so many neighbouring ranks (those of a node) holds all
    weights, so that gathering them stays inside it and only gradients cross. 0: all ranks."""
    rollouts: Literal["gathered", "in-step"] = "gathered"
    """With sharded weights, how ranks act: each gathers all weights while episodes are played, or
    they are gathered layer by layer and all ranks decide at the same time. The second needs less
    memory and is slower."""
    sum_once_gb: float = 2.0
    """With sharded weights, gradients are summed over the ranks once an optimiser step, after its
    last micro-batch, where those of all weights take at most so many GB, which each rank then
    holds; larger ones after each micro-batch. 0: always after each."""
    reproducible: bool = False
    """Who learns from a decision does not depend on who played it, so that weights and numbers are
    equal to the bit whenever the same number of ranks plays again; else decisions stay where they
    were played as far as possible, which sends less and rounds differently each time."""
    timeout_s: float = 1800.0
    """A rank that keeps the others waiting longer (seconds) is taken for lost."""

    def __post_init__(self) -> None:
        if self.shard_over < 0 or self.shard_over == 1:
            raise ValueError(f"shard_over must be 0 or at least 2, got {self.shard_over}")
        if self.shard_over and self.weights == "replicated":
            raise ValueError("shard_over needs sharded weights (--ranks.weights sharded)")
        if not self.sum_once_gb >= 0:
            raise ValueError(f"sum_once_gb must be >= 0, got {self.sum_once_gb}")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be > 0, got {self.timeout_s}")

    @property
    def act_in_step(self) -> bool:
        """Whether all ranks decide at the same time."""
        return self.weights == "sharded" and self.rollouts == "in-step"
