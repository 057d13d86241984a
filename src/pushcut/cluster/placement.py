"""How a run divides the machines of a cluster between its ranks and simulator hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pushcut.cluster.config import ClusterConfig
from pushcut.errors import UserError


@dataclass(frozen=True)
class Machine:
    """A node of the cluster."""

    node: str
    """Id of the node."""
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Placement:
    """Resources that the ranks reserve on a cluster."""

    cluster: ClusterConfig
    """The config, with the numbers that were left open filled in."""
    gpus_per_rank: int

    @property
    def bundles(self) -> list[dict[str, float]]:
        """Resources to reserve, one bundle a machine."""
        ranks = self.cluster.ranks_per_node
        bundle = {"CPU": float(ranks * self.cluster.cpus_per_rank)}
        if self.gpus_per_rank:
            bundle["GPU"] = float(ranks * self.gpus_per_rank)
        return [bundle] * self.cluster.nodes


def divide(cluster: ClusterConfig, machines: Sequence[Machine], *, gpus: bool) -> Placement:
    """Divides machines between ranks and hosts; raises UserError where they are too few.

    ``gpus``: a rank takes one where there are any.
    """
    gpus = gpus and any(machine.gpus for machine in machines)
    able = [machine for machine in machines if machine.gpus or not gpus]
    if len(able) < cluster.nodes:
        which = "machines with a GPU" if gpus else "machines"
        raise UserError(
            f"the Ray cluster has {len(able)} {which}, --nodes asks for {cluster.nodes}"
        )
    chosen = sorted(able, key=lambda machine: (-machine.gpus, -machine.cpus))[: cluster.nodes]
    ranks = cluster.ranks_per_node or (chosen[-1].gpus if gpus else 1)
    hosted = cluster.simulators == "hosts"
    share = 1 if hosted else max(1, min(machine.cpus for machine in chosen) // ranks)
    cpus = cluster.cpus_per_rank or share
    cluster = replace(cluster, ranks_per_node=ranks, cpus_per_rank=cpus)
    if hosted:
        cluster = _with_hosts(cluster, machines, chosen)
    return Placement(cluster, gpus_per_rank=1 if gpus else 0)


def _with_hosts(
    cluster: ClusterConfig, machines: Sequence[Machine], chosen: Sequence[Machine]
) -> ClusterConfig:
    """Fills in the cores of a host: its share of what ranks leave."""
    taken = cluster.ranks_per_node * cluster.cpus_per_rank
    # Ray leaves machines with GPUs to those who ask for one.
    places = [machine for machine in machines if not machine.gpus] or list(machines)
    left = [place.cpus - taken * (place in chosen) for place in places]
    hosts = cluster.nodes * cluster.ranks_per_node * cluster.hosts_per_rank
    cpus = cluster.cpus_per_host or max(1, min(left) // -(-hosts // len(places)))
    if sum(max(0, free) // cpus for free in left) < hosts:
        raise UserError(
            f"no room on the Ray cluster for {hosts} simulator hosts of {cpus} cores: ranks leave "
            f"{sum(left)} cores on {len(places)} machines; use fewer (--cluster.hosts-per-rank), "
            "smaller ones (--cluster.cpus-per-host) or more machines"
        )
    return replace(cluster, cpus_per_host=cpus)
