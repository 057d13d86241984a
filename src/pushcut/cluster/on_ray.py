"""Ranks and simulator hosts as actors of a Ray cluster; the one file that imports Ray."""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from pushcut import __version__, plugins
from pushcut.cluster.config import ClusterConfig
from pushcut.cluster.host import Answer, HostRequest, SimulatorHost
from pushcut.cluster.hosted_pool import HostedPool, HostLost
from pushcut.cluster.placement import Machine, Placement, divide
from pushcut.cluster.rank_process import Place, RankProcess, Work, require_answer
from pushcut.envs.base import EnvConfig
from pushcut.errors import Interrupted, ProcessLostError, RankLostError, UserError
from pushcut.ranks.launcher import launch_environment
from pushcut.system.gpus import GPU_VARIABLE
from pushcut.system.machine import usable_cores
from pushcut.system.progress import say
from pushcut.system.signals import SafeExit
from pushcut.types import Recovery

LOCAL_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
"""For a cluster that we start: nothing is reported to anybody, and ranks are not slower than other
processes (Ray's own choice is niceness 15)."""
START_S = 180.0
"""Longest time that processes may take to start once they have room."""
END_S = 60.0
"""Longest time that ranks may go on when one of them has failed: they save."""
ROUND_S = 0.5
"""Pause between looks for signals."""
LOG_S = 1.0
"""Time for the last lines that ranks printed to arrive."""


def run_ranks(
    cluster: ClusterConfig,
    work: Work,
    argument: Any,
    *,
    gpus: bool,
    on_restart: Callable[[str], None],
) -> list[Any]:
    """See ``pushcut.cluster.start``."""
    with connected(cluster), SafeExit() as stop:
        placement = find_room(cluster, gpus=gpus)
        for restarts in itertools.count():
            try:
                return _attempt(placement, work, argument, restarts, stop)
            except RankLostError as error:
                if restarts == cluster.restarts:
                    raise RankLostError(
                        f"{error}; started again {restarts} times already (--cluster.restarts): "
                        "mend what kills it and continue with --resume"
                    ) from error
                say(f"{error}; starting the ranks again ({restarts + 1} of {cluster.restarts})")
                on_restart(str(error))
        raise AssertionError("unreachable")


@contextmanager
def connected(cluster: ClusterConfig) -> Iterator[None]:
    """This process as a driver of the cluster, which ends with it where it is a local one."""
    if ray.is_initialized():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _connect(cluster)
        yield
        time.sleep(LOG_S)
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, handler)  # Ray has put its own there


def _connect(cluster: ClusterConfig) -> None:
    address = cluster.address or os.environ.get("RAY_ADDRESS", "")
    address = address or ("local" if cluster.nodes == 1 else "auto")
    options: dict[str, Any] = {"address": address}
    if address == "local":
        for name, value in LOCAL_SETTINGS.items():
            os.environ.setdefault(name, value)
        options["num_cpus"] = max(1, int(usable_cores()))
        options["include_dashboard"] = False
        options["object_store_memory"] = cluster.object_store_mb * 2**20
    elif address != "auto":
        require_answer(address, cluster.timeout_s)
    try:
        ray.init(**options, logging_level=logging.ERROR, log_to_driver=True)
    except (RayError, RuntimeError, OSError, ValueError) as error:
        raise UserError(
            f"cannot use the Ray cluster at {address} (--cluster.address): {one_line(error)}"
        ) from error


def find_room(cluster: ClusterConfig, *, gpus: bool) -> Placement:
    """How the run divides the cluster, once enough machines are up; UserError where none do."""
    give_up = time.monotonic() + cluster.timeout_s
    while len(machines()) < cluster.nodes and time.monotonic() < give_up:
        time.sleep(ROUND_S)
    return divide(cluster, machines(), gpus=gpus)


def machines() -> list[Machine]:
    """The nodes that are up and can do something."""
    found = []
    for node in ray.nodes():
        has = node["Resources"]
        cpus, gpus = int(has.get("CPU", 0)), int(has.get("GPU", 0))
        if node["Alive"] and cpus:
            found.append(Machine(node["NodeID"], cpus, gpus))
    return sorted(found, key=lambda machine: machine.node)


class RayRank(RankProcess):
    """A rank that knows where Ray has put it."""

    def place(self) -> Place:
        """Node and process id."""
        return Place(ray.get_runtime_context().get_node_id(), os.getpid())


def _attempt(
    placement: Placement, work: Work, argument: Any, restarts: int, stop: SafeExit
) -> list[Any]:
    """Runs all ranks once; RankLostError where one was lost."""
    # Not for the ranks that Ray starts: torch must not load before their environment is set.
    from pushcut.ranks.rendezvous import open_store

    cluster, group, store = placement.cluster, _reserve(placement), open_store()
    ranks = []
    try:
        count = cluster.nodes * cluster.ranks_per_node
        for number in range(count):
            actor: Any = ray.remote(RayRank).options(
                num_cpus=cluster.cpus_per_rank,
                num_gpus=placement.gpus_per_rank,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=number // cluster.ranks_per_node
                ),
            )
            ranks.append(actor.remote(number))
        places = _all([rank.place.remote() for rank in ranks], stop)
        _all([rank.check.remote(__version__, os.getcwd()) for rank in ranks], stop)
        for number, rank in enumerate(ranks):
            environment = launch_environment(
                rank=number,
                ranks=count,
                local=number % cluster.ranks_per_node,
                local_ranks=cluster.ranks_per_node,
                address=ray.util.get_node_ip_address(),
                port=store.port,
                restarts=restarts,
            )
            environment |= {GPU_VARIABLE: "0", "OMP_WAIT_POLICY": "PASSIVE"}
            rank.prepare.remote(environment | plugins.environment(), sys.argv)
        results = [rank.run.remote(work, cluster, argument) for rank in ranks]
        return _follow(results, places, stop)
    finally:
        for rank in ranks:
            ray.kill(rank)
        remove_placement_group(group)


def _reserve(placement: Placement) -> PlacementGroup:
    group = placement_group(placement.bundles, strategy="STRICT_SPREAD")
    if group.wait(placement.cluster.timeout_s):
        return group
    remove_placement_group(group)
    bundle = ", ".join(f"{count:g} {name}" for name, count in placement.bundles[0].items())
    raise UserError(
        f"no room on the Ray cluster for {len(placement.bundles)} machines with {bundle} each "
        f"within {placement.cluster.timeout_s:g} s (--cluster.timeout-s): wait for others to end, "
        "ask for less (--nodes, --cluster.ranks-per-node, --cluster.cpus-per-rank) or add machines"
    )


def _all(references: list[Any], stop: SafeExit) -> list[Any]:
    """The values of references that take a moment; RankLostError where they take too long."""
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up:
        stop.check()
        try:
            return ray.get(references, timeout=ROUND_S)
        except GetTimeoutError:
            continue
        except RayError as error:
            raise _meaning(error) from error
    raise RankLostError(f"the ranks did not start within {START_S:g} s")


def _follow(references: list[Any], places: Sequence[Place], stop: SafeExit) -> list[Any]:
    """Waits for what the ranks return; forwards the first signal, raises what stopped them."""
    stopped: Interrupted | None = None
    failures: list[Exception] = []
    running, give_up = list(references), None
    while running and (give_up is None or time.monotonic() < give_up):
        done, running = ray.wait(running, num_returns=1, timeout=ROUND_S)
        failures += [failure for reference in done if (failure := _failure(reference))]
        if any(isinstance(failure, RankLostError) for failure in failures):
            break
        if failures and give_up is None:
            give_up = time.monotonic() + END_S  # the others save
        try:
            stop.check()
        except Interrupted as interrupted:
            if stopped is None:
                stopped = interrupted
                _forward(interrupted.exit_code - 128, places)
    if stopped is not None and failures:
        raise stopped
    if failures:
        raise _cause(failures)
    return ray.get(references)


def _cause(failures: Sequence[Exception]) -> Exception:
    """What made the ranks fail: one that is gone, else what one raised that missed no other."""
    gone = [failure for failure in failures if isinstance(failure, ProcessLostError)]
    return (gone or sorted(failures, key=lambda x: isinstance(x, RankLostError)))[0]


def _failure(reference: Any) -> Exception | None:
    try:
        ray.get(reference)
    except RayError as error:
        return _meaning(error)
    return None


def _meaning(error: RayError) -> Exception:
    """What a rank raised; RankLostError where it did not come to that."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        return error.cause
    return ProcessLostError(f"a rank was lost: {one_line(error)}")


def _forward(number: int, places: Sequence[Place]) -> None:
    """Sends a signal to the ranks, each on its machine."""
    send: Any = ray.remote(_send)
    for place in places:
        there = NodeAffinitySchedulingStrategy(place.node, soft=False)
        send.options(num_cpus=0, scheduling_strategy=there).remote(place.pid, number)


def _send(pid: int, number: int) -> None:
    os.kill(pid, number)


def one_line(error: BaseException) -> str:
    """The one line of a message of Ray that matters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith("The actor is dead because")]
    return (reasons or lines or [type(error).__name__])[0][:300]


def open_hosted_pool(
    cluster: ClusterConfig,
    env: EnvConfig,
    *,
    slots: int,
    timeout_s: float,
    tasks_per_process: int = 0,
    final_observation: bool,
    on_recovery: Callable[[Recovery], None],
) -> HostedPool:
    """A pool on simulator hosts of its own, for the rank that this process is."""
    options = {
        "timeout_s": timeout_s,
        "tasks_per_process": tasks_per_process,
        "final_observation": final_observation,
    }
    return HostedPool(
        RayHosts(cluster, env, slots, options),
        env.spec,
        slots=slots,
        max_failures=cluster.restarts,
        # The host itself gives its simulators so long.
        timeout_s=2 * timeout_s,
        start_timeout_s=START_S + cluster.timeout_s,
        on_recovery=on_recovery,
    )


class RayHosts:
    """Simulator hosts as actors; observations come through the object store."""

    def __init__(
        self, cluster: ClusterConfig, env: EnvConfig, slots: int, options: dict[str, Any]
    ) -> None:
        self.count = min(cluster.hosts_per_rank, slots)
        self._cluster, self._env, self._slots, self._options = cluster, env, slots, options
        self._actors: dict[int, Any] = {}
        self._asked: dict[int, Any] = {}

    def start(self, host: int) -> None:
        """Starts an actor where there is room; Ray leaves machines with GPUs to those who ask."""
        self._end(host)
        cpus = self._cluster.cpus_per_host
        slots = len(range(host, self._slots, self.count))
        options = {"slots": slots, "workers": cpus, **self._options}
        groups: Any = {"concurrency_groups": {"submit": 1, "collect": 1}}
        actor: Any = ray.remote(**groups)(SimulatorHost).options(num_cpus=cpus)
        # As bytes: the class may be a plug-in's, which the actor must find first.
        self._actors[host] = actor.remote(pickle.dumps(self._env), options, plugins.environment())

    def submit(self, host: int, requests: Sequence[HostRequest]) -> None:
        self._actors[host].submit.options(concurrency_group="submit").remote(requests)

    def answers(self, hosts: Sequence[int], timeout_s: float) -> dict[int, Answer | HostLost]:
        """One call is under way to each host that has work."""
        for host in hosts:
            if host not in self._asked:
                collect = self._actors[host].collect.options(concurrency_group="collect")
                self._asked[host] = collect.remote()
        waiting = {self._asked[host]: host for host in hosts}
        ready, rest = ray.wait(list(waiting), num_returns=1, timeout=timeout_s)
        if ready and rest:
            ready += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return {waiting[reference]: self._answer(waiting[reference]) for reference in ready}

    def close(self) -> None:
        for host in list(self._actors):
            self._end(host)

    def _answer(self, host: int) -> Answer | HostLost:
        try:
            return ray.get(self._asked.pop(host))
        except RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from error
            raise
        except RayError as error:
            return HostLost(f"was lost: {one_line(error)}")

    def _end(self, host: int) -> None:
        self._asked.pop(host, None)
        if actor := self._actors.pop(host, None):
            ray.kill(actor)
