"""Flags of a config, told without building a parser: for completion and messages."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Flag:
    """A flag and the values that it takes."""

    name: str
    choices: tuple[str, ...] = ()
    is_path: bool = False


def flags_of(config: Any, group: str = "") -> Iterator[Flag]:
    """Every flag that sets a field of a config."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), f"{group}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from flags_of(value, f"{path}.")
            continue
        hint, name = hints[field.name], path.replace("_", "-")
        yield Flag(f"--{name}", _choices(hint), "Path" in str(hint))
        if hint is bool:
            start, _, last = name.rpartition(".")
            yield Flag(f"--{start}.no-{last}" if start else f"--no-{last}")


def _choices(hint: Any) -> tuple[str, ...]:
    """The values of a Literal, or of a tuple of them."""
    for part in (hint, *typing.get_args(hint)):
        if typing.get_origin(part) is typing.Literal:
            return tuple(str(value) for value in typing.get_args(part))
    return ()
