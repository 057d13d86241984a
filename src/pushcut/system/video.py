"""Reads and writes videos with ffmpeg's libraries (PyAV), those of datasets and of reports."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import UInt8

from pushcut.errors import UserError


def read_video(path: Path) -> Generator[UInt8[np.ndarray, "_ _ 3"], None, None]:
    """The RGB frames of a video in any codec that ffmpeg decodes (H.264, AV1, VP9, ...).

    They come one by one in the order in which they are shown, none twice, none left out.

    Raises:
        OSError: If there is no such file, or it is no video, or it is corrupted.
    """
    # As the ffmpeg program converts colours: each frame is equal to its own, to the bit.
    reformatter = VideoReformatter()
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                rgb = reformatter.reformat(
                    frame, format="rgb24", interpolation=Interpolation.BICUBIC
                )
                yield rgb.to_ndarray()
    except (FFmpegError, IndexError) as error:  # IndexError: sound alone
        raise OSError(f"cannot decode {path}: {error}") from error


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
            raise UserError(
                "no H.264 encoder: this build of PyAV lacks libx264, that of PyPI has it; type: "
                "pip install --force-reinstall --only-binary av av"
            ) from error
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
