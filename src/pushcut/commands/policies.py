"""`pushcut policies`: kinds of policies, what their folders must hold, what was verified how."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pushcut.errors import UserError
from pushcut.policies import POLICIES
from pushcut.policies.evidence import PolicyFacts, Shown
from pushcut.registry import unknown


def run_policies(names: tuple[str, ...], markdown: bool = False) -> None:
    """Prints what is known of every kind of policy, or of some.

    Args:
        names: Kinds, by the type that a folder's config.json names; none: all.
        markdown: Print one table, as docs/how-to/vla.md has it.
    """
    kinds = known()
    for name in names:
        if name not in kinds:
            raise UserError(unknown("policy", name, kinds))
    chosen = {name: kinds[name] for name in names or kinds}
    print(table(chosen) if markdown else "\n\n".join(_blocks(chosen)))


def known() -> dict[str, PolicyFacts | None]:
    """Kind -> what is known of it, without the names that are another kind's too."""
    kinds, broken = POLICIES.usable()
    for line in broken:
        print(f"warning: {line}", file=sys.stderr)
    readers = {kind.load for kind in kinds.values() if kind.facts is not None}
    return {
        name: kind.facts
        for name, kind in kinds.items()
        if kind.facts is not None or kind.load not in readers
    }


def _blocks(kinds: dict[str, PolicyFacts | None]) -> Iterator[str]:
    for name, facts in kinds.items():
        if facts is None:
            yield f"{name}\n  its author has stated nothing of it"
            continue
        rows = {"acts by": facts.acts, "folder": facts.folder}
        rows |= {what: _told(shown) for what, shown in facts.findings.items()}
        lines = [f"  {what:16}{text}" for what, text in rows.items()]
        yield "\n".join([f"{name}: {facts.title}", *lines])


def _told(shown: Shown) -> str:
    return f"{shown.what} ({', '.join(shown.where)})" if shown.where else shown.what


def table(kinds: dict[str, PolicyFacts | None]) -> str:
    """A table in Markdown of what is known; evidence is linked as from a page in docs/how-to."""
    heads = ["`type`", "Policy", "Acts by", "Its folder must hold", *_HEADS]
    rows = [heads, ["---"] * len(heads)]
    for name, facts in kinds.items():
        if facts is None:
            rows.append([f"`{name}`", *["not stated"] * (len(heads) - 1)])
            continue
        findings = [_linked(shown) for shown in facts.findings.values()]
        rows.append([f"`{name}`", facts.title, facts.acts, facts.folder, *findings])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_HEADS = ("Parity", "Full size", "GPU", "Real checkpoint")


def _linked(shown: Shown) -> str:
    links = [f"[{where.rpartition('/')[2]}](../../{where})" for where in shown.where]
    return f"{shown.what}: {', '.join(links)}" if links else shown.what
