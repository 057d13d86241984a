"""Notices that a checkpoint was replaced."""

from __future__ import annotations

from pathlib import Path

from pushcut.errors import UserError
from pushcut.policies.places import policy_folder

Fingerprint = tuple[tuple[str, int, int], ...]
"""Path, size and time of change (ns) of each file."""


def fingerprint(path: Path) -> Fingerprint:
    """What changes when the policy at a path is replaced; empty while there is none.

    ``path`` may be a run: a newer checkpoint of it is another policy.
    """
    try:
        folder = policy_folder(path)
        files = sorted(file for file in folder.iterdir() if file.is_file())
        stats = [(str(file), file.stat()) for file in files]
    except (UserError, OSError):  # it is being replaced just now
        return ()
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


class Watch:
    """Asked at intervals whether another policy lies at a path, whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken = self._last = fingerprint(path)

    def replaced(self) -> bool:
        """Whether there is one that was not there before; true once for each.

        It must have been the same at two questions in a row: nobody writes it any more.
        """
        now, last = fingerprint(self._path), self._last
        self._last = now
        if not now or now != last or now == self._taken:
            return False
        self._taken = now
        return True
