"""Writes H.264 files with ffmpeg: the videos of datasets and of reports."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8

from pushcut.errors import UserError


class VideoWriter:
    """One mp4 file that frames are appended to; its index comes first, so it plays while it loads.

    Height and width must be even; ``h264`` are the encoder's options. UserError where ffmpeg is
    missing or fails.
    """

    def __init__(
        self, path: Path, *, height: int, width: int, fps: int | float, h264: Sequence[str]
    ) -> None:
        self.path = path
        self.frames = 0
        rate = str(Fraction(fps).limit_denominator(10_000))
        self._sink = imageio_ffmpeg.write_frames(
            str(path),
            (width, height),
            codec="libx264",
            macro_block_size=1,
            ffmpeg_log_level="quiet",  # failures are told by our own one line
            input_params=["-r", rate],  # its own fps argument is rounded in older versions
            output_params=[*h264, "-movflags", "+faststart", "-f", "mp4"],
        )
        try:
            self._sink.send(None)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"no ffmpeg for videos ({error}); type: pip install imageio-ffmpeg"
            ) from error

    def add(self, images: UInt8[np.ndarray, "n _ _ 3"]) -> None:
        """Appends frames."""
        try:
            for image in images:
                self._sink.send(np.ascontiguousarray(image))
        except (OSError, StopIteration) as error:
            raise self._failure() from error
        self.frames += len(images)

    def close(self) -> None:
        """Finishes the file and makes sure that every frame is in it."""
        self._sink.close()
        try:
            written, _ = imageio_ffmpeg.count_frames_and_secs(str(self.path))
        except (OSError, RuntimeError) as error:
            raise self._failure() from error
        if written != self.frames:
            raise self._failure()

    def abort(self) -> None:
        """Ends ffmpeg; the file may be broken."""
        self._sink.close()

    def _failure(self) -> UserError:
        return UserError(
            f"ffmpeg could not write {self.path}: is the disk full? Choose another --out"
        )
