"""From an id of gymnasium to demonstrations, SFT, RL and an evaluation, on the command line."""

import json
import sys

import pytest

from pushcut.cli import main

LINE = (
    "--env.id pushcut/Line-v0 --env.module tests.envs.gymnasium.home_made "
    "--env.kwargs observation picture --env.cameras observation --env.image-size 32 "
    "--env.success home.reached --env.max-steps 12 --env.check-steps 5 "
    "--env.expert tests.envs.gymnasium.home_made:home"
)
COMMANDS = (
    f"collect gymnasium-grpo {LINE} --out demos --episodes-per-task 3",
    "sft gymnasium-grpo --dataset demos --out sft --fit.steps 10 --policy.new.cameras observation "
    "--policy.new.image-size 32 --policy.new.width 32",
    "train gymnasium-grpo --policy.path sft/policy --out rl --iterations 1 --rollout.slots 4 "
    "--workers 1 --algorithm.groups 2 --algorithm.max-groups 2",
    "eval gymnasium-grpo --policy.path sft/policy --out result.json --workers 1 "
    "--episodes-per-task 3",
)


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_pixels_alone_go_the_whole_way(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        # What a run remembers of its environment hangs on the command that it was started by.
        monkeypatch.setattr(sys, "argv", ["pushcut", *command.split()])
        assert main(command.split()) == 0, capsys.readouterr().err
    features = json.loads((tmp_path / "demos/meta/info.json").read_text())["features"]
    assert "observation.state" not in features
    assert features["observation.images.observation"]["shape"] == [32, 32, 3]
    # train and eval remember the environment of the demonstrations: nobody repeated it.
    stored = json.loads((tmp_path / "rl/config.json").read_text())["config"]["env"]
    assert stored["id"] == "pushcut/Line-v0"
    assert stored["kwargs"] == [["observation", "picture"]]
    assert "/3)" in (tmp_path / "result.md").read_text()
