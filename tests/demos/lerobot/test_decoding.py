"""Frames of videos are those that the ffmpeg program 9.0 gave: training data must not change."""

import hashlib
import platform
from pathlib import Path

import av
import numpy as np
import pytest

from pushcut.demos.images import ImageEdit
from pushcut.demos.lerobot.video import read_frames
from pushcut.errors import UserError
from pushcut.system.video import VideoWriter, read_video

VIDEOS = Path(__file__).parent / "videos"
"""Twelve frames of ffmpeg's testsrc2, 96 x 64."""

SHA256 = {
    "h264-b-frames": "5f20efaed500fce6b56db81ced50943ac9c23e1f790dcbffd2e6dae3b82ffc52",
    "av1": "528d2548521fe6db0f63146fe249dc132046a07270302948b85d2365e4f0baca",
    "av1-10-bit": "2857261cb5d789f6353a6151e614c2d5d560c8399efe38e456fd5b5794293c24",
}
"""Of all frames as RGB, by ``ffmpeg -pix_fmt rgb24 -fps_mode passthrough -f rawvideo``."""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="ffmpeg rounds colours by processor")
@pytest.mark.parametrize("name", SHA256)
def test_frames_are_equal_to_the_bit_to_those_of_the_program(name):
    frames = np.stack(list(read_video(VIDEOS / f"{name}.mp4")))
    assert frames.shape == (12, 64, 96, 3)
    assert hashlib.sha256(frames.tobytes()).hexdigest() == SHA256[name]


def test_spans_hold_the_frames_of_their_numbers():
    path = VIDEOS / "h264-b-frames.mp4"
    frames = np.stack(list(read_video(path)))
    out = [np.zeros((2, 64, 96, 3), np.uint8), np.zeros((3, 64, 96, 3), np.uint8)]
    read_frames(path, [(1, 3), (7, 10)], out, ImageEdit((64, 96)))
    assert np.array_equal(out[0], frames[1:3])
    assert np.array_equal(out[1], frames[7:10])


def test_more_frames_than_there_are_is_one_line():
    out = [np.zeros((13, 64, 96, 3), np.uint8)]
    with pytest.raises(UserError, match=r"av1.mp4 is missing, corrupted or truncated: 13 frames"):
        read_frames(VIDEOS / "av1.mp4", [(0, 13)], out, ImageEdit((64, 96)))


def test_another_size_than_was_promised_is_one_line():
    out = [np.zeros((1, 96, 64, 3), np.uint8)]
    with pytest.raises(UserError, match="frames of 64x96, its meta/info.json says 96x64"):
        read_frames(VIDEOS / "av1.mp4", [(0, 1)], out, ImageEdit((96, 64)))


@pytest.mark.parametrize("content", [b"", b"no video"])
def test_a_file_that_is_no_video_is_an_os_error_that_names_it(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(OSError, match=r"cannot decode .*a\.mp4"):
        next(read_video(tmp_path / "a.mp4"))


@pytest.mark.parametrize("fps", [10, 26.67, 80])
def test_the_frame_of_a_number_is_shown_at_that_number_of_frame_times(tmp_path, fps):
    writer = VideoWriter(
        tmp_path / "a.mp4", height=16, width=16, fps=fps, h264={"crf": "18", "g": "2", "bf": "0"}
    )
    writer.add(np.zeros((50, 16, 16, 3), np.uint8))
    writer.close()
    with av.open(str(tmp_path / "a.mp4")) as file:
        times = [frame.time for frame in file.decode(video=0)]
    # LeRobot's tolerance is 1e-4 s.
    assert times == pytest.approx([i / fps for i in range(50)], abs=1e-9)
