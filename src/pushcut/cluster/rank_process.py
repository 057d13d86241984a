"""A rank as a process of a cluster, and finding the cluster; nothing here needs its library."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pushcut import __version__, plugins
from pushcut.cluster.config import ClusterConfig
from pushcut.errors import UserError

Work = Callable[[ClusterConfig, Any], Any]


@dataclass(frozen=True)
class Place:
    """Where a rank runs."""

    node: str
    """Id of its machine."""
    pid: int


class RankProcess:
    """A rank; its methods run in the process's main thread, to which signals come."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __repr__(self) -> str:  # Ray writes it before each line that the rank prints
        return f"rank {self._number}"

    def check(self, version: str, folder: str) -> None:
        """Goes to the driver's folder; UserError where this is not what the driver is."""
        here = socket.gethostname()
        if version != __version__:
            raise UserError(
                f"machine {here} has pushcut {__version__}, this one {version}: install the same"
            )
        try:
            os.chdir(folder)
        except OSError as error:
            raise UserError(
                f"machine {here} cannot go to {folder} ({error.strerror}): start in a folder "
                "that all machines share, as they must share the run's"
            ) from error

    def prepare(self, environment: dict[str, str], arguments: list[str]) -> None:
        """Sets what must be set before torch loads, which ``run`` does by its arguments."""
        os.environ.update(environment)
        sys.argv = arguments
        plugins.load()

    def run(self, work: Work, cluster: ClusterConfig, argument: Any) -> Any:
        """Does the rank's work."""
        return work(cluster, argument)


def require_answer(address: str, timeout_s: float) -> None:
    """Raises UserError unless Ray answers at an address; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    what = f"no Ray cluster answers at {address} (--cluster.address)"
    advice = "is it running, is this the address that `ray start --head` printed?"
    try:
        socket.create_connection((host, int(port)), timeout=timeout_s).close()
    except (OSError, ValueError) as error:
        raise UserError(f"{what}: {error}; {advice}") from error
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"{what} within {timeout_s:g} s (--cluster.timeout-s); {advice}") from None
    if done.returncode:
        raise UserError(f"{what}: something else does, or its version differs; {advice}")
