"""`pushcut report`: which folders it takes, and what it compares."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pushcut.commands.failure_modes import FailureModesConfig
from pushcut.commands.preset_of_run import changes_of
from pushcut.commands.quickstart import changed_tasks
from pushcut.commands.report import run_report
from pushcut.envs.point_mass import PointMassConfig
from pushcut.errors import UserError
from pushcut.evaluation.films import Film, save_films
from pushcut.presets import PRESETS
from pushcut.reporting.facts import Changes
from pushcut.reporting.video import mp4_of
from pushcut.runs.config_json import to_json
from tests.commands.runs import result, run


def film(result: Path, task: str, seed: int, success: bool) -> None:
    video = mp4_of(np.zeros((2, 32, 32, 3), np.uint8), 5)
    films = [Film(task, seed, 0, success, 12, video)]
    folder = result.with_name(f"{result.stem}-videos")
    spec = replace(PointMassConfig().spec, tasks={task: "push it"}, control_hz=80.0, max_steps=200)
    save_films(folder, films, spec=spec, mode="greedy")


@pytest.fixture
def sft(tmp_path: Path) -> Path:
    return run(tmp_path / "sft", {"loss": 0.5}, fit={"type": "FitConfig", "lr": 1e-3}, seed=7)


@pytest.fixture
def rl(tmp_path: Path, sft: Path) -> Path:
    return run(
        tmp_path / "rl",
        {"success_rate_sampled": 0.5},
        policy={"path": str(sft)},
        algorithm={"type": "GRPO", "group_size": 8},
        seed=3,
    )


def page_of(folder: Path) -> str:
    return " ".join(run_report((folder,)).read_text().split())


def test_a_fine_tuning_has_its_own_subtitle_command_and_settings(sft):
    page = page_of(sft)
    assert "Supervised fine-tuning on demonstrations." in page
    assert "reinforcement learning" not in page.lower()
    assert "<code>pushcut train --tasks &#39;a b&#39;</code>" in page
    assert "Fit: lr 0.001" in page
    assert "pushcut 0.2.0" in page


def test_a_training_is_compared_with_the_policy_that_it_began_with(rl, sft):
    first = result(sft / "eval" / "greedy.json", {"push": "---+", "pull": "++++++++++++"})
    last = result(rl / "eval" / "greedy.json", {"push": "-+++", "pull": "------------"})
    film(first, "push", 1, False)
    film(last, "push", 1, True)
    page = page_of(rl)
    assert "1 task got worse" in page
    assert "same episodes" in page
    assert "failed after 12 steps" in page
    assert "success in 12 steps" in page
    assert "push it" in page
    assert page.count("<video") == 2
    assert page.count("(0.25 &times; real time)") == 2  # 200 steps at 80 Hz in 10 s


def test_other_episodes_of_the_start_are_not_compared(rl, sft):
    result(sft / "eval" / "greedy.json", {"push": "--"})
    result(rl / "eval" / "greedy.json", {"push": "++++"})
    page = page_of(rl)
    assert "points" not in page
    assert "4 of 4" in page


def test_evaluations_during_a_training_are_its_before_and_after(rl):
    for iteration, won in ((0, "-----------+"), (10, "-++++++++-++"), (20, "++++++++++++")):
        path = rl / "eval" / f"{iteration:06d}-greedy.json"
        result(path, {"push": won}, iteration=iteration)
    page = page_of(rl)
    # 11 of 12 gained: 91.7 points
    assert "+91.7 points" in page
    assert "same episodes" in page


def test_the_newest_of_many_results_counts_and_the_others_are_listed(rl):
    names = ["greedy", *(f"greedy-{number}" for number in range(2, 12))]
    for number, name in enumerate(names):
        result(rl / "eval" / f"{name}.json", {"push": "+" * number + "-" * (10 - number)})
    page = page_of(rl)
    assert "100.0" in page.partition("Per task")[0]  # greedy-11
    assert all(f">{name}</th>" in page for name in names[:-1])


def test_a_folder_of_results_compares_with_the_baseline_that_was_played_too(tmp_path):
    folder = tmp_path / "eval"
    result(folder / "x-baseline.json", {"push": "-" * 9 + "+"})
    result(folder / "x.json", {"push": "+" * 10}, command=["pushcut", "eval"])
    page = page_of(folder)
    assert "+90.0 points" in page
    assert ">baseline<" in page
    assert "A policy, judged on held-out initial states." in page


def test_a_folder_of_results_named_before_and_after_is_compared_so(tmp_path):
    result(tmp_path / "before.json", {"push": "-" * 10})
    result(tmp_path / "after.json", {"push": "+" * 10})
    assert "+100.0 points" in page_of(tmp_path)


def test_a_protocol_shows_its_table_and_every_evaluation(tmp_path):
    content = {"protocol": "data scarcity", "algorithm": "GRPO", "seconds": {"sft": 3.0}}
    (tmp_path / "result.json").write_text(json.dumps(content))
    (tmp_path / "result.md").write_text("| demonstrations | few |\n")
    result(tmp_path / "eval" / "few-sft.json", {"push": "++--"})
    page = page_of(tmp_path)
    assert "| demonstrations | few |" in page
    assert '<th scope="row">few-sft</th><td>2 of 4: 50.0 %' in page
    assert "A protocol of the papers" in page


def test_what_is_no_run_says_what_to_give(tmp_path, sft, rl):
    with pytest.raises(UserError, match=rf"give one of the runs in it: {rl}, {sft}"):
        run_report((tmp_path,))
    with pytest.raises(UserError, match="is a file: give its folder"):
        run_report((rl / "config.json",))
    (rl / "checkpoints").mkdir()
    with pytest.raises(UserError, match=rf"give the run that it belongs to, {rl}$"):
        run_report((rl / "checkpoints",))
    with pytest.raises(UserError, match="it does not exist"):
        run_report((tmp_path / "nowhere",))


def test_the_quickstart_says_which_tasks_got_worse_and_which_better():
    gains = {
        "": {"difference": 0.4, "interval": [0.3, 0.5]},
        "push": {"difference": 0.5, "interval": [0.25, 0.75]},
        "pull": {"difference": -0.25, "interval": [-0.5, -0.125]},
        "lift": {"difference": -0.25, "interval": [-0.5, 0.125]},
    }
    assert list(changed_tasks(gains)) == [
        "  got worse: pull -25.0 points (-50.0 to -12.5)",
        "  got better: push +50.0 points (+25.0 to +75.0)",
    ]


def with_config(folder: Path, config: Any, *words: str, command: str = "train") -> Path:
    made = run(folder, {"success_rate_sampled": 0.5})
    content = json.loads((made / "config.json").read_text())
    content |= {"config": to_json(config), "command": ["/x/pushcut", command, *words]}
    (made / "config.json").write_text(json.dumps(content))
    return made


def test_what_was_set_otherwise_than_in_the_preset_stands_above_all_settings(tmp_path):
    own = PRESETS["smoke"].train
    start = replace(own.policy, path=Path("sft/policy"))
    told = replace(own, policy=start, learner=replace(own.learner, lr=0.5), out=Path("rl"))
    page = page_of(with_config(tmp_path / "rl", told, "smoke"))
    assert "Settings that are not those of the preset smoke" in page
    row = f'<th scope="row">learner.lr</th><td>{own.learner.lr}</td><td>0.5</td>'
    assert row in page
    changes = changes_of({"config": to_json(told), "command": ["pushcut", "train", "smoke"]})
    assert changes is not None
    assert changes.rows == [("learner.lr", str(own.learner.lr), "0.5")]
    page = page_of(with_config(tmp_path / "same", own, "smoke"))
    assert "All settings are those of the preset smoke." in page


@pytest.mark.parametrize("words", [(), ("--config", "x.yaml"), ("a-preset-that-has-gone",)])
def test_a_run_whose_preset_is_unknown_is_compared_with_none(tmp_path, words):
    page = page_of(with_config(tmp_path / "rl", PRESETS["smoke"].train, *words))
    assert "of the preset" not in page


def test_a_quickstart_without_a_name_is_compared_with_the_preset_that_it_means():
    own = PRESETS["quickstart"].quickstart
    told = to_json(replace(own, seed=own.seed + 1, out=Path("runs/mine")))
    changes = changes_of({"config": told, "command": ["pushcut", "quickstart", "--seed", "1"]})
    assert changes == Changes("quickstart", [("seed", str(own.seed), str(own.seed + 1))])


def test_settings_that_are_newer_than_a_run_are_no_differences():
    stored = to_json(PRESETS["smoke"].train)
    del stored["env"]["randomisation"], stored["seed"]
    changes = changes_of({"config": stored, "command": ["pushcut", "train", "smoke"]})
    assert changes == Changes("smoke", [])


def test_a_protocol_is_compared_with_what_a_preset_makes_of_it(tmp_path):
    own = FailureModesConfig.of(PRESETS["smoke"])
    folder = with_config(tmp_path / "run", replace(own, seeds=7), "smoke", command="failure-modes")
    (folder / "metrics.jsonl").unlink()
    (folder / "result.json").write_text(json.dumps({"protocol": "failure modes"}))
    row = f'<th scope="row">seeds</th><td>{own.seeds}</td><td>7</td>'
    assert row in page_of(folder)


def test_several_runs_say_each_in_what_they_differ_from_their_presets(tmp_path):
    own = PRESETS["smoke"].train
    other = replace(own, learner=replace(own.learner, lr=0.5))
    runs = tuple(
        with_config(tmp_path / name, config, "smoke") for name, config in (("a", own), ("b", other))
    )
    page = " ".join(run_report(runs, tmp_path / "both.html").read_text().split())
    assert page.count("All settings are those of the preset smoke.") == 1
    assert page.count("Settings that are not those of the preset smoke") == 1
