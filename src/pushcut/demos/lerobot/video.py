"""H.264 files of a dataset: many episodes one after another, written and read by ffmpeg."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8

from pushcut.demos.images import ImageEdit
from pushcut.errors import UserError

# MetaWorld at 64 px: 37 dB in brightness, 30 dB with the halved colour resolution. A key
# frame every second frame and none that look ahead, because training reads single frames
# (LeRobot encodes with g = 2 for the same reason).
_H264 = ["-crf", "18", "-g", "2", "-bf", "0", "-movflags", "+faststart"]


class VideoWriter:
    """One mp4 file that frames are appended to."""

    def __init__(self, path: Path, *, height: int, width: int, fps: int | float) -> None:
        if height % 2 or width % 2:
            raise ValueError(
                f"video storage needs an even height and width, got {height}x{width}: "
                "use storage 'image'"
            )
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
            output_params=_H264,
        )
        self._sink.send(None)

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


def read_frames(
    path: Path,
    spans: Sequence[tuple[int, int]],
    out: Sequence[UInt8[np.ndarray, "_ _ _ 3"]],
    edit: ImageEdit,
) -> None:
    """Decodes a video file once and copies spans of its frames.

    Args:
        path: The video file, in any codec that ffmpeg decodes.
        spans: First frame and frame after the last of each span, ascending, not overlapping.
        out: An array for each span that receives its frames.
        edit: What becomes of each frame, and the size that the video should have.
    """
    source = imageio_ffmpeg.read_frames(
        str(path), pix_fmt="rgb24", output_params=["-fps_mode", "passthrough"]
    )
    try:
        width, height = next(source)["size"]
        if edit.stored != (height, width):
            raise UserError(
                f"{path} holds frames of {height}x{width}, its meta/info.json says "
                f"{edit.stored[0]}x{edit.stored[1]}"
            )
        position = 0
        for (start, stop), images in zip(spans, out, strict=True):
            if start < position:
                raise UserError(f"{path}: episodes overlap at frame {start}")
            while position < stop:
                frame = next(source)
                if position >= start:
                    flat = np.frombuffer(frame, np.uint8)
                    images[position - start] = edit(flat.reshape(height, width, 3))
                position += 1
    except (OSError, RuntimeError, StopIteration):
        wanted = spans[-1][1] if spans else 0
        raise UserError(
            f"{path} is missing, corrupted or truncated: {wanted} frames could not be decoded"
        ) from None
    finally:
        source.close()
