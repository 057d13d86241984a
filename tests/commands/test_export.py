"""Checkpoints as policy folders, and stored configs read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pushcut import assembly
from pushcut.cli import main
from pushcut.config import TrainConfig
from pushcut.errors import UserError
from pushcut.policies.source import TokenPolicySource, policy_folder
from pushcut.presets import PRESETS
from pushcut.ranks.config import RanksConfig
from pushcut.runs.config_json import from_json, to_json
from tests.ranks.launch import on_ranks

WEIGHTS = "model.safetensors"


@pytest.mark.parametrize("name", PRESETS)
def test_a_stored_config_is_read_back_as_it_was(name):
    config = PRESETS[name].train
    stored = json.loads(json.dumps(to_json(config)))
    assert from_json(TrainConfig, stored) == config


def test_a_field_that_is_gone_is_named():
    stored = to_json(PRESETS["smoke"].train) | {"tempo": 3}
    with pytest.raises(UserError, match=r"unknown field tempo; TrainConfig has"):
        from_json(TrainConfig, stored)


@pytest.mark.heavy
def test_a_sharded_checkpoint_is_exported_as_the_folder_of_whole_weights(
    small_training, finetuned, tmp_path, capsys
):
    config = replace(
        small_training,
        iterations=1,
        device="cpu",
        out=tmp_path / "sharded",
        ranks=RanksConfig(weights="sharded"),
    )
    on_ranks(2, train, config)
    assembly.train(replace(config, out=tmp_path / "whole", ranks=RanksConfig()))
    assert main(["eval", "smoke", "--policy.path", str(tmp_path / "sharded")]) == 1
    assert "pushcut export" in capsys.readouterr().err
    for run in ("sharded", "whole"):
        assert main(["export", str(tmp_path / run), "--out", str(tmp_path / f"{run}-out")]) == 0
    want, got = (load_file(tmp_path / f"{run}-out" / WEIGHTS) for run in ("whole", "sharded"))
    assert want.keys() == got.keys()
    before = load_file(finetuned / WEIGHTS)
    moved = max(float((got[name] - before[name]).abs().max()) for name in got)
    apart = max(float((got[name] - want[name]).abs().max()) for name in got)
    # AdamW's first steps blow up the last digits of gradients that are nearly zero.
    assert moved > 3e-4 > 3e-5 > apart
    exported = TokenPolicySource(path=policy_folder(tmp_path / "sharded-out")).load()
    assert exported.chunk == 4
    assert main(["export", str(tmp_path / "whole"), "--out", str(tmp_path / "whole-out")]) == 1
    assert "exists" in capsys.readouterr().err


def train(config: TrainConfig) -> None:
    assembly.train(config)


def test_exporting_what_is_no_run_says_what_would_work(tmp_path: Path, capsys):
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "x")]) == 1
    assert "give a run's folder" in capsys.readouterr().err
