"""AdamW, in the implementation that fits where the weights are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pushcut.policies.base import Policy
from pushcut.policies.lora import adapter_parameters

IMPLEMENTATION = ("fused", "foreach")
"""Settings of a parameter group that say how a step is computed, not which."""


def make_adamw(
    groups: Sequence[nn.Parameter] | Sequence[dict[str, Any]],
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> torch.optim.AdamW:
    """AdamW; on a GPU the fused one, which makes no copies of the moments and is faster.

    On the CPU it is torch's loop over the parameters, whose results old runs have.
    """
    weights = [w for g in groups for w in (g["params"] if isinstance(g, dict) else [g])]
    fused = runs_fused([weight.device for weight in weights])
    return torch.optim.AdamW(
        groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=True if fused else None
    )


def runs_fused(devices: Sequence[torch.device]) -> bool:
    """Whether weights on these devices are all on GPUs."""
    return bool(devices) and all(device.type == "cuda" for device in devices)


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads what ``state_dict`` said, on this machine or another.

    A run that was started on a GPU may go on without one: how a step is computed stays as this
    optimiser has it.
    """
    own = optimizer.param_groups
    for saved, group in zip(state["param_groups"], own, strict=False):
        saved.update({name: group[name] for name in IMPLEMENTATION if name in group})
    optimizer.load_state_dict(state)


def counts_on_gpu(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the numbers of steps lie beside the weights, as the fused AdamW wants them."""
    return bool(optimizer.defaults.get("fused"))


def parameter_groups(policy: Policy) -> list[dict[str, Any]]:
    """The critic, adapters and all else that is trained, for rates of their own."""
    critic = [] if policy.critic is None else list(policy.critic.parameters())
    adapters = list(adapter_parameters(policy))
    known = set(map(id, critic + adapters))
    others = [p for p in policy.parameters() if p.requires_grad and id(p) not in known]
    groups = {"policy": others, "adapters": adapters, "critic": critic}
    return [{"name": name, "params": params} for name, params in groups.items() if params]
