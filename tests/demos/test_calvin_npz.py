"""CALVIN's own recordings: what an episode is, what is read of a step, and broken folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pushcut.demos import loading
from pushcut.demos.dataset import DemoDataset
from pushcut.demos.dialects import DataConfig
from pushcut.demos.pictures import Pictures
from pushcut.demos.sentences import sentences_of
from pushcut.envs.calvin.env import CalvinConfig
from pushcut.errors import UserError
from tests.demos.calvin import TOLD, step_of, told_in, write_calvin

STEPS = [3, 4, 5, 6, 5, 6, 7, 8, 9, 20, 21, 22]
"""The steps of the frames."""


@pytest.fixture
def training(tmp_path) -> Path:
    return write_calvin(tmp_path / "task_D_D/training")


def test_a_stretch_with_a_sentence_is_an_episode(training):
    dataset = DemoDataset.open(training)
    assert [(e.length, e.instruction, e.task_name, e.seed) for e in dataset.episodes] == [
        (4, "pull the handle to open the drawer", "open_drawer", None),
        (5, "press the button", "turn_on_led", None),
        (3, "open the drawer", "open_drawer", None),
    ]
    frames = dataset.frames
    np.testing.assert_array_equal(frames.state, [[100 * n + i for i in range(7)] for n in STEPS])
    wanted = np.stack([step_of(n)["rel_actions"] for n in STEPS]).astype(np.float32)
    np.testing.assert_array_equal(frames.action, wanted)
    assert sorted(frames.images) == ["gripper", "static"]
    assert frames.images["static"].shape == (12, 10, 10, 3)
    assert np.asarray(frames.images["static"])[:, 9, 0, 2].tolist() == STEPS
    assert np.asarray(frames.images["gripper"])[:, 0, 7, 0].tolist() == [2 * n for n in STEPS]
    assert frames.changes == []


def test_it_has_what_the_environment_has(training):
    info, spec = DemoDataset.open(training, cameras=[]).info, CalvinConfig().spec
    assert (info.fps, info.state_size, info.action_size) == (30, spec.state_size, spec.action_size)
    assert (info.state_names, info.action_names) == (spec.state_names, spec.action_names)
    assert set(info.cameras) == set(spec.cameras)
    assert set(info.not_cameras) == {"rgb_tactile", "depth_static"}


@pytest.mark.parametrize("kind", ["hand", "all", "objects"])
def test_each_state_of_the_environment_can_be_had(training, kind):
    keys = {"hand": ("hand",), "all": ("robot_obs",), "objects": ("hand", "scene_obs")}[kind]
    info = DemoDataset.open(training, cameras=[], data=DataConfig(state=keys)).info
    assert info.state_names == CalvinConfig(state=kind).spec.state_names


def test_other_numbers_are_joined_or_refused(training):
    asked = DataConfig(state=("scene_obs", "hand"))
    state = DemoDataset.open(training, cameras=[], data=asked).frames.state
    assert state[0].tolist() == [-300 - i for i in range(24)] + [300 + i for i in range(7)]
    with pytest.raises(UserError, match=r"no row of numbers 'joints'; it has hand \(7\), actions"):
        DemoDataset.open(training, cameras=[], data=DataConfig(state=("joints",)))


def test_tasks_are_chosen_by_the_benchmarks_names_and_other_steps_may_be_missing(training):
    for number in (7, 8, 9, 12):
        (training / f"episode_{number:07d}.npz").unlink()
    dataset = DemoDataset.open(training, tasks=["open_drawer"], image_size=5)
    assert dataset.frames.images["static"][:, 0, 0, 0].tolist() == [3, 4, 5, 6, 20, 21, 22]
    with pytest.raises(UserError) as told:
        DemoDataset.open(training)
    assert str(told.value) == (
        f"{training}/episode_0000007.npz is missing, in steps 5 to 9 of 'turn_on_led', as are 3 of "
        "12 steps in all: complete the folder, or choose other episodes with --tasks or "
        "--episodes-per-task"
    )


def test_images_beyond_the_budget_are_decoded_when_they_are_drawn(training, monkeypatch):
    monkeypatch.setattr(loading, "memory_bytes", lambda: (10**9, 10**9))
    size = 10 * 10 * 3 + 8 * 8 * 3
    small = DemoDataset.open(training, data=DataConfig(memory_gb=2 * size / 1e9))
    static = small.frames.images["static"]
    assert isinstance(static, Pictures)
    assert static[[11, 0, 4]][:, 0, 0, 0].tolist() == [22, 3, 5]
    assert static.held_bytes <= 2 * size


def test_sentences_are_those_of_each_sub_task(training):
    assert sentences_of(training) == {
        "open_drawer": ("pull the handle to open the drawer", "open the drawer"),
        "turn_on_led": ("press the button",),
    }


def test_a_stretch_across_two_recordings_is_left_out_and_said(tmp_path):
    folder = write_calvin(tmp_path / "training", [*TOLD, (11, 21, "do it", "close_drawer")])
    dataset = DemoDataset.open(folder, cameras=[])
    assert len(dataset.episodes) == 3
    assert dataset.frames.changes == [
        "1 of 4 stretches with a sentence lie in no recording of ep_start_end_ids.npy and are "
        "left out"
    ]
    (folder / "ep_start_end_ids.npy").unlink()  # nothing else is known then
    (folder / "episode_0000013.npz").write_bytes(b"")
    with pytest.raises(UserError, match="episode_0000014.npz is missing"):
        DemoDataset.open(folder, cameras=[])


def test_another_folder_of_sentences_is_found(training):
    (training / "lang_annotations").rename(training / "lang_paraphrase-MiniLM-L3-v2")
    assert len(DemoDataset.open(training, cameras=[]).episodes) == 3


def test_the_folder_above_names_the_one_to_take(training):
    with pytest.raises(UserError, match=f"did you mean {training}?"):
        DemoDataset.open(training.parent)


def _without_sentences(folder: Path) -> None:
    (folder / "lang_annotations/auto_lang_ann.npy").unlink()


def _say(folder: Path, content: Any) -> None:
    np.save(folder / "lang_annotations/auto_lang_ann.npy", content)


def _change(folder: Path, **arrays: Any) -> None:
    arrays = step_of(5) | arrays
    np.savez(folder / "episode_0000005.npz", **arrays)


def _shorten(folder: Path) -> None:
    file = folder / "episode_0000005.npz"
    file.write_bytes(file.read_bytes()[:300])


@pytest.mark.parametrize(
    ("breaking", "message"),
    [
        (_without_sentences, "has no lang_annotations/auto_lang_ann.npy, which says what is done"),
        (lambda f: _say(f, told_in([])), "auto_lang_ann.npy has no sentences"),
        (lambda f: _say(f, {"language": {}}), "auto_lang_ann.npy has no 'info', which its layout"),
        (lambda f: _say(f, told_in([(6, 5, "a", "b")])), "a stretch has steps 6 to 5"),
        (lambda f: _say(f, told_in([(40, 45, "a", "b")])), "no stretch .* lies in what ep_st"),
        (lambda f: _say(f, np.zeros(3)), "auto_lang_ann.npy is corrupted, truncated or not of"),
        (_shorten, "episode_0000005.npz is corrupted, truncated"),
        (lambda f: (f / "episode_0000005.npz").write_bytes(b""), "0000005.npz is corrupted"),
        (lambda f: np.savez(f / "episode_0000005.npz", a=np.ones(1)), "no robot_obs; it has a$"),
        (lambda f: _change(f, robot_obs=np.ones(7)), r"robot_obs has shape \(7,\), not \(15,\)"),
        (lambda f: _change(f, rel_actions=np.full(7, np.nan)), "rel_actions holds missing or inf"),
        (
            lambda f: _change(f, rgb_static=np.zeros((9, 9, 3), np.uint8)),
            r"rgb_static has shape \(9, 9, 3\), not \(10, 10, 3\)",
        ),
        (
            lambda f: _change(f, rgb_static=np.zeros((10, 10, 3))),
            "rgb_static holds float64, images are uint8",
        ),
    ],
)
def test_a_broken_folder_is_one_line(training, breaking, message):
    breaking(training)
    with pytest.raises(UserError, match=message) as told:
        DemoDataset.open(training)
    assert "\n" not in str(told.value)
