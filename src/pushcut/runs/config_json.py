"""Configs to JSON, back, and compared: what a run folder stores of its settings."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.runs.renamed import current


def to_json(value: Any) -> Any:
    """Dataclasses to JSON values; a nested dataclass carries its type's name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return str(value.absolute()) if isinstance(value, Path) else value


def from_json(kind: Any, value: Any) -> Any:
    """Inverse of ``to_json``; ``kind`` is the annotation of the value.

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


def stored_config(run: Path) -> Any:
    """The config of a run folder, under the names of today."""
    return current(json.loads((run / "config.json").read_text())["config"])


def check_stored_config(path: Path, config: Any, *, may_change: tuple[str, ...]) -> None:
    """Raises UserError where a run folder has another config than the one given."""
    stored = _with_defaults(stored_config(path), config)
    check_same_config(stored, to_json(config), may_change=may_change)


def _with_defaults(stored: Any, config: Any) -> Any:
    """A stored config, and the defaults of fields that are newer than it."""
    if not dataclasses.is_dataclass(config) or not isinstance(stored, dict):
        return stored
    if stored.get("type", type(config).__name__) != type(config).__name__:
        return stored
    filled = dict(stored)
    for field in dataclasses.fields(config):
        if field.name in stored:
            filled[field.name] = _with_defaults(stored[field.name], getattr(config, field.name))
        elif field.default is not dataclasses.MISSING:
            filled[field.name] = to_json(field.default)
    return filled


def check_same_config(
    stored: Any, given: Any, *, may_change: tuple[str, ...], group: str = ""
) -> None:
    """Raises UserError that names the first field that differs and may not, as it is typed.

    ``group``: what the flags of these fields begin with.
    """
    for name in sorted(stored.keys() | given.keys()):
        old, new = stored.get(name), given.get(name)
        # A group that is newer than the run has no type there.
        if name in may_change or old == new or (name, old) == ("type", None):
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            check_same_config(old, new, may_change=may_change, group=f"{group}{name}.")
            continue
        if name == "type":
            part = group.rstrip(".") or "the command"
            difference = f"{old} as {part}, the command's preset has {new}"
        else:
            difference = (
                f"{_typed(group + name, old)}, the command says {_typed(group + name, new)}"
            )
        raise UserError(
            f"--resume: the run was started with {difference}; give the same settings or start a "
            "new run with --out"
        )


def _typed(field: str, value: Any) -> str:
    """A setting as it is typed."""
    group, dot, name = field.replace("_", "-").rpartition(".")
    if isinstance(value, bool):
        return f"--{group}{dot}{'' if value else 'no-'}{name}"
    if isinstance(value, list):
        value = " ".join(str(item) for item in value) or "()"
    return f"--{group}{dot}{name} {value}"
