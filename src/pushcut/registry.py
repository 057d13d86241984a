"""Registries: parts by name, pushcut's own and those that come from outside."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from typing import Any, Generic, TypeVar, overload

from pushcut.errors import UserError

Part = TypeVar("Part")
Added = TypeVar("Added")

FEW = 20
"""Names that an error may list."""

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
        self._own = frozenset(own)
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
            raise UserError(f"there is {self.kind} {name!r} already; give yours another name")
        try:
            self._parts[name] = self._adapt(name, part)
        except TypeError as error:
            raise UserError(f"{self.kind} {name!r}: {error}") from None
        return part

    def __getitem__(self, name: str) -> Part:
        if name not in self._parts:
            points = self._points().get(name)
            if points is None:
                raise KeyError(name)
            if len(points) > 1:
                them = " and ".join(sorted(map(_package, points)))
                raise UserError(f"{them} both have {self.kind} {name!r}: uninstall one of them")
            self.register(name, _loaded(points[0]))
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

    @property
    def added(self) -> list[str]:
        """Names of the parts that were not there from the start."""
        return [name for name in self if name not in self._own]

    def usable(self) -> tuple[dict[str, Part], list[str]]:
        """Every part that can be loaded, and one line for each that cannot."""
        parts: dict[str, Part] = {}
        problems: list[str] = []
        points = self._points()
        for name in self:
            try:
                parts[name] = self[name]
                for point in points.get(name, ()):
                    if not _same(self._parts[name], _loaded(point)):
                        package = _package(point)
                        problems.append(f"{self.kind} {name!r} of {package} is hidden by another")
            except UserError as error:
                problems.append(str(error))
        return parts, problems

    def _points(self) -> dict[str, list[EntryPoint]]:
        """Name -> the entry points of that name: of several packages more than one."""
        found: dict[str, list[EntryPoint]] = {}
        for point in _installed(self.group, tuple(sys.path)):
            if point not in found.setdefault(point.name, []):
                found[point.name].append(point)
        return found


@cache
def _installed(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group; Python reads the folders of ``path`` for them each time."""
    return tuple(entry_points(group=group))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """One line that guesses what was meant, or names some of what exists."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {what} {name!r}; {hint}{some_of(what, known)}"


def some_of(what: str, names: Sequence[str]) -> str:
    """All names where they are few, else some, and how to see the others."""
    if len(names) <= FEW or what != "preset":
        return f"have {', '.join(names)}"
    return f"there are {len(names)}, such as {', '.join(names[:3])}: `pushcut {what}s` lists them"


def subclass(base: type, name: str) -> type | None:
    """The class called ``name`` among a base and its subclasses, those of plug-ins too."""
    found = [kind for kind in _family(base) if kind.__name__ == name]
    if not found:
        problems()  # loads what can be loaded
        found = [kind for kind in _family(base) if kind.__name__ == name]
    if len({kind.__module__ for kind in found}) > 1:
        modules = " and ".join(sorted(kind.__module__ for kind in found))
        raise UserError(f"{name} is a class of {modules}: give one of them another name")
    return found[-1] if found else None


def problems() -> list[str]:
    """Loads every plug-in of the installed packages; one line for each that cannot be loaded."""
    return [line for registry in REGISTRIES for line in registry.usable()[1]]


def family_names(base: type) -> list[str]:
    """Names of what can stand where a base is wanted: what is registered, or all subclasses."""
    parts = [part for registry in REGISTRIES for part in registry.usable()[0].values()]
    own = [part for part in parts if isinstance(part, type) and issubclass(part, base)]
    return sorted({kind.__name__ for kind in own or _family(base) if not isabstract(kind)})


def packages() -> dict[str, str]:
    """Installed packages that add parts -> their versions."""
    path = tuple(sys.path)
    points = (point for registry in REGISTRIES for point in _installed(registry.group, path))
    return {point.dist.name: point.dist.version for point in points if point.dist}


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
        raise UserError(
            f"plug-in {point.name!r} of {_package(point)} cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _same(old: Any, new: Any) -> bool:
    """Whether a name is given to what has it already, as when a file is loaded twice."""
    return old is new or getattr(old, "made_of", None) is new
