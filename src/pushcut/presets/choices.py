"""Which registered parts can stand in a field of a config."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from pushcut.algorithms import ALGORITHMS
from pushcut.algorithms.base import Algorithm
from pushcut.envs import ENVS
from pushcut.envs.base import EnvConfig
from pushcut.policies import POLICIES, PolicySource
from pushcut.policies.from_data import PolicyConfig
from pushcut.registry import Registry


@dataclasses.dataclass(frozen=True)
class Choice:
    """A field whose value can be any registered part."""

    label: str
    """What the part is called on the command line, wherever it stands."""
    registry: Registry[Any]
    of: Callable[[Any], type | None] = lambda part: part
    """The class of the field's value, from what is registered; None where it has no place here."""


CHOICES: Mapping[type, Choice] = {
    EnvConfig: Choice("env", ENVS),
    Algorithm: Choice("algorithm", ALGORITHMS),
    PolicySource: Choice("policy", POLICIES, lambda kind: kind.source or PolicySource),
    PolicyConfig: Choice("policy", POLICIES, lambda kind: kind.new),
}
"""Annotation of a field -> what can be chosen there."""
