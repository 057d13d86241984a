"""Evaluation: each held-out state once, the same ledger however it was played."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pushcut.commands.collect import run_collect
from pushcut.commands.evaluate import play_manifest, record_videos, run_eval
from pushcut.commands.sft import run_sft
from pushcut.config import EvalConfig, RolloutConfig
from pushcut.errors import UserError
from pushcut.evaluator import EvalResult, LedgerLine
from pushcut.policies.source import TokenPolicySource
from pushcut.presets import PRESETS
from pushcut.statistics import Rate

SLOTS_AND_WORKERS = [(1, 1), (4, 2), (16, 2)]


@pytest.fixture
def config(smoke, finetuned) -> EvalConfig:
    return replace(smoke.eval, policy=TokenPolicySource(finetuned), episodes_per_task=9)


def ledgers(config: EvalConfig) -> list[tuple[LedgerLine, ...]]:
    return [
        play_manifest(replace(config, rollout=replace(config.rollout, slots=s, workers=w))).ledger
        for s, w in SLOTS_AND_WORKERS
    ]


@pytest.mark.parametrize("mode", ["greedy", "sampled"])
def test_the_ledger_is_the_same_with_1_4_and_16_slots(config, mode):
    one, four, sixteen = ledgers(replace(config, mode=mode))
    assert one == four == sixteen
    assert len({line.length for line in one}) > 1


def test_each_initial_state_of_the_manifest_is_played_once_in_its_order(config):
    ledger = play_manifest(replace(config, first=40)).ledger
    wanted = [(task, seed) for task in config.env.spec.tasks for seed in range(40, 49)]
    assert sorted((line.task, line.init_seed) for line in ledger) == sorted(wanted)


def test_sampled_actions_depend_on_the_seed_and_greedy_ones_do_not(config):
    sampled = replace(config, mode="sampled")
    assert play_manifest(sampled).ledger != play_manifest(replace(sampled, seed=1)).ledger
    assert play_manifest(config).ledger == play_manifest(replace(config, seed=1)).ledger


def test_the_files_say_what_was_played(config, tmp_path):
    content = run_eval(replace(config, out=tmp_path / "eval" / "greedy.json"))
    saved = json.loads((tmp_path / "eval" / "greedy.json").read_text())
    lines = [json.loads(line) for line in Path(saved["ledger"]).read_text().splitlines()]
    assert saved == content
    assert saved["mode"] == "greedy"
    assert len(lines) == saved["episodes"] == 18
    for task, rate in saved["per_task"].items():
        of_task = [line for line in lines if line["task"] == task]
        assert rate["episodes"] == len(of_task) == 9
        assert rate["successes"] == sum(line["success"] for line in of_task)


def test_no_earlier_result_is_overwritten(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = replace(config, episodes_per_task=1)
    for _ in range(2):
        run_eval(few)
    assert sorted(path.name for path in Path("eval").glob("*.json")) == [
        "greedy-2.json",
        "greedy.json",
    ]
    with pytest.raises(UserError, match="greedy.json exists"):
        run_eval(replace(few, out=Path("eval/greedy.json")))


def test_a_rate_counts_and_carries_its_wilson_interval():
    # 8 of 10: centre (8 + 1.9208) / 13.8416 = 0.7167, half width
    # 1.96 / 13.8416 * sqrt(8 * 2 / 10 + 0.9604) = 0.2266: 49.0 % to 94.3 %
    assert str(Rate(8, 10)) == " 80.0% (8/10, 95 % interval 49.0% to 94.3%)"


def test_tasks_are_counted_apart():
    ledger = tuple(LedgerLine("ab"[i % 2], i, i % 2 == 0, 3, 3) for i in range(6))
    result = EvalResult("greedy", ledger, 1.0)
    assert {task: rate.successes for task, rate in result.per_task.items()} == {"a": 3, "b": 0}
    assert result.metrics()["eval_greedy_success_rate"] == 0.5


def test_videos_show_one_episode_of_each_task(config, tmp_path):
    record_videos(config, tmp_path, "before")
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == ["before-reach-blue.mp4", "before-reach-red.mp4"]


@pytest.mark.sim
def test_metaworld_gives_the_same_ledger_with_1_4_and_16_slots(tmp_path):
    """Physics, pixels, language and network together, down to the step."""
    preset = PRESETS["quickstart"]
    env = replace(preset.collect.env, tasks=("door-close-v3", "faucet-open-v3"))
    collect = replace(preset.collect, env=env, episodes_per_task=1, workers=2)
    demonstrations = run_collect(replace(collect, out=tmp_path / "demos"))
    small = replace(preset.sft.policy, width=64, depth=1)
    fit = replace(preset.sft.fit, steps=30)
    sft = replace(preset.sft, policy=small, fit=fit, dataset=demonstrations, device="cpu")
    torch.set_num_threads(1)
    policy = TokenPolicySource(run_sft(replace(sft, out=tmp_path / "sft")))
    rollout = RolloutConfig(inference_batch=4)
    short = replace(env, max_steps=60)
    config = replace(preset.eval, env=short, policy=policy, rollout=rollout, episodes_per_task=3)
    one, four, sixteen = ledgers(replace(config, mode="sampled", device="cpu"))
    assert one == four == sixteen
