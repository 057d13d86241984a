"""Frames of videos are those that the ffmpeg program 9.0 gave: training data must not change."""

import hashlib
import platform
from pathlib import Path

import av
import numpy as np
import pytest

from pushcut.system import video
from pushcut.system.video import VideoIndex, VideoWriter, read_video

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


@pytest.mark.parametrize("name", SHA256)
@pytest.mark.parametrize("numbers", [[0], [5], [11], [1, 2, 7, 8, 9], [0, 11], list(range(12))])
def test_frames_are_found_by_their_numbers(name, numbers):
    path = VIDEOS / f"{name}.mp4"
    frames = list(read_video(path))
    index = VideoIndex.of(path)
    assert len(index) == 12
    found = list(index.frames(np.array(numbers)))
    assert [number for number, _ in found] == numbers
    assert all(np.array_equal(image, frames[number]) for number, image in found)


@pytest.mark.parametrize(
    "gop", [{"g": "10", "sc_threshold": "0"}, {"g": "8", "x264-params": "scenecut=0:open-gop=1"}]
)
def test_frames_before_the_key_of_a_wanted_frame_are_not_decoded(tmp_path, monkeypatch, gop):
    colours = np.random.default_rng(0).integers(0, 255, (60, 4, 4, 3), dtype=np.uint8)
    writer = VideoWriter(tmp_path / "a.mp4", height=64, width=64, fps=30, h264=gop)
    writer.add(colours.repeat(16, 1).repeat(16, 2))
    writer.close()
    frames = list(read_video(tmp_path / "a.mp4"))
    decoded, real = [], video._decoded

    def counting(*arguments):
        for pair in real(*arguments):
            decoded.append(pair[0].pts)
            yield pair

    monkeypatch.setattr(video, "_decoded", counting)
    ((number, image),) = VideoIndex.of(tmp_path / "a.mp4").frames(np.array([42]))
    assert number == 42
    assert np.array_equal(image, frames[42])
    # The key before is frame 40; an open group begins with frames that are shown before it.
    assert len(decoded) <= 5


def test_the_header_tells_the_same_frames_as_the_packets(monkeypatch):
    told = VideoIndex.of(VIDEOS / "av1.mp4")
    monkeypatch.setattr(video, "_from_header", lambda path, stream: None)
    read = VideoIndex.of(VIDEOS / "av1.mp4")
    np.testing.assert_array_equal(told.pts, read.pts)
    np.testing.assert_array_equal(told.keys, read.keys)
    assert told.keys[:, 0].tolist() == [0, 2, 4, 6, 8, 10]


def test_a_video_that_was_cut_is_an_os_error_that_counts(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", height=64, width=64, fps=30, h264={"g": "2"})
    noise = np.random.default_rng(0).integers(0, 255, (9, 64, 64, 3), dtype=np.uint8)
    writer.add(noise)
    writer.close()
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match=r"cannot decode .*a.mp4: \d of 9 frames are there"):
        VideoIndex.of(tmp_path / "a.mp4")


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
