"""Where episodes lie in videos, when the seconds in ``meta/episodes`` are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pushcut.demos.dataset import DemoDataset
from pushcut.demos.lerobot.files import H264
from pushcut.errors import UserError
from pushcut.system.video import VideoWriter
from tests.demos.examples import write_example

EPISODES = "meta/episodes/chunk-000/file-000.parquet"
KEY = "observation.images.front"
VIDEO = f"videos/{KEY}/chunk-000/file-000.mp4"
LEVELS = [*(0, 1, 2), *(10, 11, 12, 13), *(20, 21, 22, 23, 24), *(30, 31)]
"""Grey of each frame: 3, 4, 5 and 2 frames at 10 per second, from 0, 0.3, 0.7 and 1.2 s."""


@pytest.fixture
def out(tmp_path) -> Path:
    return write_example(tmp_path / "set", "video")


def start_at(out: Path, *seconds: float) -> None:
    table, name = pq.read_table(out / EPISODES), f"videos/{KEY}/from_timestamp"
    column = table.schema.get_field_index(name)
    assert table[name].to_pylist() == pytest.approx([0.0, 0.3, 0.7, 1.2])
    pq.write_table(table.set_column(column, name, pa.array(seconds)), out / EPISODES)


def shown(out: Path) -> tuple[list[int], list[str]]:
    frames = DemoDataset.open(out, cameras=["front"]).frames
    grey = np.asarray(frames.images["front"]).mean(axis=(1, 2, 3))
    return np.round(grey).astype(int).tolist(), frames.changes


@pytest.mark.parametrize(
    "seconds",
    [
        (0.0, 0.38, 0.86, 1.44),  # 80 ms more for each episode
        (0.0, 0.22, 0.54, 0.96),  # 80 ms less
        (6.0, 6.3, 6.7, 7.2),  # counted on from the file before
        (0.0, 0.9, 2.1, 3.6),  # counted at another rate
    ],
)
def test_a_file_with_the_frames_of_its_episodes_holds_them_one_after_another(out, seconds):
    start_at(out, *seconds)
    grey, changes = shown(out)
    assert np.abs(np.subtract(grey, LEVELS)).max() <= 1
    (told,) = changes
    off = max(abs(a - b) for a, b in zip(seconds, (0, 0.3, 0.7, 1.2), strict=True))
    assert f"meta/episodes: from_timestamp of {KEY} is wrong by up to {off:.3f} s" in told


def test_rounded_seconds_are_not_worth_a_word(out):
    start_at(out, 0.0, 0.30001, 0.69998, 1.20004)
    grey, changes = shown(out)
    assert np.abs(np.subtract(grey, LEVELS)).max() <= 1
    assert changes == []


def test_episodes_may_lie_in_another_order(out):
    # Episode 2 first: exactly as its seconds say.
    start_at(out, 0.5, 0.8, 0.0, 1.2)
    grey, changes = shown(out)
    wanted = [LEVELS[i] for i in (5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 12, 13)]
    assert np.abs(np.subtract(grey, wanted)).max() <= 1
    assert changes == []


def longer(out: Path) -> None:
    """A file with two frames that no episode has, after the first five."""
    levels = [*LEVELS[:3], 200, 201, *LEVELS[3:]]
    writer = VideoWriter(out / VIDEO, height=16, width=24, fps=10, h264=H264)
    writer.add(
        np.array(levels, np.uint8)[:, None, None, None].repeat(16, 1).repeat(24, 2).repeat(3, 3)
    )
    writer.close()


def test_frames_between_episodes_are_passed_over(out):
    longer(out)
    start_at(out, 0.0, 0.5, 0.9, 1.4)
    grey, changes = shown(out)
    assert np.abs(np.subtract(grey, LEVELS)).max() <= 1
    assert changes == []


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        ((0.0, 0.5, 0.9, 1.6), "episode 3 at 1.6 s, frames 16 to 17 of .*mp4, which has 16 frames"),
        ((0.0, 0.5, 0.8, 1.4), "episode 2 at 0.8 s, frames 8 to 12 of .*mp4, where episode 1 lies"),
        ((0.0, 0.54, 0.9, 1.4), "episode 1 at 0.54 s.*at 10 frames per second no frame begins"),
        ((-0.1, 0.5, 0.9, 1.4), "episode 0 at -0.1 s, frames -1 to 1 of"),
    ],
)
def test_seconds_that_cannot_be_are_named(out, seconds, message):
    longer(out)
    start_at(out, *seconds)
    with pytest.raises(UserError, match=f"meta/episodes: from_timestamp of {KEY} puts {message}"):
        shown(out)


def test_seconds_that_tell_no_order_are_named(out):
    start_at(out, 0.0, 0.0, 0.0, 0.0)
    with pytest.raises(UserError, match=f"from_timestamp of {KEY} puts episode 1 at 0 s"):
        shown(out)


def test_fewer_frames_than_rows_are_counted_on_both_sides(tmp_path):
    out = write_example(tmp_path / "set", "video", video_file_mb=0.0)  # a file for each episode
    file = out / f"videos/{KEY}/chunk-000/file-002.mp4"
    writer = VideoWriter(file, height=16, width=24, fps=10, h264=H264)
    writer.add(np.zeros((4, 16, 24, 3), np.uint8))
    writer.close()
    message = "file-002.mp4 has 4 frames, .*meta/episodes says that episode 2 has 5"
    with pytest.raises(UserError, match=message):
        DemoDataset.open(out)
