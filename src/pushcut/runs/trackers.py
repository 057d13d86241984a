"""Where metrics go besides metrics.jsonl: TensorBoard, W&B, a page that Prometheus reads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pushcut.errors import UserError
from pushcut.system.progress import say

Tracker = Literal["tensorboard", "wandb", "prometheus"]

LOOPBACK = "127.0.0.1"


@runtime_checkable
class TrackerBackend(Protocol):
    """An open tracker."""

    def log(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of an iteration."""
        ...

    def close(self) -> None:
        """Writes out what is left and lets go of files, threads and ports."""
        ...


@dataclass(frozen=True)
class RunInfo:
    """The run that is tracked."""

    folder: Path
    first: int
    """Iteration with which it goes on."""
    prometheus_port: int


def open_tracker(name: Tracker, where: RunInfo) -> TrackerBackend:
    """Opens a tracker; UserError where its package or its port is not to be had."""
    return _BACKENDS[name](where)


class _TensorBoard:
    def __init__(self, where: RunInfo) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = str(where.folder / "tensorboard")
        self._writer = SummaryWriter(folder, purge_step=where.first or None)

    def log(self, iteration: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, iteration)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _WandB:
    def __init__(self, where: RunInfo) -> None:
        try:
            import wandb  # type: ignore[import-not-found]
        except ImportError:
            raise UserError('the wandb tracker needs `pip install "pushcut[wandb]"`') from None
        folder = where.folder
        # The folder is the run's identity, so that --resume continues the same run.
        identity = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
        self._run = wandb.init(
            project="pushcut", name=folder.name, dir=str(folder), id=identity, resume="allow"
        )

    def log(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=iteration)

    def close(self) -> None:
        self._run.finish()


class _Prometheus:
    """Serves the newest metrics as gauges, on loopback only: there is no password."""

    def __init__(self, where: RunInfo) -> None:
        try:
            import prometheus_client
        except ImportError:
            raise UserError(
                'the prometheus tracker needs `pip install "pushcut[prometheus]"`'
            ) from None
        self._client = prometheus_client
        # Our own registry: the default one is shared by the process and outlives the run.
        self._registry = prometheus_client.CollectorRegistry()
        self._run = where.folder.name
        self._gauges: dict[str, Any] = {}
        self._iterations = self._metric(
            prometheus_client.Counter, "iterations", "Iteration of the newest metrics"
        )
        self._iteration = 0
        port = where.prometheus_port
        try:
            self._server, self._thread = prometheus_client.start_http_server(
                port, LOOPBACK, registry=self._registry
            )
        except OSError as error:
            raise UserError(
                f"port {port} on {LOOPBACK} cannot be opened ({error.strerror}): give another "
                "with --prometheus-port, or 0 for any that is free"
            ) from None
        say(f"metrics for Prometheus: http://{LOOPBACK}:{self._server.server_port}/metrics")

    def _metric(self, kind: Callable[..., Any], name: str, meaning: str) -> Any:
        name = "pushcut_" + re.sub(r"\W", "_", name, flags=re.ASCII)
        metric = kind(name, meaning, ["run"], registry=self._registry)
        return metric.labels(run=self._run)

    def log(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self._iterations.inc(iteration - self._iteration)
        self._iteration = iteration
        for name, value in metrics.items():
            if name not in self._gauges:
                self._gauges[name] = self._metric(
                    self._client.Gauge, name, f"{name} of metrics.jsonl"
                )
            self._gauges[name].set(value)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


_BACKENDS: dict[str, Callable[[RunInfo], TrackerBackend]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WandB,
    "prometheus": _Prometheus,
}
