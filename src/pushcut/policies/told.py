"""The sentences that a policy was fine-tuned on, which its folder remembers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from pushcut.errors import UserError

FILE = "instructions.json"
"""File of a policy folder, of pushcut's own and of released layouts: {task: [sentence, ...]}.

Where the demonstrations do not name a task, its sentence stands for the name.
"""

Told = Mapping[str, tuple[str, ...]]
"""Task -> the sentences it was told with, the usual one first."""


@runtime_checkable
class Episode(Protocol):
    """What a demonstration says of its task."""

    @property
    def task(self) -> str:
        """The task's name, or its sentence where it has none."""
        ...

    @property
    def instruction(self) -> str:
        """The sentence."""
        ...


def told_by(episodes: Iterable[Episode]) -> Told:
    """The sentences of demonstrations, by task."""
    found: dict[str, dict[str, None]] = {}
    for episode in episodes:
        if episode.instruction.strip():
            found.setdefault(episode.task, {})[episode.instruction] = None
    return {task: tuple(texts) for task, texts in found.items()}


def write_told(told: Told, folder: Path) -> None:
    """Writes the sentences into a policy folder; nothing where none are known."""
    if told:
        content = {task: list(texts) for task, texts in told.items()}
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read_told(folder: Path) -> Told:
    """The sentences in a policy folder; none where it does not remember any."""
    file = folder / FILE
    return told_in(file) if file.is_file() else {}


def told_in(file: Path) -> Told:
    """Reads a file {task: sentence} or {task: [sentence, ...]}; UserError in one line."""
    try:
        pairs = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_Pairs)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(pairs, _Pairs):
        raise UserError(f"{file} holds no JSON object {{task: sentence}}")
    told: dict[str, tuple[str, ...]] = {}
    for task, value in pairs:
        texts = [value] if isinstance(value, str) else value
        if task in told:
            raise UserError(f"{file} names task {task!r} twice")
        # An object is a list of pairs here, so that names that come twice are seen.
        if isinstance(texts, _Pairs) or not isinstance(texts, list) or not texts:
            raise UserError(f"{file}: {task!r} needs a sentence, or a list of sentences")
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise UserError(f"{file}: the sentence of {task!r} is empty or no text")
        told[task] = tuple(texts)
    return told


class _Pairs(list):
    """A JSON object with all of its names."""
