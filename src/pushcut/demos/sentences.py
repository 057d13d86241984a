"""The instructions of a dataset and the tasks that they belong to, without reading its frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pushcut.demos.dialects import DataConfig
from pushcut.demos.frames import readable
from pushcut.demos.lerobot import layout
from pushcut.demos.lerobot.tasks import TASKS_V2, json_lines
from pushcut.demos.sources import open_source

TEXT = ("task", "__index_level_0__")
"""Columns that hold the sentence; pandas names an index without a name so."""


def sentences_of(path: Path) -> dict[str, tuple[str, ...]]:
    """Name of each task, or its sentence where it has no name -> its sentences.

    Names are those of the episodes, where pushcut collected them, or stand in another column of
    the list of tasks. UserError in one line where there is no dataset.
    """
    if (path / layout.INFO_PATH).is_file():
        said = (*_of_episodes(path), *_of_tasks(path))
    else:
        said = ((one.task, one.instruction) for one in open_source(path, DataConfig()).episodes)
    found: dict[str, dict[str, None]] = {}
    for name, text in said:
        found.setdefault(name, {})[text] = None
    named = {text for name, texts in found.items() for text in texts if name != text}
    return {
        name: tuple(texts)
        for name, texts in found.items()
        if not (name in named and tuple(texts) == (name,))
    }


def _of_tasks(path: Path) -> Iterator[tuple[str, str]]:
    """The list of tasks: other columns of text than the sentence's may name the task."""
    for row in _task_rows(path):
        text = next((row[name] for name in TEXT if name in row), None)
        texts = {name: x for name, x in row.items() if isinstance(x, str) and name not in TEXT}
        if text is None and texts:
            text = texts.pop(next(iter(texts)))
        if isinstance(text, str) and text.strip():
            yield text, text
            for name in texts.values():
                yield name, text


def _task_rows(path: Path) -> list[dict[str, Any]]:
    file, old = path / layout.TASKS_PATH, path / TASKS_V2
    if not file.is_file() and old.is_file():
        with readable(old):
            return json_lines(old)
    with readable(file):
        return pq.read_table(file).to_pylist()


def _of_episodes(path: Path) -> Iterator[tuple[str, str]]:
    """Episodes of pushcut name their task, and have one sentence."""
    for file in sorted((path / layout.EPISODES_FOLDER).glob("*/*.parquet")):
        with readable(file):
            if not {layout.TASK_NAME, "tasks"} <= set(pq.read_schema(file).names):
                return
            for row in pq.read_table(file, columns=[layout.TASK_NAME, "tasks"]).to_pylist():
                if row[layout.TASK_NAME] and len(row["tasks"] or ()) == 1:
                    yield row[layout.TASK_NAME], row["tasks"][0]
