"""Configs that a run folder stores, back as dataclasses."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

from pushcut.errors import UserError


def from_json(kind: Any, value: Any) -> Any:
    """What ``run.to_json`` made JSON of; ``kind`` is its annotation.

    Members of unions are told apart by the type's name that is stored with a dataclass.
    UserError where a field is not there any more.
    """
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return from_json(_member(typing.get_args(kind), value), value)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value)
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        if items[1:] == (...,):
            items = items[:1] * len(value)
        return tuple(from_json(item, x) for item, x in zip(items, value, strict=True))
    return Path(value) if kind is Path else value


def _member(members: tuple[Any, ...], value: Any) -> Any:
    if value is None:
        return type(None)
    if isinstance(value, dict):
        for member in members:
            if getattr(member, "__name__", None) == value.get("type"):
                return member
    return next(member for member in members if member is not type(None))


def _dataclass(kind: Any, value: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    stored = {name: x for name, x in value.items() if name != "type"}
    if unknown := sorted(stored.keys() - hints.keys()):
        raise UserError(
            f"the stored config has {kind.__name__}.{unknown[0]}, which this version of pushcut "
            "does not know: use the version that config.json names"
        )
    return kind(**{name: from_json(hints[name], x) for name, x in stored.items()})
