"""Cameras of others under the environment's names, and MetaWorld's datasets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pushcut.demos.dataset import DemoDataset
from pushcut.demos.dialects import DataConfig
from pushcut.errors import UserError
from tests.demos.examples import write_example
from tests.demos.others import HUGGING_FACE, RECORDINGS, TASK, _png, write_hdf5, write_lerobot


def named(*pairs: str) -> DataConfig:
    return DataConfig(cameras=pairs)


@pytest.mark.parametrize("theirs", ["front", "observation.images.front"])
def test_a_camera_gets_the_name_that_the_user_gives(tmp_path, theirs):
    out = write_example(tmp_path / "set")
    dataset = DemoDataset.open(out, ["top"], data=named(f"{theirs}=top"))
    assert dataset.frames.images["top"][:, 0, 0, 0].tolist()[:5] == [0, 1, 2, 10, 11]
    assert list(dataset.info.cameras) == ["top", "wrist"]


def test_two_cameras_may_change_their_names(tmp_path):
    out = write_example(tmp_path / "set")
    dataset = DemoDataset.open(out, data=named("front=wrist", "wrist=front"))
    shapes = {name: images.shape for name, images in dataset.frames.images.items()}
    assert shapes == {"wrist": (14, 16, 24, 3), "front": (14, 8, 8, 3)}


def test_names_go_before_those_that_are_usual(tmp_path):
    out = write_lerobot(tmp_path / "set", HUGGING_FACE, version="v3.0")
    dataset = DemoDataset.open(out, ["left"], data=named("image2=left"))
    np.testing.assert_array_equal(dataset.frames.images["left"][:8], RECORDINGS[0].images("wrist"))
    assert dataset.frames.changes[0].startswith(
        "taken for LIBERO in LeRobot's layout: camera 'image' is 'agentview', gripper told"
    )


def test_cameras_of_hdf5_files_get_names_too(tmp_path):
    file = write_hdf5(tmp_path / f"{TASK}_demo.hdf5")
    dataset = DemoDataset.open(file, ["hand"], data=named("eye_in_hand_rgb=hand"))
    np.testing.assert_array_equal(dataset.frames.images["hand"][:8], RECORDINGS[0].images("wrist"))
    with pytest.raises(UserError, match="has cameras agentview_rgb, eye_in_hand_rgb"):
        DemoDataset.open(file, data=named("frontview_rgb=agentview"))


@pytest.mark.parametrize(
    ("pairs", "cameras", "message"),
    [
        (["side=top"], None, "--data.cameras side=top: .* has cameras front, wrist$"),
        (["front=front"], None, "--data.cameras front=front has no effect: that is its name"),
        (["front=wrist"], None, "cameras front and wrist would both be 'wrist': give one of them"),
        (["front=top"], ["wrist"], "front=top has no effect: the policy sees wrist"),
        ([], ["top"], r"no camera 'top'; it has front, wrist \(--data.cameras front=top would"),
    ],
)
def test_names_that_do_nothing_are_refused(tmp_path, pairs, cameras, message):
    out = write_example(tmp_path / "set")
    with pytest.raises(UserError, match=message):
        DemoDataset.open(out, cameras, data=named(*pairs))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["front"], "cameras must be THEIRS=OURS, for example image=top, got 'front'"),
        (["=top"], "cameras must be THEIRS=OURS"),
        (["front="], "cameras must be THEIRS=OURS"),
        (["a=b", "a=c"], "cameras names one camera twice: a=b a=c"),
    ],
)
def test_names_that_are_no_pairs_are_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        named(*pairs)


OPENING = [1.0, 1.0, 1.0, 0.8, 0.6, 0.4]
"""The gripper closes after the third command."""
CLOSES = [-1.0, -1.0, 1.0, 1.0, 1.0, 1.0]


def write_metaworld(
    out: Path,
    commands: list[float],
    opening: list[float] = OPENING,
    *,
    camera: str = "observation.image",
    around: bool = True,
    side: int = 48,
) -> Path:
    """In the layout of lerobot/metaworld_mt50: one episode of six frames at 80 per second."""
    (out / "meta/episodes/chunk-000").mkdir(parents=True)
    (out / "data/chunk-000").mkdir(parents=True)
    features = {
        camera: {
            "dtype": "image",
            "shape": [side, side, 3],
            "names": ["height", "width", "channel"],
        },
        "observation.state": {"dtype": "float32", "shape": [4], "names": None},
        "action": {"dtype": "float32", "shape": [4], "names": None},
    }
    if around:
        features["observation.environment_state"] = {"dtype": "float32", "shape": [39]}
    info = {
        "codebase_version": "v3.0",
        "total_episodes": 1,
        "total_frames": 6,
        "fps": 80,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features,
    }
    (out / "meta/info.json").write_text(json.dumps(info))
    tasks = {"task_index": [0], "__index_level_0__": ["Pick up a nut and place it onto a peg"]}
    pq.write_table(pa.table(tasks), out / "meta/tasks.parquet")
    place = {"data/chunk_index": [0], "data/file_index": [0]}
    listed = pa.table({"episode_index": [0], "length": [6], **place})
    pq.write_table(listed, out / "meta/episodes/chunk-000/file-000.parquet")
    state = [[0.0, 0.6, 0.2, now] for now in opening]
    action = [[0.1, 0.2, 0.3, float(command)] for command in commands]
    pictures = [
        {"bytes": _png(np.full((side, side, 3), t, np.uint8)), "path": ""} for t in range(6)
    ]
    columns = {
        camera: pictures,
        "observation.state": state,
        "action": action,
        "frame_index": range(6),
        "episode_index": [0] * 6,
        "task_index": [0] * 6,
    }
    pq.write_table(pa.table(columns), out / "data/chunk-000/file-000.parquet")
    return out


@pytest.mark.parametrize("around", [True, False])
def test_metaworld_is_read_in_the_environments_conventions(tmp_path, around):
    out = write_metaworld(tmp_path / "set", CLOSES, around=around)
    dataset = DemoDataset.open(out, ["corner2"], image_size=16)
    assert dataset.frames.images["corner2"][:, 3, 3, 1].tolist() == [0, 1, 2, 3, 4, 5]
    assert dataset.frames.action[:, 3].tolist() == [1, 1, -1, -1, -1, -1]
    assert dataset.frames.action[0, :3].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert dataset.frames.state[-1].tolist() == pytest.approx([0.0, 0.6, 0.2, 0.4])
    assert dataset.tasks == ("Pick up a nut and place it onto a peg",)
    assert dataset.frames.changes == [
        "camera 'corner2': 48 resized to 16 pixels",
        "taken for MetaWorld in LeRobot's layout: camera 'image' is 'corner2', gripper "
        "'plus_closes' (--data.cameras and --data.gripper overrule it)",
        "gripper commands converted from 'plus_closes'",
    ]


def test_a_gripper_that_moves_against_its_commands_names_the_flag(tmp_path):
    out = write_metaworld(tmp_path / "set", [-c for c in CLOSES])
    with pytest.raises(UserError, match="against its commands.*--data.gripper plus_opens"):
        DemoDataset.open(out)
    asked = DemoDataset.open(out, data=DataConfig(gripper="plus_opens"))
    assert asked.frames.action[:, 3].tolist() == [1, 1, -1, -1, -1, -1]
    assert len(asked.frames.changes) == 1


def test_one_command_in_all_frames_is_metaworlds(tmp_path):
    out = write_metaworld(tmp_path / "set", [1.0] * 6, [0.4] * 6)
    assert DemoDataset.open(out).frames.action[:, 3].tolist() == [-1] * 6


def test_metaworld_under_the_environments_own_camera(tmp_path):
    # With the simulator's 39 numbers beside the state it is not pushcut's.
    theirs = write_metaworld(tmp_path / "a", CLOSES, camera="observation.images.corner2")
    assert DemoDataset.open(theirs).frames.action[:, 3].tolist() == [1, 1, -1, -1, -1, -1]
    # Without them it may be; then the gripper must open at +1.
    key = "observation.images.corner2"
    ours = write_metaworld(tmp_path / "b", [-c for c in CLOSES], camera=key, around=False)
    assert DemoDataset.open(ours).frames.action[:, 3].tolist() == [1, 1, -1, -1, -1, -1]
    assert DemoDataset.open(ours).frames.changes == []
    wrong = write_metaworld(tmp_path / "c", CLOSES, camera=key, around=False)
    with pytest.raises(UserError, match="against its commands.*--data.gripper plus_closes"):
        DemoDataset.open(wrong)


def test_what_is_usual_may_be_said(tmp_path):
    out = write_metaworld(tmp_path / "set", CLOSES)
    told = DataConfig(cameras=("image=corner2",), gripper="plus_closes")
    frames = DemoDataset.open(out, ["corner2"], data=told).frames
    assert frames.action[:, 3].tolist() == [1, 1, -1, -1, -1, -1]
    assert "corner2" not in frames.changes[0]


def test_another_camera_of_metaworld_can_be_named(tmp_path):
    out = write_metaworld(tmp_path / "set", CLOSES)
    dataset = DemoDataset.open(out, ["topview"], data=named("image=topview"))
    assert list(dataset.frames.images) == ["topview"]
