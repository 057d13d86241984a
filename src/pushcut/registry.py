"""Registries: parts by name, pushcut's own and those that come from outside."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, overload

from pushcut.errors import UserError

Part = TypeVar("Part")
Added = TypeVar("Added")

REGISTRIES: list[Registry[Any]] = []
"""Every registry there is."""

PLUGIN_HINT = "a part from outside comes with --plugin FILE.py, or with its package"


class Registry(Mapping[str, Part], Generic[Part]):
    """Parts of one kind by name.

    A part from outside is added by ``@REGISTRY.register("name")`` in a file that ``--plugin``
    names, or by an entry point of an installed package in the registry's group, which is imported
    when it is first asked for.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        own: Mapping[str, Part],
        *,
        adapt: Callable[[str, Any], Part] | None = None,
    ) -> None:
        """Makes a registry with parts of our own.

        Args:
            kind: What messages call a part.
            group: Group of the entry points by which packages add parts.
            own: Name -> part.
            adapt: Makes a part of what is registered under a name; TypeError where it is none.
        """
        self.kind, self.group = kind, group
        self._adapt = adapt or (lambda name, part: part)
        self._parts: dict[str, Part] = dict(own)
        REGISTRIES.append(self)

    @overload
    def register(self, name: str) -> Callable[[Added], Added]: ...
    @overload
    def register(self, name: str, part: Added) -> Added: ...

    def register(self, name: str, part: Any = None) -> Any:
        """Adds a part, or is the decorator that does; returns what it was given.

        Raises:
            UserError: Where another part has the name, or this is no part of this kind.
        """
        if part is None:
            return lambda decorated: self.register(name, decorated)
        if name in self._parts and not _same(self._parts[name], part):
            raise UserError(f"two {self.kind}s are called {name!r}; give one another name")
        try:
            self._parts[name] = self._adapt(name, part)
        except TypeError as error:
            raise UserError(f"{self.kind} {name!r}: {error}") from None
        return part

    def __getitem__(self, name: str) -> Part:
        if name not in self._parts:
            if (point := self._points().get(name)) is None:
                raise KeyError(name)
            self.register(name, _loaded(point))
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._parts, *self._points()]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._parts or name in self._points()

    def find(self, name: str) -> Part:
        """The part called ``name``; UserError that lists what there is."""
        if name not in self:
            raise UserError(f"{unknown(self.kind, name, self)}; {PLUGIN_HINT}")
        return self[name]

    def load_all(self) -> None:
        """Imports the parts of every installed plug-in."""
        for name in self:
            self[name]

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """One line that guesses what was meant and lists what exists."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name!r}{hint}; have {', '.join(known)}"


def subclass(base: type, name: str) -> type | None:
    """The class called ``name`` among a base and its subclasses, those of plug-ins too."""
    found = [kind for kind in _family(base) if kind.__name__ == name]
    if not found:
        for registry in REGISTRIES:
            registry.load_all()
        found = [kind for kind in _family(base) if kind.__name__ == name]
    if len({kind.__module__ for kind in found}) > 1:
        modules = " and ".join(sorted(kind.__module__ for kind in found))
        raise UserError(f"{name} is a class of {modules}: give one of them another name")
    return found[-1] if found else None


def family_names(base: type) -> list[str]:
    """Names of a base's subclasses that are loaded."""
    return sorted({kind.__name__ for kind in _family(base) if kind is not base})


def _family(base: type) -> Iterator[type]:
    yield base
    for kind in base.__subclasses__():
        yield from _family(kind)


def subclass_of(base: type[Part]) -> Callable[[str, Any], type[Part]]:
    """What a registry of a base's subclasses adapts by: nothing else is a part."""

    def adapt(name: str, part: Any) -> type[Part]:
        if not (isinstance(part, type) and issubclass(part, base) and is_dataclass(part)):
            raise TypeError(f"must be a dataclass and a subclass of {base.__name__}, got {part!r}")
        return part

    return adapt


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        package = point.dist.name if point.dist else point.value
        raise UserError(
            f"plug-in {point.name!r} of {package} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _same(old: Any, new: Any) -> bool:
    """Whether a name is given to what has it already, as when a file is loaded twice."""
    old = getattr(old, "made_of", old)
    return old is new
