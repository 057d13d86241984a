"""The whole recipe on the point mass: what it writes, how it stops and goes on."""

import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from pushcut.commands import quickstart, recipe
from pushcut.commands.evaluate import run_eval
from pushcut.commands.quickstart import run_quickstart
from pushcut.commands.recipe import in_recipe
from pushcut.config import QuickstartConfig
from pushcut.errors import Interrupted, UserError
from pushcut.policies.source import TokenPolicySource
from pushcut.rollout.collector import Collector
from tests.commands.recipes import small
from tests.envs.mixed.members import FaultyMember
from tests.envs.pool.faulty import FaultyConfig

pytestmark = pytest.mark.heavy

STAGES = ("before", "after", "before_sampled", "after_sampled")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, smoke) -> QuickstartConfig:
    config = small(smoke, tmp_path_factory.mktemp("recipe") / "run")
    run_quickstart(config)
    return config


def test_the_summary_counts_both_evaluations_and_names_both_checkpoints(finished):
    summary = json.loads((finished.out / "summary.json").read_text())
    for stage in STAGES:
        result = summary[stage]
        assert result["episodes"] == 12
        assert set(result["per_task"]) == {"reach-red", "reach-blue"}
        low, high = result["interval"]
        assert 0 <= low <= result["successes"] / 12 <= high <= 1
    before, after = (summary[stage]["successes"] for stage in ("before", "after"))
    assert summary["gain"] == pytest.approx((after - before) / 12)
    paired = summary["after"]["table"]["differences"][0]["all"]
    assert paired["difference"] == pytest.approx(summary["gain"])
    phases = {"collect", "sft", "rl", "eval_before_greedy", "eval_after_sampled", "total"}
    assert phases <= summary["seconds"].keys()


def test_the_checkpoints_are_those_that_were_evaluated(finished, tmp_path):
    summary = json.loads((finished.out / "summary.json").read_text())
    for stage in ("before", "after"):
        source = TokenPolicySource(Path(summary[f"checkpoint_{stage}"]))
        again = run_eval(replace(finished.eval, policy=source, out=tmp_path / f"{stage}.json"))
        assert again["successes"] == summary[stage]["successes"]
        first = Path(summary[stage]["ledger"]).read_text()
        assert Path(again["ledger"]).read_text() == first


def test_the_report_is_one_file_with_videos_of_both_stages(finished):
    html = (finished.out / "report.html").read_text()
    shown = json.loads((finished.out / "videos" / "after" / "videos.json").read_text())
    starts = [(film["task"], film["init_seed"]) for film in shown]
    first = [(task, 0) for task in ("reach-red", "reach-blue")]
    assert set(first) <= set(starts)
    assert html.count("data:video/mp4;base64,") == 2 * len(starts)
    assert "held out, greedy" in html  # the success curve has the points before and after
    for film in shown:
        ending = f"success in {film['length']}" if film["success"] else "failed after 20"
        assert f"{ending} steps" in html
    assert not re.search(r'(src|href)="(http|/|\.)', html)
    assert "reach-red" in html


def test_a_finished_recipe_is_only_summarised_again(finished, monkeypatch):
    def never(*arguments):
        raise AssertionError("a finished phase ran again")

    for name in ("run_collect", "run_sft", "run_eval", "train"):
        monkeypatch.setattr(recipe, name, never)
    monkeypatch.setattr(quickstart, "record_videos", never)
    before = json.loads((finished.out / "summary.json").read_text())
    assert run_quickstart(replace(finished, resume=True))["after"] == before["after"]


def test_an_existing_recipe_is_not_overwritten(finished):
    with pytest.raises(UserError, match="--resume"):
        run_quickstart(finished)


def test_a_recipe_goes_on_with_its_own_settings_only(finished):
    other = replace(finished.sft, fit=replace(finished.sft.fit, steps=41))
    with pytest.raises(UserError, match="--sft.fit.steps 40, the command says --sft.fit.steps 41"):
        run_quickstart(replace(finished, sft=other, resume=True))


def test_a_recipe_stopped_in_its_training_goes_on_to_the_same_result(
    finished, smoke, tmp_path, monkeypatch
):
    config = small(smoke, tmp_path / "run")
    original = Collector.collect

    def collect_and_signal(self, policy, iteration):
        if iteration == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, policy, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(Collector, "collect", collect_and_signal)
        with pytest.raises(Interrupted) as stop:
            run_quickstart(config)
    assert stop.value.exit_code == 143
    resumed = run_quickstart(replace(config, resume=True))
    whole = json.loads((finished.out / "summary.json").read_text())
    for stage in STAGES:
        one, other = (Path(summary[stage]["ledger"]) for summary in (resumed, whole))
        assert one.read_text() == other.read_text()


def test_the_seed_of_the_recipe_changes_every_phase(finished, smoke, tmp_path, monkeypatch):
    other = replace(small(smoke, tmp_path / "run"), seed=1)
    trained = []

    def stop(config):
        trained.append(config.seed)
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        run_quickstart(other)
    assert trained == [1]
    for file in ("demonstrations/data/chunk-000/file-000.parquet", "sft/policy/model.safetensors"):
        assert (other.out / file).read_bytes() != (finished.out / file).read_bytes()
    ledgers = [
        [json.loads(line)["init_seed"] for line in (c.out / LEDGER).read_text().splitlines()]
        for c in (finished, other)
    ]
    assert ledgers[0] == ledgers[1]  # but the held-out states stay the same


LEDGER = "eval/before-greedy.ledger.jsonl"


@pytest.mark.parametrize("resume", [False, True])
def test_a_first_phase_that_is_refused_leaves_no_folder(smoke, tmp_path, resume):
    config = small(smoke, tmp_path / "run")
    broken = FaultyMember(faulty=FaultyConfig(build_fault="raise"))
    collect = replace(config.collect, env=broken)
    with pytest.raises(UserError, match="cannot start FaultyMember"):
        run_quickstart(replace(config, collect=collect, resume=resume))
    assert not config.out.exists()


def test_parts_that_do_not_fit_are_told_with_the_recipes_flags_before_it_begins(smoke, tmp_path):
    config = small(smoke, tmp_path / "run")
    new = replace(config.sft.policy.new, image_size=64)
    sft = replace(config.sft, policy=replace(config.sft.policy, new=new))
    flags = "and ".join(f"--{part}.env.image-size " for part in ("collect", "train", "eval"))
    with pytest.raises(UserError, match=f"32x32: give {flags}64"):
        run_quickstart(replace(config, sft=sft))
    assert not config.out.exists()


def test_flags_in_a_message_are_those_of_the_recipe(smoke, tmp_path):
    config = small(smoke, tmp_path / "run")
    for said, spelled in (
        ("lower --learner.lr", "lower --train.learner.lr"),
        ("--policy.new.chunk", "--sft.policy.new.chunk"),
        ("choose --out or --resume", "choose --out or --resume"),
        ("--storage image", "--collect.storage image"),
        ("`ray start --head`", "`ray start --head`"),
    ):
        assert in_recipe(said, config) == spelled
    assert in_recipe("--policy.path", config, "train") == "--train.policy.path"
