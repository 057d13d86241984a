"""The run folder: resolved config, metrics, TensorBoard events, checkpoints, evaluations."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pushcut import __version__
from pushcut.errors import UserError

Tracker = Literal["tensorboard", "wandb"]


class Run:
    """A folder that holds everything about one training run.

    ``config.json`` the resolved config, command and commit; ``metrics.jsonl`` one object
    per iteration; ``checkpoints/``, ``eval/`` and TensorBoard events.
    """

    def __init__(
        self,
        path: Path,
        trackers: tuple[Tracker, ...] = (),
        first: int = 0,
        *,
        writes: bool = True,
    ) -> None:
        """Opens an existing folder whose metrics go on at iteration ``first``."""
        self.path, self._writes = path, writes
        self._trackers = [_TRACKERS[name](path, first) for name in trackers]
        self._metrics = path / "metrics.jsonl"
        if writes:
            _truncate_metrics(self._metrics, first)

    @staticmethod
    def create(path: Path | None, config: Any, trackers: tuple[Tracker, ...] = ()) -> Run:
        """Makes a new run folder; UserError where there is one already."""
        path = _named(path)
        if path.exists() and any(path.iterdir()):
            raise UserError(
                f"{path} exists; continue it with --resume or choose another folder with --out"
            )
        path.mkdir(parents=True, exist_ok=True)
        content = {"config": to_json(config), **provenance()}
        (path / "config.json").write_text(json.dumps(content, indent=2) + "\n")
        return Run(path, trackers)

    @staticmethod
    def resume(
        path: Path | None,
        config: Any,
        trackers: tuple[Tracker, ...],
        *,
        first: int,
        may_change: tuple[str, ...],
    ) -> Run:
        """Opens a run folder again; UserError where the config is not the one it has."""
        path = _named(path)
        stored = json.loads((path / "config.json").read_text())["config"]
        check_same_config(stored, to_json(config), may_change=may_change)
        return Run(path, trackers, first)

    @staticmethod
    def watched(path: Path | None) -> Run:
        """A folder that another process writes: nothing is logged from here."""
        return Run(_named(path), writes=False)

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    def evaluation(self, name: str) -> Path:
        """File for the evaluation called ``name``."""
        return self.path / "eval" / f"{name}.json"

    def log(self, iteration: int, metrics: Mapping[str, float | None]) -> None:
        """Appends one object to metrics.jsonl and tells the trackers; None is unknown."""
        if not self._writes:
            return
        line = {"iteration": iteration, **metrics}
        with self._metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")
        for tracker in self._trackers:
            tracker(iteration, {name: x for name, x in metrics.items() if x is not None})


def note_restart(path: Path | None, reason: str) -> None:
    """Appends to recoveries.jsonl that the ranks of a run were started again."""
    if path is None or not path.exists():
        return  # it had not begun
    line = {"time": round(time.time(), 3), "kind": "rank", "reason": reason}
    with (path / "recoveries.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The objects of a metrics.jsonl; an empty list where there is none.

    A last line without its end, as a killed process leaves it, does not count.
    """
    if not path.exists():
        return []
    *lines, _torn = path.read_text().split("\n")
    return [json.loads(line) for line in lines if line]


def to_json(value: Any) -> Any:
    """Dataclasses to JSON values; a nested dataclass carries its type's name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return str(value.absolute()) if isinstance(value, Path) else value


def check_same_config(stored: Any, given: Any, *, may_change: tuple[str, ...]) -> None:
    """UserError naming the first field that differs and may not."""
    for name in sorted(stored.keys() | given.keys()):
        old, new = stored.get(name), given.get(name)
        if name in may_change or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            check_same_config(old, new, may_change=may_change)
            continue
        raise UserError(
            f"--resume: the run was started with {name}={old!r}, the command says {new!r}; "
            "give the same settings or start a new run with --out"
        )


def provenance() -> dict[str, Any]:
    """What produced a run: command, version, commit and machine."""
    return {
        "command": sys.argv,
        "pushcut": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": platform.platform(),
    }


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


def _truncate_metrics(path: Path, first: int) -> None:
    """Drops lines that a resumed run will write again."""
    if not path.exists():
        return
    kept = [line for line in read_metrics(path) if line["iteration"] < first]
    aside = path.with_suffix(".aside")
    aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
    aside.replace(path)


def _tensorboard(path: Path, first: int) -> Callable[[int, Mapping[str, float]], None]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(path / "tensorboard"), purge_step=first or None)

    def log(iteration: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            writer.add_scalar(name, value, iteration)
        writer.flush()

    return log


def _wandb(path: Path, first: int) -> Callable[[int, Mapping[str, float]], None]:
    try:
        import wandb  # type: ignore[import-not-found]
    except ImportError:
        raise UserError('the wandb tracker needs `pip install "pushcut[wandb]"`') from None
    # The folder is the run's identity, so that --resume continues the same run.
    identity = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]
    run = wandb.init(project="pushcut", name=path.name, dir=str(path), id=identity, resume="allow")
    return lambda iteration, metrics: run.log(dict(metrics), step=iteration)


_TRACKERS: dict[str, Callable[[Path, int], Callable[[int, Mapping[str, float]], None]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
