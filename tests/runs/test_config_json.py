import json
from dataclasses import replace

import pytest

from pushcut.errors import UserError
from pushcut.presets import PRESETS
from pushcut.runs.config_json import check_stored_config, to_json

TRAIN = PRESETS["smoke"].train


def test_a_field_that_is_newer_than_a_run_had_its_default_there(tmp_path):
    stored = to_json(TRAIN)
    del stored["overlap"]  # a plain field
    del stored["learner"]["decay_iterations"]  # one of a group
    del stored["critic"]  # a group
    (tmp_path / "config.json").write_text(json.dumps({"config": stored}))
    check_stored_config(tmp_path, TRAIN, may_change=())
    for changed in (
        replace(TRAIN, overlap=True),
        replace(TRAIN, learner=replace(TRAIN.learner, decay_iterations=5)),
        replace(TRAIN, critic=replace(TRAIN.critic, lr=1.0)),
    ):
        with pytest.raises(UserError, match="the run was started with"):
            check_stored_config(tmp_path, changed, may_change=())


def test_another_kind_of_algorithm_is_another_config(tmp_path):
    other = PRESETS["metaworld-ppo"].train.algorithm
    (tmp_path / "config.json").write_text(json.dumps({"config": to_json(TRAIN)}))
    with pytest.raises(UserError, match="the run was started with"):
        check_stored_config(tmp_path, replace(TRAIN, algorithm=other), may_change=())
