"""The run folder: resolved config, metrics, TensorBoard events, checkpoints, evaluations."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from pushcut import __version__, plugins
from pushcut.errors import UserError
from pushcut.registry import packages
from pushcut.runs.config_json import check_stored_config, to_json, to_yaml
from pushcut.runs.jsonl import append_line, read_lines, rewrite_lines
from pushcut.runs.lock import is_empty
from pushcut.runs.logs import LOG, log_to
from pushcut.runs.recoveries import RecoveryLog
from pushcut.runs.trackers import RunInfo, Tracker, TrackerBackend, open_tracker, reason_of
from pushcut.system.progress import say
from pushcut.types import Recovery

TOTALLED = ("env_steps", "decisions")
"""Metrics of what an iteration played that are added up over the run: ``NAME_total``."""


class Run:
    """A folder that holds everything about one training run.

    ``config.json`` the resolved config, command and commit; ``config.yaml`` the config alone, for
    people and ``--config``; ``metrics.jsonl`` one object
    per iteration; ``episodes.jsonl`` the episodes that each was trained on; ``recoveries.jsonl``
    faults and what they cost; ``checkpoints/``, ``eval/`` and TensorBoard events. Within
    ``with run:`` there is ``log.txt`` too, and at its end the trackers are closed.
    """

    def __init__(
        self,
        path: Path,
        trackers: tuple[Tracker, ...] = (),
        first: int = 0,
        *,
        prometheus_port: int = 0,
    ) -> None:
        """Opens an existing folder whose metrics go on at iteration ``first``."""
        self.path = path
        self._metrics, self._episodes = path / "metrics.jsonl", path / "episodes.jsonl"
        where = RunInfo(path, first, prometheus_port)
        with ExitStack() as opened:
            self._trackers = [open_tracker(name, where) for name in trackers]
            for tracker in self._trackers:
                opened.callback(_close, tracker)
            self.replayed = _keep_before(self._metrics, first)
            """Finished iterations that a resumed run plays again."""
            _keep_before(self._episodes, first)
            self._opened = opened.pop_all()
        lines = read_metrics(self._metrics)
        told = sum(len(line.get("recoveries", ())) for line in lines)
        self._totals = {name: sum(line.get(name) or 0 for line in lines) for name in TOTALLED}
        self.recoveries = RecoveryLog(path / "recoveries.jsonl", told)

    def __enter__(self) -> Run:
        self._opened.enter_context(log_to(self.path / LOG))
        return self

    def __exit__(self, *exception: Any) -> None:
        self._opened.__exit__(*exception)

    @staticmethod
    def create(
        path: Path | None,
        config: Any,
        trackers: tuple[Tracker, ...] = (),
        *,
        prometheus_port: int = 0,
    ) -> Run:
        """Makes a new run folder; UserError where there is one already."""
        path = Run.check_free(path)
        path.mkdir(parents=True, exist_ok=True)
        content = {"config": to_json(config), **provenance()}
        # Hidden until it is complete: a folder with a config is a run that can be resumed.
        aside = path / ".config.json"
        aside.write_text(json.dumps(content, indent=2) + "\n")
        # Whether it was resumed says nothing of a run that is made from the file.
        settings = {name: x for name, x in content["config"].items() if name != "resume"}
        (path / "config.yaml").write_text(to_yaml(settings))
        aside.replace(path / "config.json")
        try:
            return Run(path, trackers, prometheus_port=prometheus_port)
        except UserError:
            # Nothing is in it yet: the same command may be given again.
            for name in ("config.json", "config.yaml"):
                (path / name).unlink()
            with suppress(OSError):  # the lock of this very command
                path.rmdir()
            raise

    @staticmethod
    def check_free(path: Path | None) -> Path:
        """The folder of a run that is to be made; UserError where there is something already."""
        path = _named(path)
        if path.exists() and not is_empty(path):
            raise UserError(
                f"{path} exists; continue it with --resume or choose another folder with --out"
            )
        return path

    @staticmethod
    def resume(
        path: Path | None,
        config: Any,
        trackers: tuple[Tracker, ...],
        *,
        first: int,
        may_change: tuple[str, ...],
        prometheus_port: int = 0,
    ) -> Run:
        """Opens a run folder again; UserError where the config is not the one it has."""
        path = _named(path)
        check_stored_config(path, config, may_change=may_change)
        return Run(path, trackers, first, prometheus_port=prometheus_port)

    @staticmethod
    def read_only(path: Path | None) -> Run:
        """A folder that another rank writes."""
        return ReadOnlyRun(_named(path))

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def final(self) -> Path:
        """Folder of the last policy, where checkpoints have its weights in shared files."""
        return self.path / "final"

    def evaluation(self, name: str) -> Path:
        """File for the evaluation called ``name``."""
        return self.path / "eval" / f"{name}.json"

    def log(self, iteration: int, metrics: Mapping[str, Any]) -> None:
        """Appends one object to metrics.jsonl and tells the trackers numbers; None is unknown.

        What is ``TOTALLED`` gets its sum since the run began beside it.
        """
        for name in TOTALLED:
            if name in metrics:
                self._totals[name] += metrics[name]
                metrics = {**metrics, f"{name}_total": self._totals[name]}
        append_line(self._metrics, {"iteration": iteration, **metrics})
        numbers = {name: x for name, x in metrics.items() if isinstance(x, (int, float))}
        self._tell(lambda tracker: tracker.log(iteration, numbers))

    def log_videos(self, iteration: int, videos: Mapping[str, Path]) -> None:
        """Shows videos of an evaluation to the trackers that can: what each shows -> its file."""
        self._tell(lambda tracker: tracker.log_videos(iteration, videos))

    def _tell(self, say_it: Callable[[TrackerBackend], None]) -> None:
        """Tells the trackers; one that fails is told no more, for the run is worth more."""
        for tracker in list(self._trackers):
            try:
                say_it(tracker)
            # Trackers are programs of others and raise what they like.
            except Exception as error:
                self._trackers.remove(tracker)
                name = type(tracker).__name__.strip("_")
                say(
                    f"warning: the tracker {name} failed and is told no more ({reason_of(error)}); "
                    "metrics.jsonl has everything"
                )

    def log_episodes(self, iteration: int, episodes: Sequence[Sequence[Any]]) -> None:
        """Appends the ledger of an iteration: a row per episode."""
        append_line(self._episodes, {"iteration": iteration, "episodes": episodes})


class ReadOnlyRun(Run):
    """A run folder that another rank writes: nothing is written from here."""

    def __init__(self, path: Path) -> None:
        self.path, self.replayed = path, 0
        self.recoveries = RecoveryLog(None)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: Any) -> None:
        """Nothing was opened."""

    def log(self, iteration: int, metrics: Mapping[str, Any]) -> None:
        """The first rank does."""

    def log_videos(self, iteration: int, videos: Mapping[str, Path]) -> None:
        """The first rank does."""

    def log_episodes(self, iteration: int, episodes: Sequence[Sequence[Any]]) -> None:
        """The first rank does."""


def _close(tracker: TrackerBackend) -> None:
    """Closes a tracker; the run is finished, whatever it says."""
    try:
        tracker.close()
    except Exception as error:
        say(f"warning: the tracker {type(tracker).__name__.strip('_')}: {reason_of(error)}")


def note_restart(path: Path | None, reason: str) -> None:
    """Appends to recoveries.jsonl that the ranks of a run were started again."""
    if path is None or not path.exists():
        return  # it had not begun
    line = {"time": round(time.time(), 3), **Recovery("rank", reason).to_json()}
    append_line(path / "recoveries.jsonl", line)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The objects of a metrics.jsonl; an empty list where there is none."""
    return read_lines(path)


def provenance() -> dict[str, Any]:
    """What produced a run: command, version, commit and machine."""
    return {
        "command": sys.argv,
        "pushcut": __version__,
        "commit": _commit(),
        "plugins": plugins.names(),
        "python": platform.python_version(),
        "versions": _versions(),
        "machine": platform.platform(),
    }


def _versions() -> dict[str, str]:
    """Versions of the installed packages that results depend on, those of plug-ins too."""
    found: dict[str, str] = {}
    for name in ("torch", "numpy", "mujoco", "transformers"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found | packages()


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _named(path: Path | None) -> Path:
    if path is None:
        raise UserError("where should the run go? give --out runs/NAME")
    return path


def _keep_before(path: Path, first: int) -> int:
    """Drops lines that a resumed run will write again; returns how many iterations they are."""
    lines = read_lines(path)
    rewrite_lines(path, [line for line in lines if line["iteration"] < first])
    # What is logged after the last iteration is an evaluation only.
    return sum(line["iteration"] >= first and "episodes" in line for line in lines)
