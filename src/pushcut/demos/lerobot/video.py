"""Videos of a dataset: many episodes one after another in a file, read by ffmpeg."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8

from pushcut.demos.images import ImageEdit
from pushcut.errors import UserError


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
