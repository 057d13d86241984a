"""Reads and writes videos with ffmpeg's libraries (PyAV), those of datasets and of reports."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.codec import Codec, UnknownCodecError
from av.container import InputContainer
from av.error import FFmpegError
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Int64, UInt8

from pushcut.errors import UserError


def read_video(path: Path) -> Generator[UInt8[np.ndarray, "_ _ 3"], None, None]:
    """The RGB frames of a video in any codec that ffmpeg decodes (H.264, AV1, VP9, ...).

    They come one by one in the order in which they are shown, none twice, none left out.

    Raises:
        OSError: If there is no such file, or it is no video, or it is corrupted.
    """
    with _opened(path) as (container, stream):
        for frame, rgb in _decoded(container, stream):
            yield rgb(frame)


@dataclass(frozen=True)
class VideoIndex:
    """Where the frames of a video file are, found without decoding them."""

    path: Path
    pts: Int64[np.ndarray, " n"]
    """Time stamps of the frames, in the order in which they are shown."""
    keys: Int64[np.ndarray, "k 2"]
    """Frame number and decoding time stamp of those that need no other frame."""
    rate: float | None = None
    """Frames per second on average, where the file tells it."""

    def __len__(self) -> int:
        return len(self.pts)

    @staticmethod
    def of(path: Path) -> VideoIndex:
        """Reads the header of a file, or else its packets.

        OSError as ``read_video``, and where frames are lost.
        """
        with _opened(path) as (container, stream):
            if told := _from_header(path, stream):
                return told
            # Packets that are only decoded, for the frames after them, are not shown.
            packets = [p for p in container.demux(stream) if p.size > 0 and not p.is_discard]
            promised, rate = stream.frames, _rate(stream)
        if len(packets) < promised:
            raise OSError(f"cannot decode {path}: {len(packets)} of {promised} frames are there")
        if any(packet.pts is None or packet.dts is None for packet in packets):
            return VideoIndex(path, np.arange(len(packets)), np.zeros((0, 2), np.int64), rate)
        pts = np.sort(np.array([packet.pts for packet in packets], np.int64))
        keys = [(packet.pts, packet.dts) for packet in packets if packet.is_keyframe]
        keys = np.array(sorted(keys), np.int64).reshape(-1, 2)
        keys[:, 0] = np.searchsorted(pts, keys[:, 0])
        return VideoIndex(path, pts, keys, rate)

    def frames(
        self, numbers: Int64[np.ndarray, " n"]
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "_ _ 3"]]]:
        """Some frames with their numbers, which ascend and are < len; skips what it can.

        Each frame is equal to that of ``read_video``. OSError as there, and where a frame is lost.
        """
        done = tries = 0
        while done < len(numbers):
            begin = done
            for number, image in self._run([int(number) for number in numbers[begin:]], tries):
                yield number, image
                done += 1
            # Containers differ in which time stamp they seek by; the beginning is always found.
            tries = tries + 1 if done == begin else 0
            if tries == 3:
                raise OSError(f"cannot decode {self.path}: frame {numbers[done]} is lost")

    def _run(
        self, wanted: list[int], tries: int
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "_ _ 3"]]]:
        """Decodes from the key before the first wanted frame, as far as no jump is shorter."""
        todo = iter(wanted)
        target = next(todo)
        key = self._key(target) if tries < 2 else 0
        with _opened(self.path) as (container, stream):
            if key > 0:
                _, dts = self.keys[np.searchsorted(self.keys[:, 0], key)]
                container.seek(int((self.pts[key], dts)[tries]), stream=stream)
            number = -1
            for frame, rgb in _decoded(container, stream):
                number = self._number(frame, number, sought=key > 0)
                if number < target:
                    continue
                if number > target:  # the jump went too far
                    return
                yield number, rgb(frame)
                target = next(todo, None)
                if target is None or self._key(target) > number + 1:
                    return

    def _key(self, number: int) -> int:
        """The last frame before or at ``number`` from which decoding may begin."""
        before = int(np.searchsorted(self.keys[:, 0], number, side="right")) - 1
        return int(self.keys[before, 0]) if before >= 0 else 0

    def _number(self, frame: av.VideoFrame, last: int, *, sought: bool) -> int:
        """Counted from the beginning of the file, told by the time stamp after a jump."""
        if not sought or last >= 0:
            return last + 1
        place = -1 if frame.pts is None else int(np.searchsorted(self.pts, frame.pts))
        return place if 0 <= place < len(self.pts) and self.pts[place] == frame.pts else -1


def _from_header(path: Path, stream: VideoStream) -> VideoIndex | None:
    """The index that lies in the file, where frames are stored in the order they are shown in."""
    entries = list(getattr(stream, "index_entries", ()))  # PyAV 15 has none
    ordered = not stream.codec_context.has_b_frames and not any(e.is_discard for e in entries)
    if not (ordered and entries and len(entries) == stream.frames):
        return None
    size = path.stat().st_size
    there = sum(entry.pos + entry.size <= size for entry in entries)
    if there < len(entries):
        raise OSError(f"cannot decode {path}: {there} of {len(entries)} frames are there")
    pts = np.array([entry.timestamp for entry in entries], np.int64)
    if (np.diff(pts) <= 0).any():
        return None
    keys = [(number, pts[number]) for number, entry in enumerate(entries) if entry.is_keyframe]
    return VideoIndex(path, pts, np.array(keys, np.int64).reshape(-1, 2), _rate(stream))


def _rate(stream: VideoStream) -> float | None:
    return float(stream.average_rate) if stream.average_rate else None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its video; any fault in it is an OSError that names it."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except (FFmpegError, IndexError) as error:  # IndexError: sound alone
        raise OSError(f"cannot decode {path}: {error}") from error


def _decoded(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[av.VideoFrame, Callable[[av.VideoFrame], UInt8[np.ndarray, "_ _ 3"]]]]:
    """The frames from here on, each with what turns it into RGB as the ffmpeg program does."""
    reformatter = VideoReformatter()

    def rgb(frame: av.VideoFrame) -> UInt8[np.ndarray, "_ _ 3"]:
        # To the bit: each frame is equal to the program's own.
        picture = reformatter.reformat(frame, format="rgb24", interpolation=Interpolation.BICUBIC)
        return picture.to_ndarray()

    for frame in container.decode(stream):
        yield frame, rgb


NO_ENCODER = (
    "no H.264 encoder: this build of PyAV lacks libx264, that of PyPI has it; type: "
    "pip install --force-reinstall --only-binary av av"
)


def check_encoder() -> None:
    """UserError where no video can be written."""
    try:
        Codec("libx264", "w")
    except UnknownCodecError:
        raise UserError(NO_ENCODER) from None


class VideoWriter:
    """One mp4 file that frames are appended to; its index comes first, so it plays while it loads.

    Height and width must be even; ``h264`` are the options of libx264. UserError where it is
    missing or fails.
    """

    def __init__(
        self, path: Path, *, height: int, width: int, fps: int | float, h264: Mapping[str, str]
    ) -> None:
        self.path = path
        self.frames = 0
        rate = Fraction(fps).limit_denominator(10_000)
        try:
            self._file = av.open(str(path), "w", "mp4", options={"movflags": "+faststart"})
            self._stream = self._file.add_stream("libx264", rate, options=dict(h264))
        except UnknownCodecError as error:
            raise UserError(NO_ENCODER) from error
        except OSError as error:
            raise self._failure() from error
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.thread_type = "AUTO"  # threads of slices make larger files
        self._reformatter = VideoReformatter()

    def add(self, images: UInt8[np.ndarray, "n _ _ 3"]) -> None:
        """Appends frames."""
        try:
            for image in images:
                rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                frame = self._reformatter.reformat(
                    rgb, format="yuv420p", interpolation=Interpolation.BICUBIC
                )
                self._file.mux(self._stream.encode(frame))
        except FFmpegError as error:
            raise self._failure() from error
        self.frames += len(images)

    def close(self) -> None:
        """Finishes the file and makes sure that every frame is in it."""
        try:
            self._file.mux(self._stream.encode())
            self._file.close()
            with av.open(str(self.path)) as file:
                written = sum(packet.size > 0 for packet in file.demux(video=0))
        except (FFmpegError, IndexError) as error:
            raise self._failure() from error
        if written != self.frames:
            raise self._failure()

    def abort(self) -> None:
        """Ends the encoder; the file may be broken."""
        with suppress(FFmpegError):
            self._file.close()

    def _failure(self) -> UserError:
        return UserError(
            f"ffmpeg could not write {self.path}: is the disk full? Choose another --out"
        )
