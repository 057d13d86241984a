"""Videos of a dataset: many episodes one after another in a file, read frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pushcut.demos.images import ImageEdit
from pushcut.errors import UserError
from pushcut.system.video import read_video


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
    source = read_video(path)
    position = 0
    try:
        for (start, stop), images in zip(spans, out, strict=True):
            if start < position:
                raise UserError(f"{path}: episodes overlap at frame {start}")
            while position < stop:
                frame = next(source)
                if frame.shape[:2] != edit.stored:
                    raise UserError(
                        f"{path} holds frames of {frame.shape[0]}x{frame.shape[1]}, its "
                        f"meta/info.json says {edit.stored[0]}x{edit.stored[1]}"
                    )
                if position >= start:
                    images[position - start] = edit(frame)
                position += 1
    except (OSError, StopIteration):
        wanted = spans[-1][1] if spans else 0
        raise UserError(
            f"{path} is missing, corrupted or truncated: {wanted} frames could not be decoded"
        ) from None
    finally:
        source.close()
