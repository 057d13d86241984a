"""`pushcut table`: results of several evaluations in the papers' layout, a row per method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.evaluation.results import EvalResult, load_result, merge
from pushcut.evaluation.stages import stage_table
from pushcut.evaluation.tables import Row, Table


def run_table(results: tuple[str, ...], out: Path | None = None) -> str:
    """Results side by side, as in the papers.

    Rows of the same episodes as the first are compared with it.

    Args:
        results: [NAME=]FILE.json of `pushcut eval`; files of one name, such as those of several
            suites, make one row.
        out: File for the table (Markdown), its JSON beside it.
    """
    if not results:
        raise UserError("which results? name the JSON files that `pushcut eval` wrote")
    if out is not None and out.suffix != ".md":
        raise UserError(f"--out {out}: the table is Markdown, call it {out.with_suffix('.md')}")
    parts: dict[str, list[EvalResult]] = {}
    envs: dict[str, dict[str, Any]] = {}
    overlap: set[str] = set()
    for argument in results:
        name, path = split_name(argument)
        result, content = load_result(path)
        parts.setdefault(name, []).append(result)
        if isinstance(content.get("env"), dict):
            envs.setdefault(name, {}).update(dict.fromkeys(result.per_task, content["env"]))
        if content.get("trained_on_evaluation_states"):
            overlap.add(name)
    table = Table(
        [
            Row(name, merge(found), name in overlap, envs.get(name, {}))
            for name, found in parts.items()
        ]
    )
    text = "\n".join(filter(None, (table.markdown(), stage_table(table.rows))))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
        out.with_suffix(".json").write_text(json.dumps(table.to_json(), indent=2) + "\n")
    return text


def split_name(argument: str) -> tuple[str, Path]:
    """Name of the row and file; a file without a name is called as it lies there."""
    name, equals, path = argument.partition("=")
    if not equals or Path(argument).exists():
        return str(Path(argument).with_suffix("")), Path(argument)
    return name, Path(path)
