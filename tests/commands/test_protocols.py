"""The papers' protocols: what is held out, what is compared, and each whole on the point mass."""

import json
from dataclasses import replace

import pytest
import torch

from pushcut.analysis.threshold import in_words
from pushcut.commands import data_scarcity, failure_modes, generalisation, recipe
from pushcut.commands.data_scarcity import DataScarcityConfig, lines_of
from pushcut.commands.failure_modes import FailureModesConfig
from pushcut.commands.generalisation import (
    GeneralisationConfig,
    held_out_groups,
)
from pushcut.commands.protocol import counts_in, gain_in, marks, with_suite
from pushcut.commands.sft_start import first_policy, open_dataset
from pushcut.config import RecipeConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.metaworld.tasks import ML45_TEST, MT10
from pushcut.envs.point_mass import PointMassConfig
from pushcut.errors import UserError
from pushcut.policies.kinds import load
from pushcut.presets import PRESETS
from tests.commands.recipes import small

pytestmark = pytest.mark.heavy

FIT = {"steps": 6, "log_every": 3}
SUITE = PointMassConfig(colours=("red", "blue", "green"))
TASKS = {"reach-red", "reach-blue", "reach-green"}


def parts(smoke, tmp_path) -> dict:
    """Settings of a protocol that takes seconds."""
    config: RecipeConfig = small(smoke, tmp_path / "run")
    return {
        "collect": replace(config.collect, env=SUITE, episodes_per_task=2),
        "sft": replace(config.sft, fit=replace(config.sft.fit, **FIT)),
        "train": replace(config.train, env=SUITE),
        "eval": replace(config.eval, env=SUITE, episodes_per_task=2),
        "out": tmp_path / "run",
    }


@pytest.fixture(scope="module")
def generalised(tmp_path_factory, smoke) -> tuple[GeneralisationConfig, dict]:
    fields = parts(smoke, tmp_path_factory.mktemp("generalisation"))
    config = GeneralisationConfig(
        **fields,
        held_out=("reach-green",),
        points=2,
        further_fit=replace(smoke.sft.fit, **FIT),
    )
    return config, generalisation.STUDY.run(config)


@pytest.fixture(scope="module")
def compared(tmp_path_factory, smoke) -> tuple[DataScarcityConfig, dict]:
    fields = parts(smoke, tmp_path_factory.mktemp("scarcity"))
    config = DataScarcityConfig(**fields, few_fit=replace(smoke.sft.fit, **FIT))
    return config, data_scarcity.STUDY.run(config)


@pytest.fixture(scope="module")
def failed(tmp_path_factory, smoke) -> tuple[FailureModesConfig, dict]:
    fields = parts(smoke, tmp_path_factory.mktemp("failure"))
    config = FailureModesConfig(**fields, demonstrations=(0, 1), seeds=2, seed=3)
    return config, failure_modes.STUDY.run(config)


def test_three_held_out_tasks_are_spaced_evenly_over_the_suite():
    groups = held_out_groups(MetaWorldConfig(tasks=("mt10",)), ())
    # The middles of three thirds of ten tasks: 10/6, 30/6, 50/6.
    assert groups == {MT10[place]: (MT10[place],) for place in (1, 5, 8)}
    # A small suite has fewer splits than three: 2/6, 6/6 and 10/6 of two tasks.
    assert list(held_out_groups(PointMassConfig(), ())) == ["reach-red", "reach-blue"]


def test_a_group_is_held_out_together():
    groups = held_out_groups(MetaWorldConfig(tasks=("mt50",)), ["ml45-test"])
    assert groups == {"ml45-test": ML45_TEST}


@pytest.mark.parametrize(
    ("tasks", "held_out", "message"),
    [
        (("mt10",), "reach-v4", "did you mean reach-v3"),
        (("mt10",), "ml45-test", "not in the suite"),
        (("mt10",), "mt10", "leaves no task"),
        (("reach-v3",), "reach-v3", "leaves no task"),
    ],
)
def test_what_cannot_be_held_out_is_refused(tasks, held_out, message):
    with pytest.raises((UserError, ValueError), match=message):
        held_out_groups(MetaWorldConfig(tasks=tasks), [held_out])


def test_an_environment_without_groups_lists_its_tasks():
    with pytest.raises(UserError, match="no mauve, nor any groups; it has reach-red, reach-blue"):
        held_out_groups(PointMassConfig(), ["mauve"])


def test_marks_end_at_the_end():
    assert marks(20, 4) == (5, [5, 10, 15, 20])
    # Ten in four parts: every third, and what is left over.
    assert marks(10, 4) == (3, [3, 6, 9, 10])
    assert marks(2, 4) == (1, [1, 2])


def test_the_suite_of_a_protocol_is_one(smoke, tmp_path):
    config = DataScarcityConfig.of(PRESETS["metaworld-grpo"])
    named = with_suite(replace(config, tasks=("ml45-test",)))
    for part in (named.collect, named.train, named.eval):
        assert tuple(part.env.spec.tasks) == ML45_TEST
    fields = parts(smoke, tmp_path) | {"eval": smoke.eval}
    with pytest.raises(UserError, match="different tasks"):
        data_scarcity.STUDY.run(DataScarcityConfig(**fields))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("few", [0, 2])
def test_all_demonstrations_are_more_than_the_few(smoke, tmp_path, few):
    fields = parts(smoke, tmp_path)
    with pytest.raises(ValueError, match="demonstration"):
        DataScarcityConfig(**fields, few=few)
    with pytest.raises(ValueError, match="demonstration"):
        GeneralisationConfig(**fields, base_episodes=few)


def test_every_point_counts_seen_and_unseen_tasks_apart(generalised):
    config, result = generalised
    (split,) = result["splits"]
    assert split["unseen"] == ["reach-green"]
    assert [point["steps"] for point in split["sft"]] == [3, 6]
    assert [point["iterations"] for point in split["rl"]] == [1, 2]
    for point in (split["base"], *split["sft"], *split["rl"]):
        assert point["seen"]["episodes"] == 4  # two tasks of two states
        assert point["unseen"]["episodes"] == 2
    for point in (*split["sft"], *split["rl"]):
        for kind in ("seen", "unseen"):
            gained = point[kind]["successes"] - split["base"][kind]["successes"]
            assert point["change"][kind]["difference"] == gained / point[kind]["episodes"]
    whole = json.loads((config.out / "eval" / "reach-green-rl-000002.json").read_text())
    last = split["rl"][-1]
    assert whole["successes"] == last["seen"]["successes"] + last["unseen"]["successes"]
    assert json.loads((config.out / "result.json").read_text())["splits"] == result["splits"]


def test_generalisation_has_a_table_and_a_plot(generalised):
    config, result = generalised
    lines = (config.out / "result.md").read_text().splitlines()
    (split,) = result["splits"]
    last = split["rl"][-1]
    counts, gain = counts_in(last["unseen"]), gain_in(last["change"]["unseen"])
    (row,) = [line for line in lines if "GRPO, 2 iterations" in line]
    assert row.startswith("| reach-green |")
    assert (f"| {counts} |" in row, row.endswith(f"| {gain} |")) == (True, True)
    assert len(lines) == 5 + 5  # the heads, then base, two of SFT and two of RL
    assert (config.out / "result.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_held_out_is_said_before_anything_is_written(generalised, tmp_path):
    config, _ = generalised
    with pytest.raises(UserError, match="no mauve"):
        generalisation.STUDY.run(replace(config, held_out=("mauve",), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_both_ways_start_at_the_base_and_train_on_the_seen_tasks(generalised):
    config, _ = generalised
    out = config.out

    def settings(folder: str) -> dict:
        return json.loads((out / folder / "config.json").read_text())["config"]

    base, sft, rl = settings("base"), settings("reach-green/sft"), settings("reach-green/rl")
    assert (base["episodes_per_task"], set(base["tasks"])) == (1, TASKS)
    assert (sft["episodes_per_task"], set(sft["tasks"])) == (None, TASKS - {"reach-green"})
    assert set(rl["tasks"]) == TASKS - {"reach-green"}
    assert sft["policy"]["path"] == rl["policy"]["path"] == str((out / "base/policy").absolute())


def test_an_unseen_task_may_be_unseen_from_the_start(generalised, tmp_path, monkeypatch):
    config, _ = generalised
    asked = []

    def note(sft, envs):
        asked.append(sft)
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "run_sft", note)
    seen = replace(
        config, base_tasks="seen", dataset=config.out / "demonstrations", out=tmp_path / "run"
    )
    with pytest.raises(KeyboardInterrupt):
        generalisation.STUDY.run(seen)
    assert set(asked[0].tasks) == TASKS - {"reach-green"}
    assert "move the point to the green goal" in asked[0].instructions
    assert asked[0].out == tmp_path / "run" / "reach-green" / "base"


def test_a_finished_protocol_is_only_summarised_again(generalised, monkeypatch):
    config, result = generalised

    def never(*arguments):
        raise AssertionError("a finished phase ran again")

    for name in ("run_collect", "run_sft", "run_eval", "train"):
        monkeypatch.setattr(recipe, name, never)
    assert generalisation.STUDY.run(replace(config, resume=True))["splits"] == result["splits"]
    with pytest.raises(UserError, match="started with --points 2, the command says --points 1"):
        generalisation.STUDY.run(replace(config, resume=True, points=1))


def test_both_columns_differ_in_their_demonstrations_only(compared):
    config, result = compared
    few, everything = result["columns"]["few"], result["columns"]["all"]
    assert (few["demonstrations"], everything["demonstrations"]) == (3, 6)
    for column in (few, everything):
        for key in ("sft", "sft_rl"):
            assert column[key]["episodes"] == 6
            assert set(column[key]["per_task"]) == TASKS
    rl = [
        json.loads((config.out / name / "rl" / "config.json").read_text())["config"]
        for name in ("few", "all")
    ]
    for settings in rl:
        del settings["policy"], settings["out"]
    assert rl[0] == rl[1]


def test_the_table_shows_counts_intervals_and_gains(compared):
    config, result = compared
    # Wilson's interval of one in four is 4.6 to 69.9 %.
    counts = {"successes": 1, "episodes": 4, "interval": (0.046, 0.699)}
    counts |= {"per_task": {"a": counts}}
    better = counts | {"successes": 3, "interval": (0.301, 0.954)}
    gain = {"difference": 0.5, "interval": [-0.11, 0.8]}
    columns = {
        "few": {"demonstrations": 1, "sft": counts, "sft_rl": better, "gain": gain},
        "all": {"demonstrations": 9, "sft": better, "sft_rl": better, "gain": gain},
    }
    facts = {"mode": "greedy", "algorithm": "GRPO"}
    clean = {"columns": columns, "trained_on_evaluation_states": False} | facts
    lines = list(lines_of(clean))
    overlap = "RL: trained on the evaluation's initial states."
    assert overlap in list(lines_of(clean | {"trained_on_evaluation_states": True}))
    assert overlap not in lines
    assert "| SFT | 25.0 % (1/4; 5 to 70) | 75.0 % (3/4; 30 to 95) |" in lines
    assert "| gain | +50.0 points (-11 to +80) | +50.0 points (-11 to +80) |" in lines
    assert "| a | 1/4 | 1/4 | 1/4 | 1/4 |" in lines
    assert (config.out / "result.md").read_text() == "\n".join(lines_of(result)) + "\n"


def test_failure_modes_train_each_number_of_demonstrations_with_each_seed(failed):
    config, result = failed
    kinds = [(one["demonstrations_per_task"], one["seed"]) for one in result["columns"]]
    assert kinds == [(0, 3), (0, 4), (1, 3), (1, 4)]
    assert [one["demonstrations"] for one in result["columns"]] == [0, 0, 3, 3]
    for one in result["columns"]:
        assert set(one["gain"]["per_task"]) == set(one["sft"]["per_task"]) == TASKS
        gained = one["sft_rl"]["successes"] - one["sft"]["successes"]
        assert one["gain"]["difference"] == gained / 6
    assert result["threshold"]["points"] == 12  # three tasks of four columns
    folders = [f"demonstrations-{count}/seed-{seed}/rl" for count, seed in kinds]
    rl = [json.loads((config.out / f / "config.json").read_text())["config"] for f in folders]
    assert [settings.pop("seed") for settings in rl] == [3, 4, 3, 4]
    for settings in rl:
        del settings["policy"], settings["out"]
    assert all(settings == rl[0] for settings in rl)


def test_no_demonstrations_leave_the_policy_as_it_begins(failed):
    config, _ = failed
    weights = [
        load(config.out / f"demonstrations-0/seed-{seed}/untrained/policy").state_dict()
        for seed in (3, 4)
    ]
    # What SFT of the same seed would begin with.
    sft = replace(config.sft, dataset=(config.out / "demonstrations",), seed=3)
    fresh = first_policy(sft, open_dataset(sft)).state_dict()
    assert all(torch.equal(tensor, weights[0][name]) for name, tensor in fresh.items())
    assert any(not torch.equal(tensor, weights[1][name]) for name, tensor in fresh.items())


def test_failure_modes_have_a_table_a_plot_and_go_on(failed, monkeypatch):
    config, result = failed
    table = (config.out / "result.md").read_text()
    counts = result["columns"][2]["sft"]["per_task"]["reach-red"]
    assert f"| 1 | 3 | reach-red | {100 * counts['successes'] / 2:.1f} %" in table
    assert in_words(result["threshold"]) in table
    assert (config.out / "result.png").read_bytes().startswith(b"\x89PNG")
    for name in ("run_collect", "run_sft", "run_eval", "train"):
        monkeypatch.setattr(recipe, name, None)
    again = failure_modes.STUDY.run(replace(config, resume=True))
    assert (again["columns"], again["threshold"]) == (result["columns"], result["threshold"])


def test_demonstrations_rise_and_there_are_enough(failed, smoke, tmp_path):
    config, _ = failed
    for counts, message in (((), "rise"), ((1, 0), "rise"), ((0, 3), "episodes_per_task is 2")):
        with pytest.raises(ValueError, match=message):
            replace(config, demonstrations=counts)
    few = replace(
        config,
        dataset=config.out / "demonstrations",
        demonstrations=(0, 3),
        out=tmp_path / "run",
    )
    with pytest.raises(UserError, match="2 demonstrations of reach-red, --demonstrations asks"):
        failure_modes.STUDY.run(few)


def test_a_preset_has_none_a_tenth_and_all_of_its_demonstrations():
    config = FailureModesConfig.of(PRESETS["metaworld-grpo"])
    many = PRESETS["metaworld-grpo"].collect.episodes_per_task
    assert config.demonstrations == (0, max(1, many // 10), many)
