"""Instructions of data sets, without their frames."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pushcut.demos.sentences import sentences_of
from pushcut.errors import UserError
from tests.demos.examples import write_example
from tests.demos.others import HUGGING_FACE, INSTRUCTION, TASK, write_hdf5, write_lerobot


def test_episodes_that_pushcut_collected_name_their_tasks(tmp_path):
    found = sentences_of(write_example(tmp_path / "set"))
    assert found == {"push": ("push the cube",), "open": ("open the drawer",)}


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_sentence_without_a_name_stands_for_it(tmp_path, version):
    path = write_lerobot(tmp_path / "set", HUGGING_FACE, version=version)
    assert sentences_of(path) == {INSTRUCTION: (INSTRUCTION,)}


def test_another_column_names_the_task(tmp_path):
    path = write_lerobot(tmp_path / "set", HUGGING_FACE, version="v3.0")
    rows = {"task_index": [0, 1], "task": ["Open a drawer", "Go"], "task_name": ["drawer", "reach"]}
    pq.write_table(pa.table(rows), path / "meta/tasks.parquet")
    assert sentences_of(path) == {"drawer": ("Open a drawer",), "reach": ("Go",)}


def test_another_key_names_the_task_in_version_2(tmp_path):
    path = write_lerobot(tmp_path / "set", HUGGING_FACE, version="v2.1")
    # A separator of lines in Unicode ends no line of JSON.
    row = {"task_index": 0, "task": "Open\u2028it", "name": "drawer-open-v3"}
    (path / "meta/tasks.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n")
    assert sentences_of(path) == {"drawer-open-v3": ("Open\u2028it",)}


def test_hdf5_files_have_the_sentence_of_their_name(tmp_path):
    write_hdf5(tmp_path / f"{TASK}_demo.hdf5")
    assert sentences_of(tmp_path) == {TASK: (INSTRUCTION,)}


def test_no_data_set_is_one_line(tmp_path):
    with pytest.raises(UserError, match="holds no demonstrations") as caught:
        sentences_of(tmp_path)
    assert "\n" not in str(caught.value)
