"""Which runs are behind a checkpoint, read from their folders."""

import json
from pathlib import Path

import pytest

from pushcut.errors import UserError
from pushcut.evaluation.leakage import runs_behind, saw_evaluation_states


def make_run(path: Path, **config) -> Path:
    """A run folder with one checkpoint, whose policy it returns."""
    policy = path / "checkpoints" / "000010" / "policy"
    policy.mkdir(parents=True)
    description = {"type": "tiny", "config": {"width": 8}, "shape": {"action_size": 4}}
    (policy / "config.json").write_text(json.dumps(description))
    (path / "config.json").write_text(json.dumps({"config": config}))
    return policy


@pytest.mark.parametrize("part", [".", "checkpoints/000010", "checkpoints/000010/policy"])
def test_a_run_is_found_from_its_folder_its_checkpoint_and_its_policy(tmp_path, part):
    make_run(tmp_path / "run", train_init="benchmark")
    assert saw_evaluation_states(tmp_path / "run" / part)


def test_a_run_on_other_states_is_clean(tmp_path):
    assert not saw_evaluation_states(make_run(tmp_path / "run", train_init="sampled"))


def test_the_overlap_is_inherited_by_runs_that_go_on_from_a_checkpoint(tmp_path):
    first = make_run(tmp_path / "first", train_init="benchmark")
    second = make_run(tmp_path / "second", train_init="sampled", policy={"path": str(first)})
    tuned = make_run(tmp_path / "tuned", policy={"type": "TinyConfig"}, init=str(second))
    assert saw_evaluation_states(tuned)
    assert len(list(runs_behind(tuned))) == 3


def test_a_checkpoint_without_run_has_no_past(tmp_path):
    policy = make_run(tmp_path / "run", train_init="benchmark")
    (tmp_path / "run" / "config.json").unlink()
    assert list(runs_behind(policy)) == []


def test_runs_that_name_each_other_end(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    make_run(one, policy={"path": str(other)})
    make_run(other, policy={"path": str(one)})
    assert len(list(runs_behind(one))) == 2


def test_a_damaged_config_is_named(tmp_path):
    policy = make_run(tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"run/config.json is damaged"):
        saw_evaluation_states(policy)
