"""`pushcut schema`: the JSON schema of a command's config, for editors and other programs."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal

from docstring_parser import parse_from_object

from pushcut.config import CollectConfig, EvalConfig, QuickstartConfig, SFTConfig, TrainConfig
from pushcut.presets.choices import CHOICES
from pushcut.registry import problems
from pushcut.runs.config_files import SECTIONS

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
    """JSON schema (draft 2020-12) of what --config takes for a command, plug-ins included.

    A file has a command's fields, or a section of them for each command.
    """
    problems()  # loads what can be loaded
    definitions: dict[str, Any] = {}
    sections = {name: _schema(CONFIGS[name], definitions) for name in SECTIONS}
    root: dict[str, Any] = _schema(CONFIGS[command], definitions)
    if command in sections:
        whole = {"type": "object", "properties": sections, "additionalProperties": False}
        root = {"anyOf": [root, whole | {"required": [command]}]}
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
    if kind in CHOICES or dataclasses.is_dataclass(kind):
        return _config(kind, definitions)
    return {}  # nothing is said of it


def _array(items: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if items[1:] == (...,):
        return {"type": "array", "items": _schema(items[0], definitions)}
    parts = [_schema(item, definitions) for item in items]
    return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}


def _config(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """A dataclass, or one of the registered parts that can stand in its place."""
    if kind not in CHOICES:
        return _reference(kind, definitions)
    choice = CHOICES[kind]
    parts = map(choice.of, choice.registry.usable()[0].values())
    members = dict.fromkeys(part for part in parts if part is not None)
    return {"anyOf": [_reference(one, definitions) for one in members]}


def _reference(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__
    if name in definitions and definitions[name]["$comment"] != kind.__module__:
        name = f"{kind.__module__}.{name}"  # a class of another part
    if name not in definitions:
        definitions[name] = {"$comment": kind.__module__}  # it may hold itself
        hints, described = typing.get_type_hints(kind), _descriptions(kind)
        fields = {
            field.name: _schema(hints[field.name], definitions) | described.get(field.name, {})
            for field in dataclasses.fields(kind)
        }
        definitions[name] |= {
            "type": "object",
            "properties": {"type": {"const": kind.__name__}, **fields},
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
