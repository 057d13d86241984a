"""Sharded checkpoints of a run share what is never trained, whoever wrote it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from pushcut.algorithms.grpo import GRPO
from pushcut.learning import checkpoint, shards
from pushcut.learning.checkpoint import SHARDS, Progress
from pushcut.learning.disk import CheckpointSize
from pushcut.learning.learner import Learner, LearnerConfig
from pushcut.policies.masters import MASTERS_FILE
from pushcut.ranks.base import Ranks, SingleProcess
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.frozen_shards import FrozenShards
from pushcut.ranks.start import joined
from tests.learning.builders import rollout_of
from tests.policies.released.builders import bfloat16, flow
from tests.ranks.launch import on_ranks

pytestmark = pytest.mark.heavy

ALGORITHM = GRPO(group_size=2)
WAYS = {"expert": "expert", "adapters": "lora"}
TOLD = {"reach-red": ("reach the red disc", "go to red")}


def learner_of(origin: Path, ranks: Ranks, trained: Any = "expert") -> Learner:
    """A pi0 whose PaliGemma is frozen, below adapters or without, after an update."""
    source = replace(flow(origin, bfloat16(True)), trained=trained)
    policy = source.load(in_files=ranks.sharded)
    policy.told = TOLD
    learner = Learner(policy, ALGORITHM, LearnerConfig(minibatches=1), seed=0, ranks=ranks)
    rollout = rollout_of(source.load(), [2, 1, 3, 1])
    learner.update(rollout, ALGORITHM.advantages(rollout), iteration=0)
    return learner


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def content(learner: Learner) -> dict[str, Any]:
    found = shards.training_tensors(learner).items()
    return {name: whole(x).detach().float().numpy() for name, x in found}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return found.keys() == wanted.keys() and all((found[n] == wanted[n]).all() for n in wanted)


def save(learner: Learner, folder: Path, ranks: Ranks, *numbers: int) -> None:
    for number in numbers:
        checkpoint.save(folder, learner, Progress(number), keep=9, ranks=ranks)
    ranks.wait_for_writes()


def trained(folder: Path, origin: Path, way: str) -> dict[str, Any]:
    with joined(RanksConfig(weights="sharded"), gpus=False) as ranks:
        learner = learner_of(origin, ranks, WAYS[way])
        save(learner, folder, ranks, 1, 2)
        size = CheckpointSize.of(learner, sharded=True)
        return {"content": content(learner), "each": size.each, "shared": size.shared}


def gone_on(folder: Path, origin: Path, way: str, *numbers: int) -> dict[str, Any]:
    """What another number of ranks finds, before it writes more checkpoints."""
    with joined(RanksConfig(weights="sharded"), gpus=False) as ranks:
        learner = learner_of(origin, ranks, WAYS[way])
        with torch.no_grad():
            for parameter in learner.policy.parameters():
                parameter.zero_()
        progress, damaged = checkpoint.load_newest(folder, learner)
        assert progress is not None and not damaged
        save(learner, folder, ranks, *numbers)
        return content(learner)


def trained_as_before(folder: Path, origin: Path) -> dict[str, Any]:
    """A checkpoint with all weights inside, each under all of its names."""

    def everything(learner: Learner) -> dict[str, Tensor]:
        weights = {f"policy.{name}": x for name, x in learner.policy.state_dict().items()}
        return weights | shards.optimizer_tensors(learner)

    checkpoint.training_tensors = everything
    checkpoint.frozen_in_shards = lambda policy: set()
    with joined(RanksConfig(weights="sharded"), gpus=False) as ranks:
        learner = learner_of(origin, ranks)
        save(learner, folder, ranks, 1)
        return content(learner)


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    from tests.policies.released.folders import write_openpi

    return write_openpi(tmp_path_factory.mktemp("origin") / "pi0")


def names(checkpoint: Path) -> list[str]:
    """Of its files, but for what a name is made of."""
    parts = [file.name.split("-") for file in (checkpoint / SHARDS).iterdir()]
    return sorted("-".join([p[0], *p[2:]]) if p[0] == "frozen" else "-".join(p) for p in parts)


def frozen_files(checkpoint: Path) -> list[Path]:
    return sorted((checkpoint / SHARDS).glob("frozen-*"))


def numbers_in(files: Iterable[Path]) -> int:
    """Bytes of safetensors files without their headers."""
    return sum(
        file.stat().st_size - 8 - int.from_bytes(file.read_bytes()[:8], "little") for file in files
    )


def own_bytes(checkpoint: Path) -> int:
    return numbers_in((checkpoint / SHARDS).glob("shard-*"))


def own_bytes_of_whole(checkpoint: Path) -> int:
    """Of trained weights and the optimiser."""
    files = [checkpoint / "policy" / "model-trained.safetensors", checkpoint / MASTERS_FILE]
    state = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"]
    moments = sum(x.nbytes for values in state.values() for x in values.values())
    return moments + numbers_in(file for file in files if file.exists())


OF_TWO = ["frozen-00001-of-00002.safetensors", "frozen-00002-of-00002.safetensors"]


@pytest.mark.parametrize("way", WAYS)
def test_frozen_shards_are_written_once_and_read_by_any_number_of_ranks(tmp_path, origin, way):
    run = tmp_path / "checkpoints"
    first = on_ranks(2, trained, run, origin, way)[0]
    assert names(run / "000001") == [
        *OF_TWO,
        "shard-00001-model-00001-of-00002.safetensors",
        "shard-00002-model-00001-of-00002.safetensors",
    ]
    assert names(run / "000002") == [
        *OF_TWO,
        "shard-00001-model-00001-of-00001.safetensors",
        "shard-00002-model-00001-of-00001.safetensors",
    ]
    pairs = zip(frozen_files(run / "000001"), frozen_files(run / "000002"), strict=True)
    assert all(one.samefile(other) and one.stat().st_nlink == 2 for one, other in pairs)
    assert {file.stat().st_mode & 0o777 for file in frozen_files(run / "000002")} == {0o444}
    steps = sum(name.endswith(".step") for name in first["content"])
    forecast = first["each"] + 4 * steps
    if way == "expert":
        assert own_bytes(run / "000002") == forecast
    else:  # what the encoder's last layer adds is not looked at, and has no moments
        assert 0.8 * forecast < own_bytes(run / "000002") < forecast
    assert numbers_in(frozen_files(run / "000002")) == first["shared"]
    if way == "expert":  # adapters would be in the layers
        one = SingleProcess()
        save(learner_of(origin, one), tmp_path / "whole", one, 1)
        assert own_bytes(run / "000002") == own_bytes_of_whole(tmp_path / "whole" / "000001")
    # One rank goes on from them, and links what two have written.
    shutil.rmtree(run / "000001")
    assert same(on_ranks(1, gone_on, run, origin, way, 3)[0], first["content"])
    assert names(run / "000003") == [*OF_TWO, "shard-00001-model-00001-of-00001.safetensors"]
    pairs = zip(frozen_files(run / "000002"), frozen_files(run / "000003"), strict=True)
    assert all(one.samefile(other) for one, other in pairs)
    one = SingleProcess()
    learner = learner_of(origin, one, WAYS[way])
    assert checkpoint.load(run / "000003", learner) == Progress(3)
    assert same(content(learner), first["content"])


def test_a_run_goes_on_from_checkpoints_that_hold_all_weights(tmp_path, origin):
    before = on_ranks(2, trained_as_before, tmp_path, origin)[0]
    assert frozen_files(tmp_path / "000001") == []
    assert same(on_ranks(2, gone_on, tmp_path, origin, "expert", 2, 3)[0], before)
    assert len(frozen_files(tmp_path / "000002")) == len(frozen_files(tmp_path / "000003")) == 2
    assert own_bytes(tmp_path / "000003") < own_bytes(tmp_path / "000001") // 2


def test_files_that_are_cut_off_or_missing_are_not_linked(tmp_path):
    tensors = {"a": torch.arange(1000.0), "b": torch.ones(3, 5, dtype=torch.bfloat16)}
    shared = FrozenShards.of(tensors, same_everywhere)
    assert shared.nbytes == 4030

    def earlier(number: int, sizes: list[int], of: int) -> Path:
        folder = tmp_path / f"{number:06d}" / SHARDS
        folder.mkdir(parents=True)
        for place, size in enumerate(sizes, start=1):
            name = f"{shared.name}-{place:05d}-of-{of:05d}.safetensors"
            (folder / name).write_bytes(b"x" * size)
        return folder

    new = tmp_path / ".000009.new" / SHARDS
    assert not shared.link(new)
    earlier(1, [3000, 1000], 2)  # too few bytes
    earlier(2, [9000], 2)  # one of two
    assert not shared.link(new)
    assert not new.exists()
    whole = earlier(3, [3000, 1200], 2)
    earlier(4, [3000], 2)
    assert shared.link(new)
    assert sorted(file.name for file in new.iterdir()) == sorted(f.name for f in whole.iterdir())
    assert all((whole / file.name).samefile(file) for file in new.iterdir())


def same_everywhere(numbers: Tensor) -> Tensor:
    return numbers


CHANGES: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "a number": lambda x: x["a"].__setitem__(0, 5.0),
    "the last number of a row": lambda x: x["b"].__setitem__((2, 4), 2.0),
    "a shape": lambda x: x.update(a=x["a"].view(10, 100)),
    "a precision": lambda x: x.update(b=x["b"].float()),
    "a name": lambda x: x.update(c=x.pop("a")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_weights_have_another_name(change):
    def made() -> dict[str, Tensor]:
        return {"a": torch.arange(1000.0), "b": torch.ones(3, 5, dtype=torch.bfloat16)}

    found, other = made(), made()
    CHANGES[change](other)
    name = FrozenShards.of(found, same_everywhere).name
    assert name == FrozenShards.of(made(), same_everywhere).name
    assert name != FrozenShards.of(other, same_everywhere).name
