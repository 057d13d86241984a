"""How the disturbed program is started: alone, as ranks of torchrun, or on a Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

from faulting.program import Settings
from processes import Process, command_of, descendants, identify

MANY = 10**6
RANK_TIMEOUT_S = 8.0
"""When a rank hangs; its start takes a few seconds, and differs between ranks by less."""


class Launcher(Protocol):
    """A way to start the program, and to find what it started."""

    @property
    def arguments(self) -> Sequence[str]:
        """What stands between the interpreter and the program."""
        ...

    @property
    def rank(self) -> str:
        """A part of the command line of every rank."""
        ...

    def settings(self, settings: Settings) -> Settings:
        """What the program must know."""
        ...

    def roots(self) -> list[int]:
        """Ids of processes that start parts of the program, besides the program itself."""
        ...


@dataclass(frozen=True)
class Processes:
    """One process, or several ranks of torchrun on this machine."""

    arguments: tuple[str, ...] = ()
    workers: int = 0
    """Simulator processes of a rank; 0 as the settings say."""
    rank_timeout_s: float = 60.0
    rank: str = "faulting.program"

    def settings(self, settings: Settings) -> Settings:
        workers = self.workers or settings.workers
        return replace(settings, workers=workers, rank_timeout_s=self.rank_timeout_s)

    def roots(self) -> list[int]:
        return []


TORCHRUN = (
    "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts",
    str(MANY),
)  # fmt: skip
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_timeout_ms": "2000",
}
"""A lost node is found in seconds: Ray's own choice is half a minute."""
STORE = 100 * 2**20


class RayNodes:
    """A Ray cluster on this machine: a head without work, and nodes with one core each."""

    arguments: tuple[str, ...] = ()
    rank = "ray::RayRank"
    host = "ray::SimulatorHost"

    def __init__(self, cluster: Any, nodes: int) -> None:
        self._cluster = cluster
        for _ in range(nodes):
            self.add()

    def settings(self, settings: Settings) -> Settings:
        address = self._cluster.address
        return replace(settings, workers=1, address=address, rank_timeout_s=RANK_TIMEOUT_S)

    def roots(self) -> list[int]:
        return [raylet_of(node) for node in self._cluster.worker_nodes]

    def carrying(self, mark: str) -> list[Any]:
        """Nodes with a rank, or with a simulator host."""
        nodes = sorted(self._cluster.worker_nodes, key=raylet_of)
        return [
            node
            for node in nodes
            if any(mark in command_of(process.pid) for process in descendants(raylet_of(node)))
        ]

    def processes(self, node: Any) -> list[Process]:
        """All that runs on a node."""
        raylet = identify(raylet_of(node))
        return descendants(raylet_of(node)) + ([] if raylet is None else [raylet])

    def remove(self, node: Any) -> None:
        """Kills what is left of a node."""
        self._cluster.remove_node(node, allow_graceful=False)

    def add(self) -> None:
        """A new node, as the provider of a cluster would start in place of a lost one."""
        self._cluster.add_node(wait=False, num_cpus=1, object_store_memory=STORE)


def raylet_of(node: Any) -> int:
    """Id of the process that all others of a node descend from."""
    return node.all_processes["raylet"][0].process.pid


@contextmanager
def ray_nodes() -> Iterator[Launcher]:
    """Two nodes for ranks, two for their simulator hosts."""
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    os.environ.update(RAY_SETTINGS | {"PYTHONPATH": path})
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield RayNodes(cluster, nodes=4)
    finally:
        cluster.shutdown()


LAUNCHERS: dict[str, Callable[[], AbstractContextManager[Launcher]]] = {
    "local": lambda: nullcontext(Processes()),
    "torchrun": lambda: nullcontext(Processes(TORCHRUN, workers=1, rank_timeout_s=RANK_TIMEOUT_S)),
    "ray": ray_nodes,
}
"""Name -> what opens it."""
