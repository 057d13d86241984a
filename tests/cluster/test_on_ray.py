"""Training on a Ray cluster of several nodes, all of them on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pushcut.assembly import train
from pushcut.cluster.config import ClusterConfig
from pushcut.config import TrainConfig
from pushcut.runs.run import read_metrics
from tests.ranks.configs import uneven
from tests.same_run import check_same_but_for_rounding, metrics

pytestmark = pytest.mark.heavy

MARK = f"PUSHCUT_TEST={uuid4()}"
"""In the environment of every process of the cluster."""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_timeout_ms": "2000",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that does no work, and three nodes with a core each."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in [*SETTINGS.items(), MARK.split("=")]:
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        store = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **store})
        for _ in range(3):
            cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        try:
            yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def config(smoke, finetuned, tmp_path_factory) -> TrainConfig:
    return uneven(smoke, finetuned, iterations=3, threads=1, out=tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def alone(config) -> Path:
    return train(replace(config, out=config.out / "alone")).path


def once_begun(config: TrainConfig, action: Callable[[], None]) -> threading.Thread:
    """Acts when an iteration of a training is finished and saved."""
    assert config.out is not None
    saved = config.out / "checkpoints" / "000001"

    def watch() -> None:
        give_up = time.monotonic() + 1000
        while not saved.exists() and time.monotonic() < give_up:
            time.sleep(0.02)
        action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def processes_named(name: str) -> list[int]:
    """Ids of processes of our cluster."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = MARK.encode() in (process / "environ").read_bytes()
            if ours and (process / "cmdline").read_bytes().startswith(name.encode()):
                found.append(int(process.name))
        except OSError:
            continue  # it has just ended
    return found


def node_of(cluster: Any, process: int) -> Any:
    """The node of the cluster whose raylet started a process."""
    parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    (node,) = [
        node
        for node in cluster.list_all_nodes()
        if node.all_processes["raylet"][0].process.pid == parent
    ]
    return node


@pytest.mark.slow
def test_training_survives_the_loss_of_a_node_and_equals_that_of_one_rank(cluster, config, alone):
    config = replace(
        config,
        out=config.out / "nodes",
        cluster=ClusterConfig("ray", nodes=2, address=cluster.address, timeout_s=500.0),
    )

    def lose_node() -> None:
        rank, _ = processes_named("ray::RayRank")
        cluster.remove_node(node_of(cluster, rank), allow_graceful=False)

    thread = once_begun(config, lose_node)
    train(config)
    thread.join()
    assert len(metrics(alone)) == 3
    check_same_but_for_rounding(alone, config.out, rel=1e-4)
    recoveries = [line["kind"] for line in read_metrics(config.out / "recoveries.jsonl")]
    assert recoveries == ["rank", "resumed"]


@pytest.mark.slow
def test_training_with_a_simulator_host_that_is_lost_equals_local_training(cluster, config, alone):
    config = replace(
        config,
        out=config.out / "hosts",
        cluster=ClusterConfig("ray", address=cluster.address, simulators="hosts"),
    )

    def lose_host() -> None:
        (host,) = processes_named("ray::SimulatorHost")
        os.kill(host, signal.SIGKILL)

    thread = once_begun(config, lose_host)
    train(config)
    thread.join()
    assert metrics(config.out) == metrics(alone)
