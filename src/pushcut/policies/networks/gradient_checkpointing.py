"""Gradient checkpointing: activations are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Recompute:
    """While active, activations inside a block are computed again in the backward pass."""

    def __init__(self) -> None:
        self.active = False

    def __call__(self, block: Callable[..., Any], *arguments: Any) -> Any:
        """``block(*arguments)``."""
        if self.active and torch.is_grad_enabled():
            return checkpoint(block, *arguments, use_reentrant=False)
        return block(*arguments)


def checkpoint_activations(network: nn.Module, active: bool = True) -> None:
    """Turns gradient checkpointing on or off in all parts of a network: memory against time."""
    for module in network.modules():
        switch = getattr(module, "recompute", None)
        if isinstance(switch, Recompute):
            switch.active = active
