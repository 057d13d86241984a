"""Reads the instructions of LeRobot datasets, in whatever table a tool has left them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pushcut.demos.frames import readable
from pushcut.demos.lerobot import layout
from pushcut.errors import UserError

TASKS_V2 = "meta/tasks.jsonl"

_INDEX, _TEXT = "task_index", "task"


def read_tasks(path: Path, version: str) -> dict[int, str]:
    """The instruction of each task_index, from the file of its version or else of the other."""
    file, other = path / layout.TASKS_PATH, path / TASKS_V2
    if version == "v2":
        file, other = other, file
    if not file.exists() and other.exists():
        file = other
    with readable(file):
        pairs = _of_table(file) if file.suffix == ".parquet" else _of_lines(file)
        tasks: dict[int, str] = {}
        for index, words in pairs:
            text = _text(file, index, words)
            if tasks.setdefault(int(index), text) != text:
                raise UserError(
                    f"{file} says both {tasks[int(index)]!r} and {text!r} for task_index {index}"
                )
    return tasks


def _text(file: Path, index: Any, words: Any) -> str:
    """An instruction, which may be a list of one."""
    one = words[0] if isinstance(words, list) and len(words) == 1 else words
    if not isinstance(one, str):
        raise UserError(f"{file}: the instruction of task_index {index} is {words!r}, not a text")
    return one


def json_lines(file: Path) -> list[dict[str, Any]]:
    """The objects of a file, one in each line.

    Only a line feed ends a line: instructions may hold U+2028 and other separators.
    """
    lines = file.read_text(encoding="utf-8-sig").split("\n")
    rows = [json.loads(line) for line in lines if line.strip()]
    if wrong := [row for row in rows if not isinstance(row, dict)]:
        raise UserError(f"{file} has a line that is no JSON object: {str(wrong[0])[:60]}")
    return rows


def _of_lines(file: Path) -> Iterable[tuple[Any, Any]]:
    return [(row[_INDEX], row[_TEXT]) for row in json_lines(file) if row[_TEXT] is not None]


def _of_table(file: Path) -> Iterable[tuple[Any, Any]]:
    """Texts and numbers may be the table's index, as pandas writes it, or columns beside others."""
    table = pq.read_table(file)
    kinds = {name: _kind(table[name]) for name in table.column_names}
    first = [_TEXT, *_index_columns(table)]
    texts = [name for name in table.column_names if kinds[name] is str]
    text = next((name for name in first if name in texts), texts[0] if len(texts) == 1 else None)
    if text is None:
        raise UserError(
            f"{file} has no column {_TEXT!r}, and {texts or 'none'} of its columns "
            f"{table.column_names} hold texts"
        )
    first = [_INDEX, *_index_columns(table), "index"]
    number = next((name for name in first if kinds.get(name) in (int, float)), None)
    numbers = range(len(table)) if number is None else table[number].to_pylist()
    pairs = zip(numbers, table[text].to_pylist(), strict=True)
    return [(index, words) for index, words in pairs if index is not None and words is not None]


def _kind(column: pa.ChunkedArray) -> type:
    return next((type(value) for value in column.to_pylist() if value is not None), type(None))


def _index_columns(table: pa.Table) -> list[str]:
    """Columns that were the index of a pandas table; nameless ones have names of that kind."""
    told = (table.schema.pandas_metadata or {}).get("index_columns", [])
    nameless = [name for name in table.column_names if name.startswith("__index_level_")]
    return [name for name in told if isinstance(name, str)] + nameless
