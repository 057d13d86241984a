"""Damaged and hostile files: one clear line each, and nothing of a pickle is ever executed."""

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pushcut.policies import kinds, load
from pushcut.policies.released import tensors
from tests.policies.released.builders import READING, WRITERS, refusal
from tests.policies.released.folders import OPENVLA, write_openpi, write_openvla


class Hostile:
    """Its pickle creates a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


def test_a_hostile_pickle_does_what_it_wants_where_it_is_loaded_carelessly(tmp_path):
    (tmp_path / "x").write_bytes(pickle.dumps(Hostile(tmp_path / "mark")))
    pickle.loads((tmp_path / "x").read_bytes())
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_weights_as_a_pickle_alone_are_refused_and_never_executed(write, name, tmp_path):
    folder = write(tmp_path / "a")
    for file in folder.glob("model*.safetensors*"):
        file.unlink()
    torch.save(Hostile(tmp_path / "mark"), folder / name)
    message = refusal(folder)
    assert f"({name})" in message and "convert it to model.safetensors" in message
    assert not (tmp_path / "mark").exists()


def test_a_pickle_of_nothing_but_tensors_is_read_and_saved_as_safetensors(tmp_path):
    folder = write_openpi(tmp_path / "a")
    want = load(folder, READING)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    policy = load(folder, READING)
    for name, tensor in want.state_dict().items():
        assert torch.equal(policy.state_dict()[name], tensor)
    policy.save_pretrained(tmp_path / "b")
    assert (tmp_path / "b" / "model.safetensors").exists()
    assert not (tmp_path / "b" / "pytorch_model.bin").exists()


def test_a_pickle_beside_the_weights_is_left_alone(tmp_path):
    folder = write_openpi(tmp_path / "a")
    torch.save(Hostile(tmp_path / "mark"), folder / "optimizer.pt")
    load(folder, READING).save_pretrained(tmp_path / "b")
    assert not (tmp_path / "mark").exists() and not (tmp_path / "b" / "optimizer.pt").exists()


def projector(folder: Path, content: object) -> Path:
    torch.save(content, folder / "proprio_projector--150000_checkpoint.pt")
    return folder


def test_a_hostile_projector_for_the_state_is_refused_and_never_executed(tmp_path):
    folder = projector(write_openvla(tmp_path / "a"), {"fc1.weight": Hostile(tmp_path / "mark")})
    assert "it was not executed; save the projector's state_dict() alone" in refusal(folder)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "holds no tensors by name"),
        ({"fc1.weight": 1}, "holds no tensors by name"),
        ({"weight": torch.zeros(2)}, "lacks the matrix fc1.weight; it has ['weight']"),
        ({"fc1.weight": torch.zeros(64, 2)}, "missing proprio_projector.fc1.bias"),
    ],
)
def test_a_projector_of_something_else_is_refused(content, message, tmp_path):
    sizes = replace(OPENVLA, proprio_dim=2)
    assert message in refusal(projector(write_openvla(tmp_path / "a", sizes), content))


def test_a_damaged_projector_is_refused(tmp_path):
    folder = write_openvla(tmp_path / "a")
    (folder / "proprio_projector--1_checkpoint.pt").write_bytes(b"")
    assert "is damaged (EOFError)" in refusal(folder)


def test_of_several_projectors_none_is_chosen_silently(tmp_path):
    folder = write_openvla(tmp_path / "a", replace(OPENVLA, proprio_dim=2))
    file = folder / "proprio_projector--150000_checkpoint.pt"
    shutil.copy(file, folder / "proprio_projector--50000_checkpoint.pt")
    assert "has several projectors for the state" in refusal(folder)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("kept", [0, 100, -1000])
def test_truncated_weights_are_named(write, kept, tmp_path):
    folder = write(tmp_path / "a")
    file = next(file for file in folder.glob("model*.safetensors"))
    file.write_bytes(file.read_bytes()[:kept])
    assert f"{file.name} is damaged (truncated copy?)" in refusal(folder)


def test_a_missing_shard_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "SHARD_BYTES", 1_000_000)
    folder = write_openvla(tmp_path / "a")
    shard = sorted(folder.glob("model-00002-of-*.safetensors"))[0]
    shard.unlink()
    assert f"{shard.name} is missing: is the download complete?" in refusal(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": []}', "\udcff"])
def test_an_index_that_is_none_is_named(content, tmp_path):
    folder = write_openvla(tmp_path / "a")
    index = folder / "model.safetensors.index.json"
    index.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert "model.safetensors.index.json is not an index of shards" in refusal(folder)


def test_without_any_weights_the_line_says_what_was_expected(tmp_path):
    folder = write_openpi(tmp_path / "a")
    (folder / "model.safetensors").unlink()
    assert "has neither model.safetensors nor model.safetensors.index.json" in refusal(folder)


@pytest.mark.parametrize("write", WRITERS)
def test_a_checkpoint_larger_than_the_free_memory_is_refused_before_it_is_read(
    write, tmp_path, monkeypatch
):
    folder = write(tmp_path / "a")
    size = sum(parameter.nbytes for parameter in load(folder, READING).parameters())
    monkeypatch.setattr(tensors, "memory_bytes", lambda: (10 * size, size - 1))
    monkeypatch.setattr(kinds, "leave_files", lambda *_: pytest.fail("was read"))
    assert "GB are free: `pushcut plan PRESET` says" in refusal(folder)


def test_weights_for_a_network_that_is_there_need_no_memory(tmp_path, monkeypatch):
    policy = load(write_openpi(tmp_path / "a"), READING)
    monkeypatch.setattr(tensors, "memory_bytes", lambda: (1, 1))
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
    policy.load_weights(tmp_path / "a")
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state_dict().items())


@pytest.mark.parametrize("write", WRITERS)
def test_a_damaged_description_of_pushcut_is_named(write, tmp_path):
    load(write(tmp_path / "a"), READING).save_pretrained(tmp_path / "b")
    (tmp_path / "b" / "pushcut.json").write_text('{"sizes": {}}')
    assert "pushcut.json does not describe a" in refusal(tmp_path / "b")
