"""Policies: the protocol and the tables of what can be made and loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.policies.base import Policy, Statistics
from pushcut.policies.flow import FlowConfig, FlowPolicy
from pushcut.policies.observation_tokens import DataShape
from pushcut.policies.pretrained import load_weights, read_description
from pushcut.policies.tiny import TinyConfig, TinyPolicy

AnyPolicyConfig = TinyConfig | FlowConfig
"""Every policy that can be made from demonstrations alone."""


def new_policy(
    config: AnyPolicyConfig, *, statistics: Statistics, instructions: Collection[str]
) -> Policy:
    """A fresh policy for demonstrations."""
    if isinstance(config, TinyConfig):
        return TinyPolicy.for_data(config, statistics=statistics, instructions=instructions)
    return FlowPolicy.for_data(config, statistics=statistics, instructions=instructions)


def load_policy(path: Path) -> Policy:
    """Reads a policy folder; UserError in one line where it does not fit."""
    path = Path(path)
    description = read_description(path)
    kind = KINDS.get(description["type"])
    if kind is None:
        raise UserError(
            f"{path / 'config.json'}: unknown policy type {description['type']!r}; "
            f"have {sorted(KINDS)}"
        )
    policy = _build(path, description, *kind)
    load_weights(policy, path)
    return policy.eval()


def _build(
    path: Path, description: dict, config_type: type, policy_type: Callable[..., Policy]
) -> Policy:
    """The policy that a folder describes, with fresh weights."""
    statistics = Statistics.load(path / "statistics.json")
    try:
        config = config_type(**_tuples(description["config"]))
        shape = DataShape(**_tuples(description["shape"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path / 'config.json'} does not describe a {description['type']} policy: {error}"
        ) from None
    sizes = (len(statistics.state_mean), len(statistics.action_low))
    if sizes != (shape.state_size, shape.action_size):
        raise UserError(
            f"{path / 'statistics.json'} is for state and action sizes {sizes}, the policy has "
            f"{(shape.state_size, shape.action_size)}: statistics of another dataset?"
        )
    return policy_type(config, shape, statistics)


def _tuples(values: dict) -> dict:
    """JSON has no tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


KINDS: dict[str, tuple[Any, Any]] = {
    "tiny": (TinyConfig, TinyPolicy),
    "flow": (FlowConfig, FlowPolicy),
}
"""Checkpoint type -> its config and its policy."""
