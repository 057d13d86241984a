"""The run's log.txt: what is said, warnings, and how the run ended."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pushcut.errors import Interrupted, UserError

LOG = "log.txt"
"""The log in a run folder."""


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """While open, everything of pushcut's loggers is appended to a file, with the time.

    What ends the body is noted there too, with a traceback where it is no user's problem; the
    command line shows it later, when the file is closed.
    """
    logger = logging.getLogger("pushcut")
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(file)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        _note(file, logging.INFO, f"command: {shlex.join(sys.argv)}")
        yield
        _note(file, logging.INFO, "done")
    except BaseException as error:
        expected = isinstance(error, (UserError, Interrupted, KeyboardInterrupt))
        text = f"ended by {type(error).__name__}: {error}"
        _note(file, logging.ERROR, text, None if expected else error)
        raise
    finally:
        logger.setLevel(level)
        logger.removeHandler(file)
        file.close()


def _note(file: logging.Handler, level: int, text: str, error: BaseException | None = None) -> None:
    """Writes to the file only."""
    traceback = None if error is None else (type(error), error, error.__traceback__)
    file.handle(logging.LogRecord("pushcut", level, "", 0, text, None, traceback))
