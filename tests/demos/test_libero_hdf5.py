"""LIBERO's own files: conventions, order, pairing, and files that are broken."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from pushcut.demos import libero_hdf5
from pushcut.demos.dataset import DemoDataset
from pushcut.demos.dialects import DataConfig
from pushcut.demos.libero_hdf5 import task_of
from pushcut.envs.libero.tasks import SUITES
from pushcut.errors import UserError
from tests.demos.others import INSTRUCTION, RECORDINGS, SIDE, TASK, Recording, write_hdf5


@pytest.fixture
def file(tmp_path) -> Path:
    return write_hdf5(tmp_path / f"{TASK}_demo.hdf5")


def assert_recordings(dataset: DemoDataset) -> None:
    """The frames are what the environment would have given."""
    frames = dataset.frames
    np.testing.assert_array_equal(frames.action, np.concatenate([r.action for r in RECORDINGS]))
    np.testing.assert_array_equal(frames.state, np.concatenate([r.state for r in RECORDINGS]))
    for camera, images in frames.images.items():
        wanted = np.concatenate([recording.images(camera) for recording in RECORDINGS])
        np.testing.assert_array_equal(images, wanted)


def test_a_file_is_read_in_the_environments_conventions(file):
    dataset = DemoDataset.open(file)
    assert_recordings(dataset)
    assert sorted(dataset.frames.images) == ["agentview", "wrist"]
    assert [(e.length, e.instruction, e.task_name) for e in dataset.episodes] == [
        (8, INSTRUCTION, TASK),
        (6, INSTRUCTION, TASK),
    ]
    assert dataset.frames.changes == [
        "camera 'agentview': turned by 180 degrees",
        "camera 'wrist': turned by 180 degrees",
        "gripper commands converted from 'plus_closes'",
    ]


def test_observations_recorded_after_their_actions_go_to_the_actions_after_them(tmp_path):
    # LIBERO's issue 54: row t holds action t and what was seen after it.
    dataset = DemoDataset.open(write_hdf5(tmp_path / f"{TASK}_demo.hdf5", late=True))
    assert_recordings(dataset)
    assert "2 of 2 episodes: each observation is paired" in dataset.frames.changes[-1]


def test_without_states_the_rows_are_taken_as_they_are(file):
    with h5py.File(file, "a") as content:
        for number in (0, 1):
            del content[f"data/demo_{number}/states"]
    assert_recordings(DemoDataset.open(file))


def test_images_in_the_order_of_opencv_are_only_mirrored(file):
    with h5py.File(file, "a") as content:
        content["data"].attrs["macros_image_convention"] = "opencv"
        for place in ("demo_0/obs", "demo_1/obs"):
            for name, images in content.require_group(f"data/{place}").items():
                if name.endswith("_rgb"):
                    images[...] = images[()][:, ::-1]
    assert_recordings(DemoDataset.open(file))


def test_the_user_may_know_better(file):
    upright = DemoDataset.open(file, data=DataConfig(flip="rows", gripper="plus_opens"))
    wanted = RECORDINGS[0].images("agentview")[0][:, ::-1]
    np.testing.assert_array_equal(upright.frames.images["agentview"][0], wanted)
    np.testing.assert_array_equal(upright.frames.action[:8, 6], -RECORDINGS[0].command)


def test_other_states_are_refused(file):
    with pytest.raises(UserError, match="the state of LIBERO's HDF5 is ee_states gripper_states"):
        DemoDataset.open(file, data=DataConfig(state=("joint_states",)))


def test_a_folder_is_a_suite_and_scenes_are_no_part_of_instructions(tmp_path):
    write_hdf5(tmp_path / f"{TASK}_demo.hdf5")
    write_hdf5(tmp_path / "KITCHEN_SCENE10_close_the_drawer_demo.hdf5", [Recording(3)])
    dataset = DemoDataset.open(tmp_path, cameras=["wrist"])
    assert dataset.tasks == ("close the drawer", INSTRUCTION)
    assert [episode.task_name for episode in dataset.episodes] == [
        "KITCHEN_SCENE10_close_the_drawer",
        TASK,
        TASK,
    ]
    assert dataset.batch([0, 8], 1)[0].state[:, 0].tolist() == [3, 0]


def test_file_names_of_the_benchmark_give_its_instructions():
    files = {name: f"{name}_demo.hdf5" for tasks in SUITES.values() for name in tasks}
    assert len(files) == 130
    assert {task_of(Path(file)) for file in files.values()} == {
        (name, instruction) for tasks in SUITES.values() for name, instruction in tasks.items()
    }


def test_the_file_name_goes_before_the_text_inside(tmp_path):
    problem = json.dumps({"language_instruction": "Pick the milk"})
    file = write_hdf5(tmp_path / f"{TASK}_demo.hdf5", problem_info=problem)
    assert DemoDataset.open(file, cameras=[]).tasks == (INSTRUCTION,)


@pytest.mark.parametrize("text", ["wipe the table", ["wipe ", "the table"], '"wipe the table"'])
def test_other_file_names_take_the_instruction_from_inside(tmp_path, text):
    problem = json.dumps({"language_instruction": text})
    dataset = DemoDataset.open(write_hdf5(tmp_path / "mine.hdf5", problem_info=problem))
    assert dataset.tasks == ("wipe the table",)
    assert dataset.episodes[0].task_name is None


def test_demonstrations_come_in_the_order_of_their_numbers(tmp_path):
    file = write_hdf5(tmp_path / f"{TASK}_demo.hdf5", [Recording(n, 2) for n in (0, 2, 10)])
    dataset = DemoDataset.open(file, cameras=[])
    assert dataset.frames.state[::2, 0].tolist() == [0, 2, 10]


def test_images_are_shrunk_to_the_policys_size(file):
    small = DemoDataset.open(file, image_size=4)
    images = small.frames.images["agentview"]
    assert images.shape == (14, 4, 4, 3)
    # The white corner is 4 of 16 pixels wide: one of 4; the rest is grey 5 at t = 0.
    assert images[0, :, :, 0].tolist() == [[255, 5, 5, 5], [5] * 4, [5] * 4, [5] * 4]
    assert small.frames.changes[1] == "camera 'agentview': 16 resized to 4 pixels"


def _break_images(demo: h5py.Group) -> None:
    del demo["obs/agentview_rgb"]
    del demo["obs/eye_in_hand_rgb"]


def _break_wrist(demo: h5py.Group) -> None:
    del demo["obs/eye_in_hand_rgb"]


def _break_actions(demo: h5py.Group) -> None:
    del demo["actions"]
    demo["actions"] = np.zeros((8, 4))


def _break_length(demo: h5py.Group) -> None:
    del demo["obs/gripper_states"]
    demo["obs/gripper_states"] = np.zeros((7, 2))


def _break_numbers(demo: h5py.Group) -> None:
    actions = demo["actions"]
    assert isinstance(actions, h5py.Dataset)
    actions[3, 2] = np.nan


def _break_state(demo: h5py.Group) -> None:
    del demo["obs/ee_states"]


def test_a_demonstration_without_frames_is_left_out_and_told(file):
    with h5py.File(file, "a") as content:
        demo = content["data/demo_0"]
        assert isinstance(demo, h5py.Group)
        del demo["actions"]
        demo["actions"] = np.zeros((0, 7))
    dataset = DemoDataset.open(file)
    assert [(e.index, e.length) for e in dataset.episodes] == [(0, 6)]
    assert f"{file.name}: demo_0 has no frames, is left out" in dataset.frames.changes
    images = dataset.frames.images["wrist"]
    np.testing.assert_array_equal(images, RECORDINGS[1].images("wrist"))


def test_every_array_of_pictures_is_a_camera(file):
    with h5py.File(file, "a") as content:
        demos = content["data"]
        assert isinstance(demos, h5py.Group)
        for demo in demos.values():
            demo["obs/sideview_image"] = np.asarray(demo["obs/agentview_rgb"]) // 2
    dataset = DemoDataset.open(file, ["side"], data=DataConfig(cameras=("sideview_image=side",)))
    wanted = np.concatenate([recording.images("agentview") // 2 for recording in RECORDINGS])
    np.testing.assert_array_equal(dataset.frames.images["side"], wanted)


def test_only_chosen_files_give_images(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        write_hdf5(tmp_path / f"{name}_demo.hdf5")
    read = []
    real = libero_hdf5._images_of
    monkeypatch.setattr(
        libero_hdf5,
        "_images_of",
        lambda demo, key, rows, edit: (
            read.append((demo.file.name, demo.group, len(rows))) or real(demo, key, rows, edit)
        ),
    )
    dataset = DemoDataset.open(tmp_path, ["wrist"], tasks=["b", "c"], episodes_per_task=1)
    assert read == [("b_demo.hdf5", "demo_0", 8), ("c_demo.hdf5", "demo_0", 8)]
    assert [(e.index, e.task, e.start) for e in dataset.episodes] == [(2, "b", 0), (4, "c", 8)]


def _break_all_actions(demo: h5py.Group) -> None:
    del demo["actions"]


def _break_name(demo: h5py.Group) -> None:
    demo.file.move("data/demo_0", "data/trial_0")
    demo.file.move("data/demo_1", "data/trial_1")


@pytest.mark.parametrize(
    ("breaking", "message"),
    [
        (_break_images, r"no images \(obs/agentview_rgb.*create_dataset.py --use-camera-obs"),
        (_break_wrist, "has no camera 'wrist'; it has agentview"),
        (_break_actions, r"data/demo_0/actions has shape \(8, 4\), not \(8, 7\)"),
        (_break_length, r"demo_0/obs/gripper_states has shape \(7, 2\), not \(8, 2\)"),
        (_break_numbers, "demo_0/actions holds missing or infinite numbers"),
        (_break_state, "demo_0 has no obs/ee_states"),
        (_break_all_actions, "_demo.hdf5: data/demo_0 has no actions"),
        (_break_name, "holds no demonstrations: its group 'data' has no demo_0"),
    ],
)
def test_a_broken_file_is_one_line_that_names_the_trouble(file, breaking, message):
    with h5py.File(file, "a") as content:
        breaking(content.require_group("data/demo_0"))
    with pytest.raises(UserError, match=message) as caught:
        DemoDataset.open(file, cameras=["agentview", "wrist"])
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("keep", [0, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_one_line_that_names_it(file, keep):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UserError, match=f"{file} is corrupted, truncated"):
        DemoDataset.open(file)


def test_a_text_that_is_no_json_inside_is_one_line(tmp_path):
    file = write_hdf5(tmp_path / "mine.hdf5", problem_info="{broken")
    with pytest.raises(UserError, match="mine.hdf5 is corrupted, truncated or not of"):
        DemoDataset.open(file)


def test_a_file_without_instruction_says_how_to_name_it(tmp_path):
    with pytest.raises(UserError, match="says no instruction: name it TASK_demo.hdf5"):
        DemoDataset.open(write_hdf5(tmp_path / "mine.hdf5"))


def test_images_that_are_no_bytes_are_refused(tmp_path):
    file = write_hdf5(tmp_path / "a_demo.hdf5")
    with h5py.File(file, "a") as content:
        del content["data/demo_1/obs/agentview_rgb"]
        content["data/demo_1/obs/agentview_rgb"] = np.full((6, SIDE, SIDE, 3), 0.5, np.float32)
    message = "a_demo.hdf5: data/demo_1/obs/agentview_rgb holds float32, images are uint8"
    with pytest.raises(UserError, match=message):
        DemoDataset.open(file)


def test_files_of_different_images_are_told(tmp_path):
    write_hdf5(tmp_path / "a_demo.hdf5")
    write_hdf5(tmp_path / "b_demo.hdf5", macros_image_convention="opencv")
    with pytest.raises(UserError, match="put them into two folders"):
        DemoDataset.open(tmp_path)
    DemoDataset.open(tmp_path, data=DataConfig(flip="none"))
    with h5py.File(tmp_path / "b_demo.hdf5", "a") as content:
        del content["data/demo_1/obs/agentview_rgb"]
        content["data/demo_1/obs/agentview_rgb"] = np.zeros((6, SIDE, 2 * SIDE, 3), np.uint8)
    with pytest.raises(UserError, match=r"b_demo.hdf5: data/demo_1/obs/agentview_rgb has shape"):
        DemoDataset.open(tmp_path, data=DataConfig(flip="none"))


def test_without_h5py_the_extra_is_named(file, monkeypatch):
    original = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name == "h5py":
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r'pip install "pushcut\[libero\]"'):
        DemoDataset.open(file)
