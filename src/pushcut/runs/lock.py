"""One process at a time in a run folder."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from pushcut.errors import UserError

LOCK = ".lock"
"""File in the folder that is locked; it says who has it."""

PAUSE_S = 0.1
"""Between looks whether a folder is free."""

R = TypeVar("R")


def alone_in_folder(command: Callable[[Any], R]) -> Callable[[Any], R]:
    """Decorates a command: it refuses to run while another process works in its folder ``out``."""

    @functools.wraps(command)
    def alone(config: Any) -> R:
        if config.out is None:
            return command(config)  # which asks for one
        with folder_lock(config.out):
            return command(config)

    return alone


@contextmanager
def folder_lock(folder: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Holds a folder, made where there is none; UserError names the process that has it.

    ``wait_s``: longest time to wait for that process to end.

    The kernel lets go of the lock when the process ends, however it ends: a file that is left
    behind means nothing. On NFS the lock holds between machines, as long as the mount has its
    lock service; where a file system has no locks at all, this says so and goes on.
    """
    if folder.exists() and not (folder / "config.json").exists() and not is_empty(folder):
        yield  # no run of ours: leave nothing there; the command will refuse it
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / LOCK, time.monotonic() + wait_s) as file:
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}) + "\n")
        file.flush()
        try:
            yield
        finally:
            if all(entry.name == LOCK for entry in folder.iterdir()):
                with suppress(OSError):  # nothing came of it
                    (folder / LOCK).unlink()
                    folder.rmdir()


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what an attempt to make a run leaves behind."""
    return folder.is_dir() and all(entry.name.startswith(".") for entry in folder.iterdir())


def _locked(path: Path, give_up: float) -> IO[str]:
    """The file, open and locked."""
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            if time.monotonic() < give_up:
                time.sleep(PAUSE_S)
                continue
            advice = "wait for it, stop it, or choose another folder with --out"
            raise UserError(f"{path.parent} is in use by {_owner(path)}: {advice}") from None
        except OSError as error:
            print(
                f"cannot lock {path.parent} ({error.strerror}): make sure that no other process "
                "works there",
                file=sys.stderr,
            )
            return file
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
        file.close()  # its owner removed it just now
        path.parent.mkdir(parents=True, exist_ok=True)


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text())
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError):  # it is writing who it is
        return "another process"
