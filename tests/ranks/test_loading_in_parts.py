"""Ranks that hold parts of the weights read those parts of the files, and copy no others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from pushcut.learning.sft import FitConfig, Fitting
from pushcut.policies.base import Policy
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.source import StartPolicy
from pushcut.ranks.base import SingleProcess
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.start import joined
from tests.policies.released.builders import READINGS
from tests.policies.released.folders import write_openpi, write_openvla
from tests.ranks.launch import on_ranks

pytestmark = pytest.mark.heavy

WRITERS: dict[str, Callable[[Path], Path]] = {"pi0": write_openpi, "openvla": write_openvla}
WAYS = [f"{kind}/{read}" for kind in WRITERS for read in READINGS]


class Copies(TorchDispatchMode):
    """Notes how many numbers each copy of a tensor writes."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("copy_", "clone", "_to_copy") and isinstance(found, Tensor):
            self.sizes.append(found.numel())
        return found


def start(way: str, folder: Path, *, in_files: bool) -> Policy:
    kind, read = way.split("/")
    path = WRITERS[kind](folder / kind) if not (folder / kind).exists() else folder / kind
    reading: ReleasedConfig = READINGS[read]
    return StartPolicy(path=path, released=reading).load(None, seed=0, in_files=in_files)


def placed(way: str) -> dict[str, Any]:
    """A fine-tuning that begins: the largest copy of it, and whether the weights are right."""
    with tempfile.TemporaryDirectory() as folder, joined(RanksConfig(weights="sharded")) as ranks:
        whole = start(way, Path(folder), in_files=False)
        with Copies() as copies:
            policy = start(way, Path(folder), in_files=True)
            Fitting(policy, FitConfig(batch_size=2), seed=0, ranks=ranks)
        wanted = dict(whole.named_parameters())
        for name, parameter in policy.named_parameters():
            assert isinstance(parameter, DTensor)
            assert parameter.dtype == wanted[name].dtype, name
            assert torch.equal(parameter.full_tensor(), wanted[name]), name
        rows = [p for p in wanted.values() if p.shape[0] > 1]
        return {
            "copied": max(copies.sizes),
            "largest part": max(-(-p.shape[0] // 2) * p[0].numel() for p in rows),
        }


def all_placed() -> dict[str, Any]:
    return {way: placed(way) for way in WAYS}


@pytest.fixture(scope="module")
def on_two() -> list[dict[str, Any]]:
    return on_ranks(2, all_placed)


@pytest.mark.parametrize("way", WAYS)
def test_fine_tuning_copies_no_whole_weight_into_parts(on_two, way):
    for rank in on_two:
        assert 0 < rank[way]["copied"] <= rank[way]["largest part"]


def test_what_one_process_takes_out_of_files_is_whole(tmp_path):
    with Copies() as copies:
        policy = start("pi0/bfloat16", tmp_path, in_files=False)
        Fitting(policy, FitConfig(batch_size=2), seed=0, ranks=SingleProcess())
    assert max(copies.sizes) == max(p.numel() for p in policy.parameters())
