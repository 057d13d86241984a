"""`pushcut schema`: the JSON schema of a command's config, for editors and other programs."""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal

from docstring_parser import parse_from_object

from pushcut.config import CollectConfig, EvalConfig, QuickstartConfig, SFTConfig, TrainConfig
from pushcut.envs import ENVS
from pushcut.envs.base import EnvConfig
from pushcut.registry import REGISTRIES

CONFIGS: dict[str, type] = {
    "collect": CollectConfig,
    "sft": SFTConfig,
    "train": TrainConfig,
    "eval": EvalConfig,
    "quickstart": QuickstartConfig,
}

SIMPLE = {int: "integer", float: "number", str: "string", bool: "boolean", Path: "string"}


def run_schema(command: Literal["collect", "sft", "train", "eval", "quickstart"]) -> str:
    """JSON schema of what --config takes, plug-ins included, for editors and other programs.

    Args:
        command: Whose config: collect, sft, train, eval or quickstart.
    """
    return json.dumps(schema_of(command), indent=2)


def schema_of(command: str) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of what --config takes for a command, plug-ins included."""
    for registry in REGISTRIES:
        registry.load_all()
    definitions: dict[str, Any] = {}
    root = _schema(CONFIGS[command], definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"pushcut {command}",
        **root,
        "$defs": definitions,
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value; dataclasses go to the definitions."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind in SIMPLE:
        return {"type": SIMPLE[kind]}
    if kind is types.NoneType:
        return {"type": "null"}
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(member, definitions) for member in inner]}
    if origin is tuple:
        return _array(inner, definitions)
    return _config(kind, definitions)


def _array(items: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if items[1:] == (...,):
        return {"type": "array", "items": _schema(items[0], definitions)}
    parts = [_schema(item, definitions) for item in items]
    return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}


def _config(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """A dataclass, or one of its subclasses."""
    members = [one for one in (kind, *_subclasses(kind)) if dataclasses.is_dataclass(one)]
    if kind is EnvConfig:  # the part of a mix that one process plays is nobody's setting
        members = [one for one in members if one in ENVS.values()]
    if len(members) == 1 and members[0] is kind:
        return _reference(kind, definitions)
    return {"anyOf": [_reference(one, definitions) for one in members]}


def _subclasses(kind: type) -> list[type]:
    below = [sub for one in kind.__subclasses__() for sub in (one, *_subclasses(one))]
    return [one for one in below if not inspect.isabstract(one)]


def _reference(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}  # it may hold itself
        hints, described = typing.get_type_hints(kind), _descriptions(kind)
        fields = {
            field.name: _schema(hints[field.name], definitions) | described.get(field.name, {})
            for field in dataclasses.fields(kind)
        }
        definitions[name] = {
            "type": "object",
            "properties": {"type": {"const": name}, **fields},
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}


def _descriptions(kind: type) -> dict[str, dict[str, str]]:
    """What the docstrings say of the fields, also those of base classes."""
    found: dict[str, dict[str, str]] = {}
    for one in reversed(kind.__mro__):
        if dataclasses.is_dataclass(one):
            for parameter in parse_from_object(one).params:
                text = " ".join((parameter.description or "").split())
                found[parameter.arg_name] = {"description": text}
    return found
