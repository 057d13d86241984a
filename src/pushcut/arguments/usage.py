"""The error of a command line that cannot be understood, and flags apart from the fields."""

from __future__ import annotations

from collections.abc import Sequence


class UsageError(Exception):
    """The command line itself is wrong."""


def taken(flag: str, rest: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of a flag that stands apart from the fields, and the other arguments."""
    value, others, waiting = None, [], iter(rest)
    for argument in waiting:
        name, equals, given = argument.partition("=")
        if name != flag:
            others.append(argument)
            continue
        value = given if equals else next(waiting, "")
        if not value or value.startswith("--"):
            raise UsageError(f"{flag} needs a value")
    return value, others
