"""Policies: the protocol and the table of what a checkpoint's ``type`` means."""

from __future__ import annotations

from pathlib import Path

from pushcut.errors import UserError
from pushcut.policies.base import Policy, Statistics
from pushcut.policies.observation_tokens import DataShape
from pushcut.policies.pretrained import load_weights, read_description
from pushcut.policies.tiny import TinyConfig, TinyPolicy


def load_policy(path: Path) -> Policy:
    """Reads a policy folder; UserError in one line where it does not fit."""
    path = Path(path)
    description = read_description(path)
    loader = LOADERS.get(description["type"])
    if loader is None:
        raise UserError(
            f"{path / 'config.json'}: unknown policy type {description['type']!r}; "
            f"have {sorted(LOADERS)}"
        )
    return loader(path, description)


def _load_tiny(path: Path, description: dict) -> TinyPolicy:
    statistics = Statistics.load(path / "statistics.json")
    try:
        config = TinyConfig(**_tuples(description["config"]))
        shape = DataShape(**_tuples(description["shape"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path / 'config.json'} does not describe a tiny policy: {error}"
        ) from None
    sizes = (len(statistics.state_mean), len(statistics.action_low))
    if sizes != (shape.state_size, shape.action_size):
        raise UserError(
            f"{path / 'statistics.json'} is for state and action sizes {sizes}, the policy has "
            f"{(shape.state_size, shape.action_size)}: statistics of another dataset?"
        )
    policy = TinyPolicy(config, shape, statistics)
    load_weights(policy, path)
    return policy.eval()


def _tuples(values: dict) -> dict:
    """JSON has no tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


LOADERS = {"tiny": _load_tiny}
"""Checkpoint type -> function (path, description) -> policy."""
