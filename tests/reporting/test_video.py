from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.codec.codec import UnknownCodecError

from pushcut.errors import UserError
from pushcut.reporting.video import write_mp4
from pushcut.system.video import read_video


def facts(path: Path) -> dict:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        return {
            "codec": stream.codec_context.name,
            "pixels": stream.pix_fmt,
            "rate": stream.average_rate,
            "size": (stream.width, stream.height),
        }


def test_frames_come_back_in_colour_order_size_and_number(tmp_path: Path):
    frames = np.zeros((7, 48, 64, 3), np.uint8)
    frames[:, :24] = (200, 40, 40)  # reddish above, bluish below
    frames[:, 24:] = (40, 40, 200)
    path = write_mp4(tmp_path / "new" / "clip.mp4", frames, fps=10)
    assert facts(path) == {"codec": "h264", "pixels": "yuv420p", "rate": 10, "size": (64, 48)}
    back = list(read_video(path))
    assert len(back) == 7
    # H.264 loses some precision: within 12 of 255.
    assert np.abs(back[3][10, 30].astype(int) - (200, 40, 40)).max() < 12
    assert np.abs(back[3][40, 30].astype(int) - (40, 40, 200)).max() < 12


def test_odd_sizes_are_padded_to_even_ones(tmp_path: Path):
    path = write_mp4(tmp_path / "odd.mp4", np.zeros((2, 33, 35, 3), np.uint8), fps=5)
    assert facts(path)["size"] == (36, 34)


def test_the_index_comes_before_the_images_so_that_browsers_start_at_once(tmp_path: Path):
    data = write_mp4(tmp_path / "a.mp4", np.zeros((3, 32, 32, 3), np.uint8), fps=5).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("frames", [3, 300])
def test_a_full_disk_keeps_the_old_file_and_leaves_no_rest(tmp_path: Path, frames: int):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    (tmp_path / ".a.mp4.tmp").symlink_to("/dev/full")  # every write there fails
    noise = np.random.default_rng(0).integers(0, 256, (frames, 32, 32, 3), np.uint8)
    with pytest.raises(UserError, match=r"ffmpeg could not write .*a\.mp4"):
        write_mp4(path, noise, fps=5)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_build_without_the_encoder_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def add_stream(*_, **__):
        raise UnknownCodecError("libx264")

    real = av.open

    def without_encoder(*arguments, **options):
        file = real(*arguments, **options)
        return SimpleNamespace(add_stream=add_stream, close=file.close)

    monkeypatch.setattr(av, "open", without_encoder)
    with pytest.raises(UserError, match="pip install --force-reinstall --only-binary av av"):
        write_mp4(tmp_path / "a.mp4", np.zeros((1, 32, 32, 3), np.uint8), fps=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 8, 0, 3), np.uint8)]
)
def test_a_video_without_pixels_is_refused(tmp_path: Path, frames: np.ndarray):
    with pytest.raises(ValueError, match="need uint8 frames"):
        write_mp4(tmp_path / "a.mp4", frames, fps=5)
