"""How ranks and hosts divide a cluster, and what is refused before anything starts."""

from __future__ import annotations

import socket
import sys

import pytest

import pushcut.cluster
from pushcut.cli import main
from pushcut.cluster.config import ClusterConfig
from pushcut.cluster.placement import Machine, divide
from pushcut.errors import UserError

GPU_NODES = [Machine("a", 32, 8), Machine("b", 32, 8)]
CPU_NODES = [Machine("c", 64, 0), Machine("d", 64, 0)]


def test_there_is_a_rank_for_each_gpu_and_ranks_share_the_cores():
    placement = divide(ClusterConfig("ray", nodes=2), GPU_NODES + CPU_NODES, gpus=True)
    assert (placement.cluster.ranks_per_node, placement.cluster.cpus_per_rank) == (8, 4)
    assert placement.bundles == [{"CPU": 32, "GPU": 8}] * 2


def test_without_gpus_each_machine_has_one_rank_with_all_its_cores():
    placement = divide(ClusterConfig("ray", nodes=2), CPU_NODES, gpus=True)
    assert placement.bundles == [{"CPU": 64}] * 2


def test_simulator_hosts_share_the_machines_without_gpus():
    cluster = ClusterConfig("ray", nodes=2, simulators="hosts", hosts_per_rank=2)
    placement = divide(cluster, GPU_NODES + CPU_NODES, gpus=True)
    # 2 machines x 8 ranks x 2 hosts = 32 hosts on 2 machines of 64 cores: 16 on each, 4 cores.
    assert (placement.cluster.cpus_per_rank, placement.cluster.cpus_per_host) == (1, 4)


def test_simulator_hosts_leave_ranks_their_cores_where_machines_are_alike():
    cluster = ClusterConfig("ray", simulators="hosts", cpus_per_rank=4)
    assert divide(cluster, CPU_NODES[:1], gpus=False).cluster.cpus_per_host == 60


def test_a_cluster_that_is_too_small_is_refused():
    with pytest.raises(UserError, match="has 2 machines, --nodes asks for 3"):
        divide(ClusterConfig("ray", nodes=3), CPU_NODES, gpus=False)
    with pytest.raises(UserError, match="has 2 machines with a GPU, --nodes asks for 3"):
        divide(ClusterConfig("ray", nodes=3), GPU_NODES + CPU_NODES, gpus=True)
    hosts = ClusterConfig("ray", simulators="hosts", hosts_per_rank=2)
    with pytest.raises(UserError, match="no room .* for 2 simulator hosts of 1 cores"):
        divide(hosts, [Machine("a", 2, 0)], gpus=False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nodes": 2}, "need a cluster: --cluster ray"),
        ({"simulators": "hosts"}, "need a cluster: --cluster ray"),
        ({"engine": "ray", "nodes": 2, "address": "local"}, "a local cluster is one node, not 2"),
        ({"engine": "ray", "address": "ray://head:10001"}, "on a machine of the cluster"),
        ({"engine": "ray", "nodes": 0}, "cluster.nodes must be >= 1"),
        ({"engine": "ray", "restarts": -1}, "cluster.restarts must be >= 0"),
        ({"engine": "ray", "timeout_s": 0.0}, "timeout_s > 0"),
    ],
)
def test_nonsense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ClusterConfig(**fields)


def train(tmp_path, *arguments: str) -> int:
    command = ["train", "smoke", "--out", str(tmp_path / "run"), "--cluster", "ray"]
    return main([*command, *arguments])


def test_without_the_extra_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "pushcut.cluster.on_ray", raising=False)
    monkeypatch.delattr(pushcut.cluster, "on_ray", raising=False)
    assert train(tmp_path) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert '--cluster ray needs Ray: `pip install "pushcut[ray]"`' in line


def test_an_address_where_nobody_listens_is_one_line(tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert train(tmp_path, "--cluster.address", address) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no Ray cluster answers at {address} (--cluster.address)" in line


def test_an_address_that_does_not_answer_is_one_line_after_a_while(tmp_path, capsys):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        arguments = ("--cluster.address", address, "--cluster.timeout-s", "3", "--nodes=2")
        assert train(tmp_path, *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no Ray cluster answers at {address} (--cluster.address) within 3 s" in line
