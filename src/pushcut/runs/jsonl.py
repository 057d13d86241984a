"""JSON lines: appended, read and rewritten, safe against a full disk and a kill."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pushcut.errors import UserError


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file with one JSON object per line; an empty list where there is no file.

    A last line without its end, as a killed process leaves it, does not count.
    """
    if not path.exists():
        return []
    *lines, _torn = path.read_text().split("\n")
    return [json.loads(line) for line in lines if line]


def append_line(path: Path, content: Mapping[str, Any]) -> None:
    """Appends an object; where there is no room for it the file stays as it was (UserError)."""
    line = (json.dumps(content) + "\n").encode()
    try:
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                written = file.write(line)
                if written != len(line):  # what a full disk had room for
                    written += file.write(line[written:])
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise UserError(
            f"could not write {path}: {error.strerror}; free some space and continue with --resume"
        ) from error


def rewrite_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Replaces the lines of a file that exists; a killed process leaves the old ones."""
    if not path.exists():
        return
    aside = path.with_suffix(".aside")
    aside.write_text("".join(json.dumps(line) + "\n" for line in lines))
    aside.replace(path)
