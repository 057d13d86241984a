"""`pushcut presets`: what there is, what a preset sets and why, and its YAML."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pushcut.envs import ENVS
from pushcut.errors import UserError
from pushcut.presets import PRESETS, find_preset
from pushcut.presets.base import Preset
from pushcut.runs.config_json import to_json, to_yaml

COMMANDS = ("collect", "sft", "train", "eval")


def run_presets(words: tuple[str, ...], yaml: bool = False) -> None:
    """Prints the presets, those with some words, or what one preset sets.

    Args:
        words: The name of a preset, or words that stand in its name or summary.
        yaml: Print the preset as a file for --config.
    """
    if len(words) == 1 and _is_preset(words[0], exactly=yaml):
        print(yaml_of(words[0]) if yaml else description(words[0]), end="")
    elif yaml:
        raise UserError("whose YAML? pushcut presets NAME --yaml")
    else:
        print_presets(words)


def _is_preset(name: str, *, exactly: bool) -> bool:
    """Whether a preset is meant, not a word; what is called as an environment may be both."""
    return name in PRESETS or name in ENVS.added or (exactly and name in ENVS)


def _listed() -> Iterator[tuple[str, str, str]]:
    """Group, name and summary of what a command takes; says what cannot be loaded."""
    presets, broken = PRESETS.usable()
    envs, others = ENVS.usable()
    for line in [*broken, *others]:
        print(f"warning: {line}", file=sys.stderr)
    for name, preset in presets.items():
        yield preset.group, name, preset.summary
    for name in ENVS.added:
        if name in envs and name not in presets:
            text = (inspect.getdoc(envs[name]) or "").partition("\n")[0]
            yield "environments from outside, with settings for no task in particular", name, text


def print_presets(words: Sequence[str]) -> None:
    """Prints the presets in groups, or those with all of some words."""
    found: dict[str, list[tuple[str, str]]] = {}
    for group, name, summary in _listed():
        if all(word in f"{name} {summary}" for word in words):
            found.setdefault(group, []).append((name, summary))
    if not found:
        raise UserError(f"no preset with {' '.join(words)!r}; `pushcut presets` lists all")
    width = max(len(name) for lines in found.values() for name, _ in lines)
    for group, lines in found.items():
        print(f"{group}:")
        for name, summary in lines:
            print(f"  {name:{width}}  {summary}")
    print("\n`pushcut presets NAME` shows what a preset sets and where its numbers are from.")


def yaml_of(name: str) -> str:
    """A preset as a file for --config: a section for each command."""
    preset = find_preset(name)
    sections = {command: to_json(getattr(preset, command)) for command in COMMANDS}
    usage = "pushcut train --config FILE --policy.path DIR --out RUN"
    return f"# {name}: {preset.summary}\n# {usage}\n{to_yaml(sections)}"


def description(name: str) -> str:
    """Every value of a preset that is not the default, and its source."""
    preset = find_preset(name)
    usual = "pushcut" if name in PRESETS and name not in PRESETS.added else "not said"
    rows = [("setting", "value", "default", "source"), *_rows(preset, usual)]
    widths = [min(46, max(len(row[column]) for row in rows)) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row[:3], widths, strict=True)), row[3]])
        for row in rows
    ]
    text = "\n".join(line.rstrip() for line in lines)
    return (
        f"{name}: {preset.summary}\n\n{text}\n\nAll other settings have their defaults; collect, "
        f"sft and eval share what train says.\n`pushcut presets {name} --yaml > my.yaml` writes "
        "all of them, for --config my.yaml.\n"
    )


def _rows(preset: Preset, usual: str) -> Iterator[tuple[str, str, str, str]]:
    shared = {path.partition(".")[2]: value for path, value, _ in changed("train", preset.train)}
    for command in COMMANDS:
        for path, value, default in changed(command, getattr(preset, command)):
            inner = path.partition(".")[2]
            if command != "train" and shared.get(inner) == value:
                continue  # as in train
            yield path, value, default, preset.source_of(path) or usual


def changed(path: str, config: Any) -> Iterator[tuple[str, str, str]]:
    """Fields whose value is not the default, as (path, value, default)."""
    defaults = _defaults(type(config))
    for field in dataclasses.fields(config):
        value, inner = getattr(config, field.name), f"{path}.{field.name}"
        usual = defaults.get(field.name, dataclasses.MISSING)
        if dataclasses.is_dataclass(value):
            if usual is not dataclasses.MISSING and type(usual) is not type(value):
                yield inner, type(value).__name__, type(usual).__name__
            elif usual is dataclasses.MISSING:
                yield inner, type(value).__name__, ""
            yield from changed(inner, value)
        elif value != usual:
            yield inner, _text(value), "" if usual is dataclasses.MISSING else _text(usual)


def _defaults(kind: Any) -> dict[str, Any]:
    """Field -> its default, where it has one."""
    return {
        field.name: field.default
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING
    }


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        text = " ".join(_text(item) for item in value)
        return text if len(text) <= 46 else f"{text[:43]}..."
    if dataclasses.is_dataclass(value):
        return str(getattr(value, "name", type(value).__name__))
    return "-" if value is None else str(value)
