"""Each rank takes its own GPU before torch takes one for it; the GPUs are pretended."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
import torch.distributed as dist

from pushcut.errors import UserError
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.group import ProcessGroup
from tests.ranks.launch import free_port

WEIGHTS = ("replicated", "sharded")


@pytest.fixture
def calls(monkeypatch) -> list[Any]:
    """What torch was asked for, in order, on a machine where it sees one GPU."""
    noted: list[Any] = []
    start = dist.init_process_group

    def set_device(device: Any) -> None:
        number = device if isinstance(device, int) else torch.device(device).index
        noted.append(("set_device", number))
        if number:
            raise RuntimeError("CUDA error: invalid device ordinal")

    def begin(backend: str, *, device_id: torch.device | None = None, **options: Any) -> None:
        noted.append((backend, device_id))
        start("gloo", **options)  # no NCCL without GPUs

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "set_device", set_device)
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda *_, **__: torch.device("cuda")
    )
    monkeypatch.setattr(dist, "init_process_group", begin)
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_WORLD_SIZE": "8",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PUSHCUT_GPU", raising=False)
    return noted


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("local", "gpu"), [("3", "0"), ("0", None)], ids=["ray", "torchrun"])
def test_a_rank_takes_the_gpu_that_it_sees(calls, monkeypatch, weights, local, gpu):
    """Ray shows the fourth rank of a machine one GPU, number 0."""
    monkeypatch.setenv("LOCAL_RANK", local)
    if gpu is not None:
        monkeypatch.setenv("PUSHCUT_GPU", gpu)
    group = ProcessGroup(RanksConfig(weights=weights))
    try:
        assert calls[:2] == [
            ("set_device", 0),
            ("cpu:gloo,cuda:nccl", torch.device("cuda", 0)),
        ]
        assert set(calls[2:]) == {("set_device", 0)}
        assert group.local == 0
    finally:
        group.close()
    assert os.environ["LOCAL_RANK"] == local


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_rank_without_a_gpu_of_its_own_is_told_so(calls, monkeypatch, weights):
    monkeypatch.setenv("LOCAL_RANK", "3")
    try:
        with pytest.raises(UserError, match="rank 3 of this machine and it has 1 GPUs"):
            ProcessGroup(RanksConfig(weights=weights))
    finally:
        dist.destroy_process_group()
    assert [call for call in calls if call[0] == "set_device"] == []


def test_ranks_on_cpus_take_no_gpu(calls, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    group = ProcessGroup(RanksConfig(), gpus=False)
    group.close()
    assert calls == [("gloo", None)]
