"""What parts promise, checked one by one: broken promises say what was found and how to mend it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from pushcut.errors import UserError

Part = TypeVar("Part")

Check = Callable[[Part], "str | None"]
"""Looks at a part; returns what it measured, if anything. Its docstring begins with the promise."""


class ContractError(AssertionError):
    """A broken promise: what was expected, what was found, and how to mend it, in one line."""

    def __init__(self, expected: str, found: str, mend: str) -> None:
        super().__init__(f"expected {expected}; found {found}. To mend it: {mend}")


class NotPromisedError(Exception):
    """A promise that says nothing about this part; carries the reason."""


@dataclass(frozen=True)
class Promise(Generic[Part]):
    """Something that every part of a kind promises."""

    check: Check[Part]
    """Raises ContractError where the promise is broken, NotPromisedError where it says nothing."""
    needs: tuple[Check[Part], ...] = ()
    """Checks of promises without which this one must fail too: it is looked at after them."""

    @property
    def name(self) -> str:
        """Name of the promise, for tests and reports."""
        return name_of(self.check)

    @property
    def sentence(self) -> str:
        """What is promised, in one sentence."""
        return (self.check.__doc__ or self.name).splitlines()[0].rstrip(".")


def name_of(check: Check[Part]) -> str:
    """A check's name in words."""
    return getattr(check, "__name__", str(check)).replace("_", " ")


@dataclass(frozen=True)
class Finding:
    """What became of a promise."""

    promise: str
    """Name of the promise."""
    sentence: str
    """What is promised."""
    verdict: Literal["ok", "FAILED", "skipped"]
    reason: str
    """Why it failed or was skipped, or what was measured; one line, or empty."""
    seconds: float


def examine(
    part: Part, promises: Sequence[Promise[Part]], report: Callable[[Finding], None]
) -> list[Finding]:
    """Looks at all promises in their order and reports each; no broken one hides another."""
    findings: list[Finding] = []
    broken: dict[str, str] = {}
    """Name of each promise that is broken, or stands on one that is -> the broken one."""
    for promise in promises:
        causes = [broken[need] for need in map(name_of, promise.needs) if need in broken]
        if causes:
            reason = f"it stands on a promise that is broken: {causes[0]}"
            finding = Finding(promise.name, promise.sentence, "skipped", reason, 0.0)
        else:
            finding = _look(part, promise)
        if causes or finding.verdict == "FAILED":
            broken[promise.name] = causes[0] if causes else promise.name
        findings.append(finding)
        report(finding)
    return findings


def _look(part: Part, promise: Promise[Part]) -> Finding:
    begin = time.monotonic()
    verdict: Literal["ok", "FAILED", "skipped"] = "ok"
    try:
        reason = promise.check(part) or ""
    except NotPromisedError as nothing:
        verdict, reason = "skipped", str(nothing)
    except ContractError as broken:
        verdict, reason = "FAILED", str(broken)
    # The part is somebody's code: whatever it raises is told, with its place.
    except Exception as error:
        verdict, reason = "FAILED", told(error)
    reason = " ".join(reason.split())
    return Finding(promise.name, promise.sentence, verdict, reason, time.monotonic() - begin)


def told(error: Exception) -> str:
    """An unexpected error and the line of code that raised it; a UserError speaks for itself."""
    if isinstance(error, UserError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({place[0].filename}, line {place[0].lineno})" if place else ""
    return f"raised {type(error).__name__}: {error}{where}"
