"""Weights beside the network's: nothing in a folder is passed over without a word."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pushcut.policies import load
from tests.policies.released.builders import READING, WRITERS, refusal
from tests.policies.released.folders import write_lerobot, write_openvla


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("vision_backbone--150000_checkpoint.pt", "the instruction modulates it (FiLM)"),
        ("vision_backbone--latest_checkpoint.pt", "the instruction modulates it (FiLM)"),
        ("vision_backbone.pt", "the instruction modulates it (FiLM)"),
        ("noisy_action_projector--5000_checkpoint.pt", "diffusion head"),
        ("action_head--150000_checkpoint.pt", "L1-regression head (action_head--150000_"),
        ("action_head--latest.pt", "L1-regression head"),
        ("action_query--7_checkpoint.pt", "has the part action_query in a file of its own"),
    ],
)
def test_a_part_of_openvla_that_pushcut_lacks_is_refused_by_its_file(file, said, tmp_path):
    folder = write_openvla(tmp_path / "a")
    (folder / file).write_bytes(b"never read")
    message = refusal(folder)
    assert said in message
    assert file in message


def test_a_diffusion_head_is_not_called_a_regression(tmp_path):
    folder = write_openvla(tmp_path / "a")
    for part in ("action_head", "noisy_action_projector"):
        (folder / f"{part}--1_checkpoint.pt").write_bytes(b"")
    assert "diffusion head" in refusal(folder)


UNKNOWN = (
    "extra.safetensors",
    "ema.pt",
    "value_head.pth",
    "lora_adapter/adapter_model.safetensors",
)


def add(folder: Path, name: str) -> None:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    save_file({"weight": torch.zeros(2)}, file)


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("write", WRITERS)
def test_weights_that_nothing_names_are_said_in_one_line(write, name, tmp_path, capsys):
    folder = write(tmp_path / "a")
    add(folder, name)
    load(folder, READING)
    lines = [line for line in capsys.readouterr().out.splitlines() if "not read" in line]
    assert lines == [f"{folder}: not read, for nothing says what for: {name}"]


def test_of_many_unread_files_three_are_named(tmp_path, capsys):
    folder = write_lerobot(tmp_path / "a")
    for name in "abcde":
        add(folder, f"{name}.pt")
    load(folder, READING)
    assert "not read, for nothing says what for: a.pt, b.pt, c.pt and 2 more" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("write", WRITERS)
def test_what_only_goes_on_with_a_training_is_passed_over(write, tmp_path, capsys):
    folder = write(tmp_path / "a")
    for name in ("optimizer.pt", "metadata.pt", "rng_state_0.pth", "training_args.bin",
                 "training_state/optimizer_state.safetensors"):  # fmt: skip
        add(folder, name)
    load(folder, READING)
    assert "not read" not in capsys.readouterr().out
