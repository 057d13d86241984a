"""Episodes are chosen before anything is decoded, and memory for images has a limit."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pushcut.demos import loading
from pushcut.demos.dataset import DemoDataset
from pushcut.demos.dialects import DataConfig
from pushcut.demos.lerobot import reader
from pushcut.demos.lerobot.writer import DatasetWriter
from pushcut.demos.pictures import Pictures
from pushcut.errors import UserError
from pushcut.system import progress, video
from tests.demos.examples import SPEC, demonstration, write_example
from tests.demos.others import PHYSICAL_INTELLIGENCE, TASK, write_hdf5, write_lerobot

FRONT, WRIST = 16 * 24 * 3, 8 * 8 * 3
"""Bytes of an image of each camera of ``write_example``."""


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """Grows by the level of each image that is decoded."""
    seen: list[int] = []
    real = reader._ImageDecoder._image

    def counting(self, path, content):
        image = real(self, path, content)
        seen.append(int(image[0, 0, 0]))
        return image

    monkeypatch.setattr(reader._ImageDecoder, "_image", counting)
    return seen


def test_only_chosen_episodes_are_decoded(tmp_path, decoded):
    out = write_example(tmp_path / "set")
    dataset = DemoDataset.open(out, cameras=["front"], episodes_per_task=1)
    assert sorted(decoded) == [0, 1, 2, 10, 11, 12, 13]
    assert dataset.frames.images["front"].shape == (7, 16, 24, 3)
    decoded.clear()
    dataset = DemoDataset.open(out, cameras=["front"], tasks=["open"], episodes_per_task=2)
    assert sorted(decoded) == [10, 11, 12, 13, 30, 31]
    assert [(e.index, e.start, e.length) for e in dataset.episodes] == [(1, 0, 4), (3, 4, 2)]
    assert dataset.statistics()["state"].count == 6


def test_only_chosen_episodes_of_version_2_are_decoded(tmp_path, decoded):
    out = write_lerobot(tmp_path / "set", PHYSICAL_INTELLIGENCE, version="v2.0")
    dataset = DemoDataset.open(out, ["agentview", "wrist"], episodes_per_task=1)
    assert (len(dataset), len(decoded)) == (8, 16)
    assert dataset.frames.images["wrist"].shape == (8, 16, 16, 3)


def test_only_chosen_episodes_of_a_video_are_decoded(tmp_path, monkeypatch):
    out = write_example(tmp_path / "set", "video")
    numbers: list[int] = []
    real = video.VideoIndex.frames

    def counting(self, wanted):
        for number, image in real(self, wanted):
            numbers.append(number)
            yield number, image

    monkeypatch.setattr(video.VideoIndex, "frames", counting)
    DemoDataset.open(out, cameras=["front"], tasks=["open"])
    assert numbers == [3, 4, 5, 6, 12, 13]


def test_other_episodes_may_be_missing(tmp_path):
    out = write_lerobot(tmp_path / "set", PHYSICAL_INTELLIGENCE, version="v2.0")
    (out / "data/chunk-001/episode_000001.parquet").unlink()
    with pytest.raises(UserError, match="episode_000001.parquet is missing"):
        DemoDataset.open(out)
    assert len(DemoDataset.open(out, episodes_per_task=1)) == 8


def budget(size: int) -> DataConfig:
    return DataConfig(memory_gb=(size + 1) / 1e9)


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "image": write_example,
    "video": lambda out: write_example(out, "video"),
    "hdf5": lambda out: write_hdf5(out / f"{TASK}_demo.hdf5", late=True),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_beyond_the_budget_are_the_same_when_they_are_drawn(tmp_path, layout):
    out = LAYOUTS[layout](tmp_path / "set")
    whole = DemoDataset.open(out)
    some = DemoDataset.open(out, data=budget(3 * (FRONT + WRIST)))
    (told,) = set(some.frames.changes) - set(whole.frames.changes)
    assert "GiB (--data.memory-gb): they are decoded when they are drawn" in told
    draws = np.random.default_rng(0)
    for _ in range(5):
        rows = draws.integers(14, size=6)
        seen, action, valid = whole.batch(rows, 2)
        also_seen, same_action, same_valid = some.batch(rows, 2)
        np.testing.assert_array_equal(action, same_action)
        np.testing.assert_array_equal(valid, same_valid)
        for name, images in seen.images.items():
            np.testing.assert_array_equal(images, also_seen.images[name])
    assert all(isinstance(images, Pictures) for images in some.frames.images.values())


def test_a_draw_decodes_what_it_needs_once_and_keeps_what_fits(tmp_path, decoded):
    # A budget of 3 frames of both cameras: 3 images of each are kept.
    out = write_example(tmp_path / "set")
    dataset = DemoDataset.open(out, data=budget(3 * (FRONT + WRIST)))
    front = dataset.frames.images["front"]
    assert isinstance(front, Pictures)
    assert decoded == []
    assert front[[5, 0, 5, 0]][:, 0, 0, 0].tolist() == [12, 0, 12, 0]
    assert sorted(decoded) == [0, 12]
    assert front.held_bytes == 2 * FRONT
    assert front[np.array([0, 1])][:, 0, 0, 0].tolist() == [0, 1]
    assert sorted(decoded) == [0, 1, 12]
    assert front[2:5, 0, 0, 0].tolist() == [2, 10, 11]  # drives out all others
    assert front.held_bytes == 3 * FRONT
    assert front[0].shape == (16, 24, 3)
    assert sorted(decoded) == [0, 0, 1, 2, 10, 11, 12]
    assert np.asarray(front).shape == (14, 16, 24, 3)
    assert front.held_bytes == 3 * FRONT


def test_memory_stays_within_the_budget(tmp_path):
    """300 frames of 192 kB: 58 MB; the budget is 2 MB, a batch 8 images."""
    spec = SPEC.__class__(**{**SPEC.__dict__, "cameras": {"front": (256, 256)}})
    with DatasetWriter(tmp_path / "set", spec) as writer:
        for seed in range(6):
            one = demonstration("push", seed, 50)
            grey = one.observation.images["wrist"][:, :1, :1]
            one.observation.images.clear()
            one.observation.images["front"] = grey.repeat(256, 1).repeat(256, 2)
            writer.add(one)
    dataset = DemoDataset.open(tmp_path / "set", data=DataConfig(memory_gb=2e-3))
    draws = np.random.default_rng(0)
    tracemalloc.start()
    for _ in range(20):
        dataset.batch(draws.integers(300, size=8), 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    front = dataset.frames.images["front"]
    assert isinstance(front, Pictures)
    assert front.held_bytes == 10 * 256 * 256 * 3  # 1.97 MB
    # The budget, the batch twice (decoded, copied) and up to 64 images on their way.
    assert peak < 2e6 + (2 * 8 + 64) * 256 * 256 * 3


def test_a_single_frame_beyond_the_budget_is_refused(tmp_path):
    out = write_example(tmp_path / "set")
    with pytest.raises(UserError, match=r"a single frame has .* GiB of images, the budget is"):
        DemoDataset.open(out, data=budget(FRONT))


def test_half_of_the_available_memory_is_the_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "memory_bytes", lambda: (10**12, 26 * (FRONT + WRIST)))
    some = DemoDataset.open(write_example(tmp_path / "set"))  # 14 frames, room for 13
    assert isinstance(some.frames.images["front"], Pictures)
    monkeypatch.setattr(loading, "memory_bytes", lambda: (10**12, 28 * (FRONT + WRIST)))
    assert isinstance(DemoDataset.open(tmp_path / "set").frames.images["front"], np.ndarray)


def test_reading_says_how_far_it_is_without_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    DemoDataset.open(write_example(tmp_path / "set"), cameras=["front"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("reading numbers: 1/1")
    assert lines[1].startswith("reading images: 1/14")
    assert lines[-1].startswith("reading images: 14/14")


def test_settings_of_the_memory_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="memory_gb must be >= 0, got -1.0"):
        DataConfig(memory_gb=-1.0)


def test_runs_of_an_older_release_have_no_budget():
    assert DataConfig(**json.loads('{"flip": null, "gripper": null}')) == DataConfig()
