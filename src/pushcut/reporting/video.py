"""Videos that every browser plays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pushcut.system.video import VideoWriter

# One thread: clips are short, and the simulators need the cores.
_H264 = {"preset": "veryfast", "crf": "20", "threads": "1"}


def write_mp4(path: Path, frames: UInt8[np.ndarray, "t _ _ 3"], fps: float | int) -> Path:
    """Writes RGB frames as H.264.

    The file appears under its name only when it is complete. Odd heights and widths are
    padded by one repeated row or column, since 4:2:0 colour needs even sizes.

    Raises:
        ValueError: If there are no frames, or they are not RGB bytes.
        UserError: If the file cannot be written, or no H.264 encoder is there.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or frames.size == 0:
        raise ValueError(
            f"need uint8 frames [t, height, width, 3], got {frames.dtype} {list(frames.shape)}"
        )
    _, height, width, _ = frames.shape
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        _, height, width, _ = even.shape
        writer = VideoWriter(unfinished, height=height, width=width, fps=fps, h264=_H264)
        try:
            writer.add(even)
            writer.close()
        finally:
            writer.abort()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path
