"""States and actions whose numbers lie in several columns, as in the conversion of CALVIN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pushcut.demos.dataset import DemoDataset
from pushcut.demos.dialects import DataConfig
from pushcut.errors import UserError

STATE = ("state.ee_pos", "state.ee_rot", "state.gripper")
ACTION = ("action.delta_ee_pos", "action.delta_ee_rot", "action.gripper")
SIZES: dict[str, int] = dict(zip(STATE + ACTION, (3, 3, 1) * 2, strict=True))
FRAMES = 4


def column(key: str) -> list[Any]:
    """Number i of a column's row t is 10 t + i; of a gripper, a number alone, it is ±1."""
    if key == "action.gripper":
        return [1.0, -1.0, 1.0, -1.0]
    rows = [[10.0 * t + i for i in range(SIZES[key])] for t in range(FRAMES)]
    return [row[0] for row in rows] if SIZES[key] == 1 else rows


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    """A dataset of one episode, without a column for the whole state or action."""
    (tmp_path / "meta/episodes/chunk-000").mkdir(parents=True)
    (tmp_path / "data/chunk-000").mkdir(parents=True)
    features: dict[str, Any] = {
        key: {"dtype": "float32", "shape": [size], "names": [f"{key}_{i}" for i in range(size)]}
        for key, size in SIZES.items()
    }
    features["video.image_base"] = {"dtype": "image", "shape": [8, 8, 3]}
    features["index"] = {"dtype": "int64", "shape": [1]}
    info = {
        "codebase_version": "v3.0",
        "fps": 30,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "features": features,
    }
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    pq.write_table(
        pa.table({"task_index": [0], "task": ["open it"]}), tmp_path / "meta/tasks.parquet"
    )
    episode = {"episode_index": 0, "length": FRAMES, "data/chunk_index": 0, "data/file_index": 0}
    pq.write_table(
        pa.Table.from_pylist([episode]), tmp_path / "meta/episodes/chunk-000/file-000.parquet"
    )
    whose = {"episode_index": [0] * FRAMES, "frame_index": range(FRAMES), "task_index": [0] * 4}
    columns = {key: column(key) for key in SIZES} | whose
    pq.write_table(pa.table(columns), tmp_path / "data/chunk-000/file-000.parquet")
    return tmp_path


def test_columns_are_joined_in_the_order_that_is_asked_for(apart):
    data = DataConfig(state=STATE, action=ACTION)
    dataset = DemoDataset.open(apart, cameras=[], data=data)
    assert (dataset.info.state_size, dataset.info.action_size) == (7, 7)
    assert dataset.info.state_names[2:4] == ("state.ee_pos_2", "state.ee_rot_0")
    observation, action, _ = dataset.batch([2], horizon=2)
    assert observation.state.tolist() == [[20, 21, 22, 20, 21, 22, 20]]
    assert action[0].tolist() == [[20, 21, 22, 20, 21, 22, 1], [30, 31, 32, 30, 31, 32, -1]]
    swapped = DataConfig(state=("state.gripper", "state.ee_pos"), action=ACTION)
    other = DemoDataset.open(apart, cameras=[], data=swapped)
    assert other.batch([1], 1)[0].state.tolist() == [[10, 10, 11, 12]]


def test_what_the_frames_have_is_said_where_nothing_is_asked_for(apart):
    with pytest.raises(UserError, match="no feature 'action'; .*--data.action joins those"):
        DemoDataset.open(apart, cameras=[])
    changes = DemoDataset.open(apart, cameras=[], data=DataConfig(action=ACTION)).frames.changes
    assert changes[0] == (
        "no feature is called observation.state: its frames have no state (--data.state "
        "state.ee_pos state.ee_rot state.gripper would read one)"
    )


@pytest.mark.parametrize("name", ["state.ee", "video.image_base", "index"])
def test_a_column_that_is_no_row_of_numbers_is_one_line_that_lists_them(apart, name):
    data = DataConfig(state=("state.ee_pos", name), action=ACTION)
    with pytest.raises(UserError) as told:
        DemoDataset.open(apart, cameras=[], data=data)
    assert str(told.value) == (
        f"--data.state state.ee_pos {name}: {apart} has no row of numbers {name!r}; it has "
        "state.ee_pos (3), state.ee_rot (3), state.gripper (1), action.delta_ee_pos (3), "
        "action.delta_ee_rot (3), action.gripper (1)"
    )


def test_numbers_that_are_missing_name_the_columns(apart):
    file = apart / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    broken = pa.array([0.0, np.nan, 0.0, 0.0])
    place = table.column_names.index("state.gripper")
    pq.write_table(table.set_column(place, "state.gripper", broken), file)
    with pytest.raises(UserError, match="state.ee_pos state.gripper holds missing .* frame 1 of"):
        DemoDataset.open(
            apart,
            cameras=[],
            data=DataConfig(state=("state.ee_pos", "state.gripper"), action=ACTION),
        )


def test_names_are_taken_once_and_apart():
    with pytest.raises(ValueError, match="spaces between them: a b c"):
        DataConfig(state=("a,b,c",))
    with pytest.raises(ValueError, match="names one row of numbers twice: a b a"):
        DataConfig(action=("a", "b", "a"))
