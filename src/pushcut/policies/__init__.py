"""Policies: one protocol, and the tables of what can be made and loaded.

May import ``batch``, ``system`` and ``weights``; knows no environment. Promises that what a policy
drew is evaluated to the same log-probability before the first update
(policies/test_policy_contract.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.policies.base import Policy
from pushcut.policies.normalisation import DataStats, read_small_stats
from pushcut.policies.pretrained import load_weights, read_description
from pushcut.policies.released.openvla_loading import load_openvla_oft
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.released.pi0_loading import load_pi0
from pushcut.policies.released.tensors import leave_files
from pushcut.policies.small.flow_vla import FlowConfig, FlowPolicy
from pushcut.policies.small.observation_tokens import DataShape
from pushcut.policies.small.token_vla import TinyConfig, TinyPolicy

AnyPolicyConfig = TinyConfig | FlowConfig
"""Every policy that can be made from demonstrations alone."""


def new_policy(
    config: AnyPolicyConfig, *, statistics: DataStats, instructions: Collection[str]
) -> Policy:
    """A fresh policy for demonstrations."""
    if isinstance(config, TinyConfig):
        return TinyPolicy.for_data(config, statistics=statistics, instructions=instructions)
    return FlowPolicy.for_data(config, statistics=statistics, instructions=instructions)


def load(
    path: Path,
    released: ReleasedConfig | None = None,
    data: DataStats | None = None,
    *,
    in_files: bool = False,
) -> Policy:
    """The policy in a folder, of the class that its config.json tells.

    Args:
        path: A folder that pushcut, LeRobot, openpi's conversion or OpenVLA-OFT's programs wrote.
        released: What a folder of others does not say itself.
        data: Statistics of "state" and "action" in environment units that take the place of a
            released checkpoint's own.
        in_files: Whether a released checkpoint's weights may stay views of its files, for those
            who copy what they need of them. Files must not be written to meanwhile.

    Raises:
        UserError: In one line, where the folder does not fit.
    """
    path = Path(path)
    description = read_description(path)
    kind = kind_of(description)
    if kind in RELEASED:
        policy = RELEASED[kind](path, description, released or ReleasedConfig(), data)
        if not in_files:
            leave_files(policy)
        return policy
    if kind not in KINDS:
        raise UserError(
            f"{path / 'config.json'}: unknown policy type {kind!r}; have {[*KINDS, *RELEASED]}"
        )
    policy = _build(path, description, *KINDS[kind])
    load_weights(policy, path)
    return policy.eval()


def kind_of(description: dict[str, Any]) -> str:
    """What a config.json describes: pushcut and LeRobot name a type, others do not."""
    if "type" in description:
        return str(description["type"])
    if description.get("model_type") == "openvla":
        return "openvla"
    if {"action_horizon", "paligemma_variant"} <= description.keys():
        return "openpi"
    return str(description.get("model_type", "without type, model_type or action_horizon"))


def _build(
    path: Path, description: dict, config_type: type, policy_type: Callable[..., Policy]
) -> Policy:
    """The policy that a folder describes, with fresh weights."""
    statistics = read_small_stats(path / "statistics.json")
    try:
        config = config_type(**_tuples(description["config"]))
        shape = DataShape(**_tuples(description["shape"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path / 'config.json'} does not describe a {description['type']} policy: {error}"
        ) from None
    sizes = (statistics["state"].size, statistics["action"].size)
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
"""Checkpoint type of pushcut's own -> its config and its policy."""

LoadReleased = Callable[[Path, dict[str, Any], ReleasedConfig, DataStats | None], Policy]

RELEASED: dict[str, LoadReleased] = {
    "pi0": load_pi0,
    "pi05": load_pi0,
    "openpi": load_pi0,
    "openvla": load_openvla_oft,
}
"""Checkpoint type of others -> what loads it."""
