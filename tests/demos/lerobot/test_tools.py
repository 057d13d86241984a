"""Datasets after the tools that annotate, merge, cut and rewrite them: their frames are true."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pushcut.demos.dataset import DemoDataset
from pushcut.errors import UserError
from tests.demos.examples import write_example
from tests.demos.others import HUGGING_FACE, INSTRUCTION, RECORDINGS, write_lerobot

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
TASKS = "meta/tasks.parquet"
TIMES = [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 1]
"""Second number of the state in each frame of ``write_example``."""


@pytest.fixture
def example(tmp_path) -> Path:
    """Episodes of 3, 4, 5 and 2 frames; the image of frame t of episode e is 10 e + t."""
    return write_example(tmp_path / "set")


@pytest.fixture
def two(tmp_path) -> Path:
    """Version 2.1: episodes of 8 and 6 frames."""
    return write_lerobot(tmp_path / "two", HUGGING_FACE, version="v2.1")


def change(file: Path, edit: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(edit(pq.read_table(file)), file)


def put(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    """Replaces or appends a column."""

    def edit(table: pa.Table) -> pa.Table:
        kept = [column for column in table.column_names if column != name]
        return table.select(kept).append_column(name, pa.array(values))

    return edit


def change_info(root: Path, **entries: object) -> None:
    file = root / "meta/info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def assert_example(dataset: DemoDataset) -> None:
    assert [(e.index, e.length) for e in dataset.episodes] == [(0, 3), (1, 4), (2, 5), (3, 2)]
    assert dataset.frames.state[:, 1].tolist() == TIMES
    assert dataset.frames.images["front"][:, 0, 0, 0].tolist() == [
        *(0, 1, 2, 10, 11, 12, 13),
        *(20, 21, 22, 23, 24, 30, 31),
    ]


def pandas(index: list[Any], **columns: list[Any]) -> pa.Table:
    """A table as pandas writes it, with the metadata that tells its index."""
    told = {"index_columns": index, "column_indexes": [], "columns": []}
    return pa.table(columns, metadata={"pandas": json.dumps(told)})


PUSH, OPEN = "push the cube", "open the drawer"
RANGE = {"kind": "range", "name": None, "start": 0, "stop": 2, "step": 1}


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"task_index": [0, 1], "task": [PUSH, OPEN], "category": ["a", "b"]}),
        pa.table({"category": ["a", "b"], "task": [PUSH, OPEN], "task_index": [0.0, 1.0]}),
        pa.table({"task_index": [0, 1], "__index_level_0__": [PUSH, OPEN], "count": [2, 2]}),
        pa.table({"task_index": [0, 1], "kind": ["a", "b"], "__index_level_0__": [PUSH, OPEN]}),
        pa.table({"task_index": [1, 0, None], "sentence": [OPEN, PUSH, None]}),
        pandas(["words"], task_index=[0, 1], category=["a", "b"], words=[PUSH, OPEN]),
        pandas(["task_index"], task=[PUSH, OPEN], task_index=[0, 1]),
        pandas(["__index_level_0__"], task=[OPEN, PUSH], __index_level_0__=[1, 0]),
        pandas([RANGE], task=[PUSH, OPEN], category=["a", "b"]),
    ],
)
def test_tables_of_tasks_are_read_as_tools_leave_them(example, table):
    pq.write_table(table, example / TASKS)
    assert DemoDataset.open(example, cameras=[]).tasks == (PUSH, OPEN)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            pa.table({"task_index": [0, 1], "a": ["x", "y"], "b": ["x", "y"]}),
            r"tasks.parquet has no column 'task', and \['a', 'b'\] of its columns .* hold texts",
        ),
        (pa.table({"task_index": [0, 1]}), "no column 'task', and none of its columns"),
        (
            pa.table({"task_index": [0, 0], "task": [PUSH, OPEN]}),
            "says both 'push the cube' and 'open the drawer' for task_index 0",
        ),
    ],
)
def test_a_table_that_does_not_tell_the_tasks_says_why(example, table, message):
    pq.write_table(table, example / TASKS)
    with pytest.raises(UserError, match=message):
        DemoDataset.open(example, cameras=[])


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_lines_end_at_line_feeds_only(two, separator):
    text = f"pick up{separator}the milk"
    row = {"task_index": 0.0, "task": text, "added_by": "a tool"}
    content = json.dumps(row, ensure_ascii=False) + "\r\n\n"
    (two / "meta/tasks.jsonl").write_text(content, encoding="utf-8-sig")
    rows = [
        {"episode_index": float(r.number), "length": r.length, "tasks": [text], "quality": 3}
        for r in RECORDINGS
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (two / "meta/episodes.jsonl").write_text("\n".join(lines), encoding="utf-8")
    dataset = DemoDataset.open(two, cameras=[])
    assert [(e.index, e.length, e.instruction) for e in dataset.episodes] == [
        (0, 8, text),
        (1, 6, text),
    ]


def test_the_list_of_tasks_of_the_other_version_is_read(two, example):
    (example / TASKS).unlink()
    rows = [{"task_index": 0, "task": PUSH}, {"task_index": 1, "task": OPEN}]
    (example / "meta/tasks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert DemoDataset.open(example, cameras=[]).tasks == (PUSH, OPEN)


@pytest.mark.parametrize(
    "place", ["data/chunk-000/file-003.parquet", "data/part.parquet", "data/a/b/c.parquet"]
)
def test_all_of_data_is_read_whatever_its_files_are_called(example, place):
    (example / place).parent.mkdir(parents=True, exist_ok=True)
    (example / DATA).rename(example / place)
    change_info(example, data_path="data/{shard}.parquet")
    assert_example(DemoDataset.open(example))


def test_rows_in_another_file_than_the_list_says_are_found(example):
    table = pq.read_table(example / DATA)
    pq.write_table(table.slice(0, 5), example / DATA)  # in the middle of episode 1
    pq.write_table(table.slice(5), example / "data/chunk-000/file-007.parquet")
    assert_example(DemoDataset.open(example))


def test_gaps_in_the_numbers_of_episodes_are_kept(two):
    (two / "data/chunk-001").rename(two / "data/chunk-009")
    file = two / "data/chunk-009/episode_000001.parquet"
    change(file, put("episode_index", [9] * 6))
    listed = [{"episode_index": 0, "length": 8}, {"episode_index": 9, "length": 6}]
    (two / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, listed)))
    dataset = DemoDataset.open(two, cameras=["wrist"])
    assert [(e.index, e.length, e.instruction) for e in dataset.episodes] == [
        (0, 8, INSTRUCTION),
        (9, 6, INSTRUCTION),
    ]
    np.testing.assert_array_equal(dataset.frames.images["wrist"][8:], RECORDINGS[1].images("wrist"))


def test_indices_may_be_floats_and_lists_of_one(example):
    for name in ("episode_index", "frame_index", "task_index"):
        values = pq.read_table(example / DATA)[name].to_pylist()
        new = [[v] for v in values] if name == "task_index" else [float(v) for v in values]
        change(example / DATA, put(name, new))
    change(example / EPISODES, put("episode_index", [0.0, 1.0, 2.0, 3.0]))
    change(example / EPISODES, put("length", [3.0, 4.0, 5.0, 2.0]))
    dataset = DemoDataset.open(example)
    assert_example(dataset)
    assert dataset.tasks == (PUSH, OPEN)


@pytest.mark.parametrize("bad", [0.5, float("nan"), "x"])
def test_indices_that_are_no_integers_name_their_column(example, bad):
    change(example / DATA, put("frame_index", [bad] * 14))
    with pytest.raises(UserError, match="frame_index should be one integer in each row"):
        DemoDataset.open(example)


def test_frames_are_numbered_by_their_order_where_nothing_says_so(example):
    change(example / DATA, lambda table: table.drop_columns(["frame_index"]))
    assert_example(DemoDataset.open(example))


def test_frames_that_were_cut_from_the_beginning_keep_their_order(example):
    index = pq.read_table(example / DATA)["frame_index"].to_pylist()
    change(example / DATA, put("frame_index", [2 * i + 7 for i in index]))
    assert_example(DemoDataset.open(example))


def test_further_columns_are_passed_over(example):
    change(example / DATA, put("quality", [{"by": "a tool"}] * 14))
    change(example / EPISODES, put("quality", [[1.0, 2.0]] * 4))
    change(example / EPISODES, put("tasks", ["text"] * 4))
    assert_example(DemoDataset.open(example))


def test_episodes_without_frames_are_left_out_and_told(example):
    row = pq.read_table(example / EPISODES).slice(0, 1)
    empty = put("length", [0])(put("episode_index", [4])(row))
    table = pq.read_table(example / EPISODES)
    pq.write_table(pa.concat_tables([table, empty.select(table.column_names)]), example / EPISODES)
    dataset = DemoDataset.open(example)
    assert_example(dataset)
    assert "episodes 4 have no frames and are left out" in dataset.frames.changes
    assert [e.index for e in dataset.take(2).episodes] == [0, 1, 2, 3]


def test_totals_that_nobody_updated_are_told(example):
    change_info(example, total_episodes=5, total_frames=99)
    dataset = DemoDataset.open(example)
    assert_example(dataset)
    assert dataset.frames.changes == [
        "meta/info.json says 5 episodes, there are 4",
        "meta/info.json says 99 frames, there are 14",
    ]


def test_an_episode_that_is_not_listed_is_read_and_told(example, two):
    change(example / EPISODES, lambda table: table.slice(0, 3))
    dataset = DemoDataset.open(example)
    assert_example(dataset)
    assert dataset.frames.changes == ["episodes 3 are read too, meta/episodes does not list them"]
    file = two / "meta/episodes.jsonl"
    file.write_text(file.read_text().splitlines()[0])
    dataset = DemoDataset.open(two, cameras=["agentview"])
    assert [(e.index, e.length) for e in dataset.episodes] == [(0, 8), (1, 6)]


def test_the_place_of_a_video_cannot_be_guessed(tmp_path):
    out = write_example(tmp_path / "set", "video")
    change(out / EPISODES, lambda table: table.slice(0, 3))
    with pytest.raises(UserError, match="data holds frames of episode 3, meta/episodes does not"):
        DemoDataset.open(out)


def test_a_copy_of_a_data_file_is_passed_over_where_the_list_names_the_other(example):
    (example / "data/backup").mkdir()
    table = pq.read_table(example / DATA)
    pq.write_table(table, example / "data/backup/file-000.parquet")
    assert_example(DemoDataset.open(example))
    change(example / EPISODES, put("data/file_index", [5] * 4))
    with pytest.raises(UserError, match="frame 0 of episode 0 is there twice, in .*backup.* and"):
        DemoDataset.open(example)


def test_an_episode_that_is_listed_twice_is_refused(example):
    change(example / EPISODES, put("episode_index", [0, 1, 2, 2]))
    with pytest.raises(UserError, match="meta/episodes lists episode 2 more than once"):
        DemoDataset.open(example)


def test_images_may_lie_beside_the_data_files(example):
    rows = pq.read_table(example / DATA)["observation.images.front"].to_pylist()
    (example / "images").mkdir()
    for number, row in enumerate(rows):
        row["path"] = f"images/{number}.png"
        (example / row["path"]).write_bytes(row["bytes"])
        row["bytes"] = None
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    change(example / DATA, put("observation.images.front", pa.array(rows, kind)))
    assert_example(DemoDataset.open(example))
    (example / "images/3.png").unlink()
    with pytest.raises(UserError, match="images/3.png is missing, which .*file-000.parquet names"):
        DemoDataset.open(example)


def _feature(root: Path, key: str, **entries: object) -> None:
    features = json.loads((root / "meta/info.json").read_text())["features"]
    features[key] = features[key] | entries
    change_info(root, features=features)


@pytest.mark.parametrize(
    ("breaking", "message"),
    [
        (
            lambda root: _feature(root, "action", shape=[3]),
            "action holds 2 numbers in each row, meta/info.json says 3",
        ),
        (
            lambda root: _feature(root, "action", shape=[2, 1]),
            r"meta/info.json: action has shape \[2, 1\], a row of numbers has one",
        ),
        (
            lambda root: _feature(root, "observation.images.front", shape=[16, 16, 3]),
            "observation.images.front holds an image of 16x24 pixels, meta/info.json says 16x16",
        ),
        (
            lambda root: change(root / DATA, lambda t: t.drop_columns(["action"])),
            "file-000.parquet has no column 'action', as meta/info.json says",
        ),
        (
            lambda root: change(root / EPISODES, lambda t: t.drop_columns(["length"])),
            "file-000.parquet has no 'length', which its layout asks for",
        ),
        (lambda root: change_info(root, features={}), "has no feature 'action'"),
    ],
)
def test_facts_that_disagree_are_both_named(example, breaking, message):
    breaking(example)
    with pytest.raises(UserError, match=message) as caught:
        DemoDataset.open(example)
    assert "corrupted" not in str(caught.value)
