"""Checkpoints as policy folders, and stored configs read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pushcut import assembly
from pushcut.cli import main
from pushcut.commands.export import remember_what_was_said
from pushcut.config import TrainConfig
from pushcut.errors import UserError
from pushcut.policies.source import TokenPolicySource, policy_folder
from pushcut.presets import PRESETS
from pushcut.ranks.config import RanksConfig
from pushcut.runs.config_json import from_json, to_json
from tests.policies.builders import tiny
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
        env=replace(small_training.env, sentences=(("reach-red", "move to the red goal"),)),
    )
    on_ranks(2, train, config)
    assembly.train(replace(config, out=tmp_path / "whole", ranks=RanksConfig()))
    assert main(["eval", "smoke", "--policy.path", str(tmp_path / "sharded")]) == 1
    assert "pushcut export" in capsys.readouterr().err
    for run in ("sharded", "whole"):
        assert main(["export", str(tmp_path / run), "--out", str(tmp_path / f"{run}-out")]) == 0
        told = json.loads((tmp_path / f"{run}-out" / "instructions.json").read_text())
        assert told == {
            "reach-red": ["move to the red goal"],
            "reach-blue": ["move the point to the blue goal"],
        }
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


def test_an_export_of_shards_remembers_what_training_said(tmp_path, smoke, capsys):
    env = replace(smoke.train.env, sentences=(("reach-blue", "to blue"),))
    config = to_json(replace(smoke.train, env=env, tasks=("reach-blue",)))
    (tmp_path / "config.json").write_text(json.dumps({"config": config}))
    policy = tiny()
    remember_what_was_said(policy, tmp_path)
    assert policy.told == {}  # nothing is known of what it was fine-tuned on
    policy.told = {"reach-red": ("red",), "reach-blue": ("blue",)}
    remember_what_was_said(policy, tmp_path)
    assert policy.told == {"reach-red": ("red",), "reach-blue": ("to blue",)}
    # The environment of a plug-in that is not here is no reason to refuse the weights.
    config["env"]["type"] = "GoneConfig"
    (tmp_path / "config.json").write_text(json.dumps({"config": config}))
    remember_what_was_said(policy, tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert "warning: the policy will not remember what it was told in training: " in printed


def train(config: TrainConfig) -> None:
    assembly.train(config)


def test_exporting_what_is_no_run_says_what_would_work(tmp_path: Path, capsys):
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "x")]) == 1
    assert f"no policy at {tmp_path}: the folder is empty" in capsys.readouterr().err


def test_the_policy_of_a_fine_tuning_run_is_exported_too(tmp_path: Path, finetuned):
    assert main(["export", str(finetuned.parent), "--out", str(tmp_path / "x")]) == 0
    assert (tmp_path / "x" / WEIGHTS).read_bytes() == (finetuned / WEIGHTS).read_bytes()
