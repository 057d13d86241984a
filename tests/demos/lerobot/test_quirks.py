"""Datasets as converters and recorders of others leave them: read by what they hold, or refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pushcut.demos.dataset import DemoDataset
from pushcut.demos.dialects import DataConfig
from pushcut.demos.lerobot.features import names_of
from pushcut.demos.lerobot.files import H264
from pushcut.errors import UserError
from pushcut.policies.told import told_by
from pushcut.system.video import VideoWriter
from tests.demos.others import HUGGING_FACE, write_lerobot

KEY = HUGGING_FACE.agentview
DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
VIDEO = f"videos/chunk-000/{KEY}/episode_000000.mp4"
SEEN = [5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 17, 18, 19, 20]
"""The agentview's grey level in the 8 and 6 frames of the two recordings."""


@pytest.fixture
def three(tmp_path) -> Path:
    return write_lerobot(tmp_path / "three", HUGGING_FACE, version="v3.0")


@pytest.fixture
def two(tmp_path) -> Path:
    return write_lerobot(tmp_path / "two", HUGGING_FACE, version="v2.1")


def change_info(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = root / "meta/info.json"
    info = json.loads(file.read_text())
    change(info)
    file.write_text(json.dumps(info))


def put(file: Path, name: str, values: Any) -> None:
    table = pq.read_table(file)
    kept = [column for column in table.column_names if column != name]
    pq.write_table(table.select(kept).append_column(name, pa.array(values)), file)


def encoded(root: Path) -> list[bytes]:
    return [one["bytes"] for one in pq.read_table(root / DATA)[KEY].to_pylist()]


def seen(root: Path) -> list[int]:
    """The grey level of each frame."""
    frames = DemoDataset.open(root, cameras=["agentview"]).frames
    return np.asarray(frames.images["agentview"])[:, -1, -1, 0].tolist()


def told(root: Path) -> list[str]:
    """What was said besides the dialect."""
    changes = DemoDataset.open(root, cameras=[]).frames.changes
    return [line for line in changes if "taken for" not in line and "gripper" not in line]


@pytest.mark.parametrize("said", ["v2.1", "v2.0", "", None, "3.0"])
def test_version_3_is_told_by_its_folder(three, said):
    change_info(three, lambda info: info.update(codebase_version=said))
    assert seen(three) == SEEN
    assert [("as version 3" in line) for line in told(three)] == ([] if said == "3.0" else [True])


@pytest.mark.parametrize("said", ["v3.0", "3", None])
def test_version_2_is_told_by_its_folder(two, said):
    change_info(two, lambda info: info.update(codebase_version=said))
    assert seen(two) == SEEN
    (line,) = told(two)
    assert "episodes are listed in meta/episodes.jsonl: it is read as version 2" in line


@pytest.mark.parametrize("fps", [0, -10, None, "fast", float("nan"), float("inf")])
def test_a_rate_that_no_recording_has_is_named(three, fps):
    change_info(three, lambda info: info.update(fps=fps))
    with pytest.raises(UserError, match=f"info.json says fps {fps}, frames per second are a"):
        DemoDataset.open(three)


def depth(shape: Any, **entries: Any) -> Callable[[dict[str, Any]], None]:
    feature = {"dtype": "video", "shape": shape, **entries}
    return lambda info: info["features"].update({"observation.images.depth": feature})


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (depth([16, 16, 1]), r"camera 'depth' has one channel \(shape \[16, 16, 1\]\)"),
        (depth([1, 16, 16]), "camera 'depth' has one channel"),
        (depth([16, 16]), "camera 'depth' has one channel"),
        (depth([16, 16, 3], info={"video.is_depth_map": True}), "camera 'depth' is a depth map"),
        (depth([16, 16, 3], info={"is_depth_map": True}), "camera 'depth' is a depth map"),
        (depth([2, 16, 16, 3]), "camera 'depth' has shape"),
        (depth(None), "camera 'depth' has shape None"),
    ],
)
def test_what_is_no_picture_in_colours_is_no_camera(three, feature, message):
    change_info(three, feature)
    assert set(DemoDataset.open(three).frames.images) == {"agentview", "wrist"}
    with pytest.raises(UserError, match=f"{message}.*it has agentview, wrist"):
        DemoDataset.open(three, cameras=["depth"])


def test_a_camera_whose_video_nobody_lists_matters_only_when_it_is_asked_for(three):
    change_info(three, depth([16, 16, 3]))
    assert seen(three) == SEEN
    message = "meta/episodes does not say where the video of observation.images.depth of episode 0"
    with pytest.raises(UserError, match=message):
        DemoDataset.open(three, cameras=["depth"])


def test_images_with_16_bits_are_no_colours(three):
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16), 30_000, np.uint16)).save(buffer, "PNG")
    put(three / DATA, KEY, [{"bytes": buffer.getvalue(), "path": None}] * 14)
    with pytest.raises(UserError, match="more than 8 bits and one channel, as depth has it"):
        seen(three)


@pytest.mark.parametrize(
    "name",
    [
        lambda file, root: str(file.relative_to(root)),
        lambda file, root: {"bytes": None, "path": str(file)},
        lambda file, root: {"bytes": None, "path": f"/home/them/set/images/cam/{file.name}"},
        lambda file, root: {"bytes": None, "path": f"C:\\set\\images\\cam\\{file.name}"},
        lambda file, root: f"../../images/cam/{file.name}",
    ],
)
def test_rows_may_name_the_files_of_their_images(three, name):
    folder = three / "images/cam"
    folder.mkdir(parents=True)
    names = []
    for i, content in enumerate(encoded(three)):
        (folder / f"{i}.png").write_bytes(content)
        names.append(name(folder / f"{i}.png", three))
    put(three / DATA, KEY, names)
    assert seen(three) == SEEN


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"bytes": None, "path": None}, "has a row without an image"),
        ({"bytes": None, "path": "/elsewhere/0.png"}, "names /elsewhere/0.png, which is outside"),
        ({"bytes": None, "path": "images/0.png"}, "images/0.png is missing, which .* names"),
    ],
)
def test_rows_without_an_image_say_why(three, content, message):
    put(three / DATA, KEY, [content] * 14)
    with pytest.raises(UserError, match=message):
        seen(three)


def test_bare_bytes_and_numbers_are_images_too(three):
    contents = encoded(three)
    put(three / DATA, KEY, contents)
    assert seen(three) == SEEN
    pictures = [np.asarray(Image.open(io.BytesIO(content))) for content in contents]
    put(three / DATA, KEY, [picture.tolist() for picture in pictures])
    assert seen(three) == SEEN
    put(three / DATA, KEY, [picture.transpose(2, 0, 1).tolist() for picture in pictures])
    assert seen(three) == SEEN
    put(three / DATA, KEY, [(picture / 255).tolist() for picture in pictures])
    with pytest.raises(UserError, match=r"numbers from 0.0\d+ to 1 \(float64\); .* integers"):
        seen(three)


def test_images_in_the_rows_are_read_whatever_info_calls_them(three):
    change_info(three, lambda info: info["features"][KEY].update(dtype="video"))
    assert seen(three) == SEEN


def test_hidden_files_and_a_byte_order_mark_are_passed_over(three):
    for file in (three / EPISODES, three / DATA):
        file.with_name(f"._{file.name}").write_bytes(b"Mac OS X")
    info = three / "meta/info.json"
    info.write_text("\ufeff" + info.read_text(), encoding="utf-8")
    assert seen(three) == SEEN
    assert told(three) == []


def test_equal_lines_for_an_episode_are_one(two, three):
    file = two / "meta/episodes.jsonl"
    file.write_text(file.read_text() * 2)
    assert seen(two) == SEEN
    table = pq.read_table(three / EPISODES)
    pq.write_table(pa.concat_tables([table, table]), three / EPISODES)
    assert seen(three) == SEEN


def test_a_state_under_another_name_is_said(three):
    name = "observation.state.eef"
    change_info(
        three,
        lambda info: info["features"].update({name: info["features"].pop(HUGGING_FACE.state)}),
    )
    changes = DemoDataset.open(three, cameras=[]).frames.changes
    assert changes == [
        f"no feature is called observation.state: its frames have no state (--data.state {name} "
        "would read one)",
        "nothing tells what its gripper commands mean: taken as 'plus_opens' (--data.gripper "
        "overrules it)",
    ]
    said = DemoDataset.open(three, cameras=[], data=DataConfig(gripper="plus_closes"))
    assert said.frames.changes[1:] == ["gripper commands converted from 'plus_closes'"]


def test_an_instruction_that_changes_in_an_episode_is_kept_frame_by_frame(three):
    tasks = {"task_index": [0, 1], "task": ["open the drawer", "close the drawer"]}
    pq.write_table(pa.table(tasks), three / "meta/tasks.parquet")
    put(three / DATA, "task_index", [0] * 4 + [1] * 10)
    dataset = DemoDataset.open(three, cameras=[])
    texts = dataset.batch(range(14), 1)[0].instruction
    assert texts == ["open the drawer"] * 4 + ["close the drawer"] * 10
    assert told(three) == [
        "episodes 0 change their instruction: each frame keeps its own, and they count for their "
        "first"
    ]
    assert told_by(dataset.told) == {
        "open the drawer": ("open the drawer",),
        "close the drawer": ("close the drawer",),
    }


def test_an_empty_instruction_is_said(two):
    (two / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": " "}\n')
    assert told(two) == ["the instruction of task_index 0 is empty"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"task_index": 0, "task": null}', r"frames have task_index \[0\], its list of tasks has"),
        ('{"task_index": 0, "task": ["a", "b"]}', r"task_index 0 is \['a', 'b'\], not a text"),
        ('{"task_index": 0, "task": 7}', "the instruction of task_index 0 is 7, not a text"),
        ('[{"task_index": 0, "task": "a"}]', "tasks.jsonl has a line that is no JSON object"),
    ],
)
def test_what_is_no_instruction_is_named(two, line, message):
    (two / "meta/tasks.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        DemoDataset.open(two, cameras=[])


def film(file: Path, levels: list[int], fps: int) -> None:
    file.unlink()
    writer = VideoWriter(file, height=16, width=16, fps=fps, h264=H264)
    shape = (len(levels), 16, 16, 3)
    writer.add(np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], shape))
    writer.close()


@pytest.mark.parametrize(
    ("levels", "fps", "wanted", "line"),
    [
        # Eight rows at 10 frames per second; the third frame of 30 per second is that of row 1.
        ([*range(0, 240, 10)], 30, [*range(0, 240, 30)], "30 frames per second, 24 in all"),
        ([*range(0, 80, 10)], 30, [*range(0, 80, 10)], ""),
        ([*range(0, 110, 10)], 10, [*range(0, 80, 10)], "has 11 frames, episode 0 ends after 8"),
    ],
)
def test_rows_see_the_frame_of_their_time(tmp_path, levels, fps, wanted, line):
    out = write_lerobot(tmp_path / "two", HUGGING_FACE, version="v2.1", video=True)
    film(out / VIDEO, levels, fps)
    frames = DemoDataset.open(out, cameras=["agentview"]).frames
    found = np.asarray(frames.images["agentview"])[:8, -1, -1, 0]
    assert np.abs(found.astype(int) - wanted).max() <= 3
    lines = [text for text in frames.changes if "mp4" in text]
    assert [line in text for text in lines] == ([True] if line else [])


def test_fewer_frames_than_rows_at_a_lower_rate_are_not_shared(tmp_path):
    out = write_lerobot(tmp_path / "two", HUGGING_FACE, version="v2.1", video=True)
    film(out / VIDEO, [0, 10, 20, 30], 5)
    message = "5 frames per second, 4 in all, meta/info.json says 10: its 8 rows would share frames"
    with pytest.raises(UserError, match=message):
        seen(out)


def test_a_pattern_of_videos_that_cannot_be_filled_is_named(tmp_path):
    out = write_lerobot(
        tmp_path / "two", HUGGING_FACE, version="v2.1", video=True, video_path="videos/{camera}.mp4"
    )
    with pytest.raises(UserError, match="info.json: video_path .* asks for 'camera'; known are"):
        DemoDataset.open(out)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["x", "y"], ("x", "y")),
        ({"motors": ["x", "y"]}, ("x", "y")),
        ({"motors": {"y": 1, "x": 0}}, ("x", "y")),
        ({"x": 0, "y": 1}, ("x", "y")),
        ([["x", "y"]], ("x", "y")),
        ("state", ()),
        (None, ()),
        ({}, ()),
    ],
)
def test_names_of_numbers_are_found_however_they_are_nested(names, wanted):
    assert names_of({"names": names}) == wanted
