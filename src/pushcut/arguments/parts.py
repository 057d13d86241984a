"""Parts chosen by name on the command line, as in ``--env NAME`` and ``--policy NAME``."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pushcut.envs.base import EnvConfig
from pushcut.errors import UserError
from pushcut.presets.choices import CHOICES


def with_parts(config: Any, arguments: Sequence[str]) -> tuple[Any, list[str]]:
    """The config with the parts that arguments choose, and the other arguments.

    ``--train.env NAME`` chooses one part, ``--env NAME`` all environments of a command. A new
    part keeps those values of the old one that every part of its kind has.

    Raises:
        UserError: Where nothing of this kind has the name, or it cannot be made without values.
    """
    places, rest = dict(_places(config)), []
    waiting = iter(arguments)
    for argument in waiting:
        flag, equals, name = argument.partition("=")
        meant = _meant(flag, places)
        if not meant:
            rest.append(argument)
            continue
        name = name if equals else next(waiting, "")
        if not name or name.startswith("-"):
            names = CHOICES[places[meant[0]]].registry
            raise UserError(f"{flag} needs a name; have {', '.join(names)}")
        kinds = {path: _kind(places[path], name) for path in meant}
        if not any(kinds.values()):
            raise UserError(f"{flag} {name}: such a policy is not made new; give --policy.path DIR")
        for path, kind in kinds.items():
            if kind is not None:
                change = partial(_made, kind, base=places[path], name=name)
                config = _set(config, path, change)
    return config, rest


def _places(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type]]:
    """Every field that holds a part, and the annotation that it has."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if hint in CHOICES:
            yield (*path, field.name), hint
        elif dataclasses.is_dataclass(value):
            yield from _places(value, (*path, field.name))


def _meant(flag: str, places: Mapping[tuple[str, ...], type]) -> list[tuple[str, ...]]:
    if not flag.startswith("--"):
        return []
    path = tuple(flag[2:].replace("-", "_").split("."))
    labelled = [place for place, base in places.items() if (CHOICES[base].label,) == path]
    return labelled or [path] * (path in places)


def _kind(base: type, name: str) -> type | None:
    """The class that a name stands for where a base is wanted; None where it has no place."""
    choice = CHOICES[base]
    return choice.of(choice.registry.find(name))


def _made(kind: Any, old: Any, *, base: type, name: str) -> Any:
    """A part of a class, with what was set of the one that it replaces."""
    if type(old) is kind:
        return old
    # What an environment is told belongs to its own tasks.
    keeps = dataclasses.is_dataclass(base) and base is not EnvConfig
    shared = dataclasses.fields(base) if keeps else ()
    usual = {field.name: field.default for field in dataclasses.fields(old)}
    # What was not set keeps the new part's own default.
    values = {field.name: getattr(old, field.name) for field in shared}
    kept = {field: value for field, value in values.items() if value != usual[field]}
    try:
        return kind(**kept)
    except TypeError as error:
        raise UserError(f"{name} needs values that have no default: {error}") from None


def _set(config: Any, path: tuple[str, ...], change: Callable[[Any], Any]) -> Any:
    first, *deeper = path
    old = getattr(config, first)
    new = _set(old, tuple(deeper), change) if deeper else change(old)
    return dataclasses.replace(config, **{first: new})
