"""One process at a time in a run folder."""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

from pushcut.errors import UserError

LOCK = ".lock"
"""File in the folder that is locked; it says who has it."""

PAUSE_S = 0.1
"""Between looks whether a folder is free."""

REMOVAL_S = 1.0
"""How long a folder that is always gone again is taken for one that others remove."""

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
    with _locked(folder / LOCK, wait_s):
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


def _locked(path: Path, wait_s: float) -> AbstractContextManager[object]:
    """The file, made with its folders, locked, and with our name in it."""
    # It brings asyncio, which takes a tenth of a second to import.
    from filelock import FileLock, Timeout

    def sign(descriptor: int) -> None:
        # NFS keeps a removed file that is open under another name: a lock on it is worth nothing.
        try:
            replaced = not os.path.samestat(path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            replaced = True
        if replaced:
            raise _ReplacedError
        owner = {"pid": os.getpid(), "host": socket.gethostname()}
        with suppress(OSError):  # the disk is full: another file will say so
            os.write(descriptor, (json.dumps(owner) + "\n").encode())

    lock = FileLock(path, poll_interval=PAUSE_S, fallback_to_soft=False, on_acquired=sign)
    give_up = time.monotonic() + wait_s
    settled = time.monotonic() + max(wait_s, REMOVAL_S)
    while True:
        try:
            # Twice at least: the first look may find a file that its owner is just removing.
            return lock.acquire(timeout=max(PAUSE_S, give_up - time.monotonic()))
        except _ReplacedError:
            continue
        except Timeout:
            advice = "wait for it, stop it, or choose another folder with --out"
            raise UserError(f"{path.parent} is in use by {_owner(path)}: {advice}") from None
        except OSError as error:
            # Its owner may remove the folder while we make it, or before the file is in it.
            removed = isinstance(error, FileNotFoundError) or (
                isinstance(error, FileExistsError) and not path.parent.exists()
            )
            if removed and time.monotonic() < settled:
                continue
            if error.filename is not None:  # the file cannot be made
                raise UserError(
                    f"{path.parent} cannot be written to ({error.strerror}): choose another "
                    "folder with --out"
                ) from error
            print(
                f"cannot lock {path.parent} ({error.strerror}): make sure that no other process "
                "works there",
                file=sys.stderr,
            )
            return nullcontext()


class _ReplacedError(Exception):
    """The file that is locked is no longer the one of that name."""


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text())
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError):  # it is writing who it is
        return "another process"
