"""Where the processes of a run are started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ClusterConfig:
    """Ranks and simulators on the machines of a cluster."""

    engine: Literal["none", "ray"] = "none"
    """What starts the ranks: nothing (this process is the only one, unless torchrun started it),
    or Ray (needs pushcut[ray]). --cluster ray for short."""
    nodes: int = 1
    """Machines that have ranks. --nodes for short."""
    address: str = ""
    """HOST:PORT of the cluster's head; auto: the cluster that this machine is a node of; local:
    one of this machine alone, for the time of the run. By default the environment's RAY_ADDRESS
    or, without that, local for one node and auto for several."""
    ranks_per_node: int = 0
    """Ranks on each machine; 0 means one for each GPU, or one where there is none."""
    cpus_per_rank: int = 0
    """CPU cores that a rank reserves; 0 means its share of its machine, or with simulator hosts
    one."""
    simulators: Literal["ranks", "hosts"] = "ranks"
    """Each rank has its simulators on its own machine, or they are with simulator hosts, on
    machines without a GPU where there are any."""
    hosts_per_rank: int = 1
    """Simulator hosts that serve a rank; its slots are dealt out to them."""
    cpus_per_host: int = 0
    """CPU cores that a simulator host reserves, and its simulator processes, in place of
    --rollout.workers; 0 means its share of its machine."""
    restarts: int = 3
    """Times that all ranks are started again, from the newest checkpoint, when one is lost; and
    times in a row that a lost simulator host is."""
    timeout_s: float = 60.0
    """Longest time (seconds) to wait for the address to answer and for room on the cluster, when
    the run starts and when a lost machine is to be replaced."""
    object_store_mb: int = 512
    """Shared memory (MB) of a local cluster, through which the observations of simulator hosts
    travel."""

    def __post_init__(self) -> None:
        for name in ("nodes", "hosts_per_rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"cluster.{name} must be >= 1, got {getattr(self, name)}")
        for name in ("ranks_per_node", "cpus_per_rank", "cpus_per_host", "restarts"):
            if getattr(self, name) < 0:
                raise ValueError(f"cluster.{name} must be >= 0, got {getattr(self, name)}")
        if not self.timeout_s > 0 or self.object_store_mb < 80:
            raise ValueError("cluster: need timeout_s > 0 and object_store_mb >= 80")
        if self.engine == "none" and (self.nodes, self.simulators) != (1, "ranks"):
            raise ValueError("several nodes and simulator hosts need a cluster: --cluster ray")
        if self.nodes > 1 and self.address == "local":
            raise ValueError(
                f"a local cluster is one node, not {self.nodes}: start Ray on all of them "
                "(`ray start`) and name the head with --cluster.address HOST:PORT"
            )
        if "://" in self.address:
            raise ValueError(
                f"--cluster.address {self.address}: start the command on a machine of the cluster "
                "and give auto or HOST:PORT"
            )
