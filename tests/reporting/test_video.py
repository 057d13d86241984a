from pathlib import Path

import imageio_ffmpeg
import numpy as np
import psutil
import pytest

from pushcut.errors import UserError
from pushcut.reporting.video import write_mp4


def read(path: Path) -> tuple[dict, list[np.ndarray]]:
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    assert isinstance(meta, dict)
    width, height = meta["size"]
    shape = (height, width, 3)
    return meta, [np.frombuffer(bytes(frame), np.uint8).reshape(shape) for frame in reader]


def test_frames_come_back_in_colour_order_size_and_number(tmp_path: Path):
    frames = np.zeros((7, 48, 64, 3), np.uint8)
    frames[:, :24] = (200, 40, 40)  # reddish above, bluish below
    frames[:, 24:] = (40, 40, 200)
    path = write_mp4(tmp_path / "new" / "clip.mp4", frames, fps=10)
    meta, back = read(path)
    assert meta["codec"] == "h264"
    assert meta["pix_fmt"].startswith("yuv420p")
    assert (meta["fps"], len(back)) == (10, 7)
    # H.264 loses some precision: within 12 of 255.
    assert np.abs(back[3][10, 30].astype(int) - (200, 40, 40)).max() < 12
    assert np.abs(back[3][40, 30].astype(int) - (40, 40, 200)).max() < 12


def test_odd_sizes_are_padded_to_even_ones(tmp_path: Path):
    meta, _ = read(write_mp4(tmp_path / "odd.mp4", np.zeros((2, 33, 35, 3), np.uint8), fps=5))
    assert meta["size"] == (36, 34)


def test_the_index_comes_before_the_images_so_that_browsers_start_at_once(tmp_path: Path):
    data = write_mp4(tmp_path / "a.mp4", np.zeros((3, 32, 32, 3), np.uint8), fps=5).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_a_failed_write_keeps_the_old_file_and_leaves_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "false")
    with pytest.raises(UserError, match=r"ffmpeg could not write .*a\.mp4"):
        write_mp4(path, np.zeros((3, 32, 32, 3), np.uint8), fps=5)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_ffmpeg_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="pip install imageio-ffmpeg"):
        write_mp4(tmp_path / "a.mp4", np.zeros((1, 32, 32, 3), np.uint8), fps=5)


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 8, 0, 3), np.uint8)]
)
def test_a_video_without_pixels_is_refused(tmp_path: Path, frames: np.ndarray):
    with pytest.raises(ValueError, match="need uint8 frames"):
        write_mp4(tmp_path / "a.mp4", frames, fps=5)


def test_a_frame_that_cannot_be_encoded_leaves_no_process(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "false")
    before = set(psutil.Process().children())
    with pytest.raises(UserError):
        write_mp4(tmp_path / "a.mp4", np.zeros((99, 96, 96, 3), np.uint8), fps=5)
    assert set(psutil.Process().children()) <= before
