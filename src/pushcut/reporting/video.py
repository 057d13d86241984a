"""Videos that every browser plays."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pushcut.errors import UserError


def write_mp4(path: Path, frames: UInt8[np.ndarray, "t _ _ 3"], fps: float | int) -> Path:
    """Writes RGB frames as H.264 with its index first, so that it plays while it loads.

    The file appears under its name only when it is complete. Odd heights and widths are
    padded by one repeated row or column, since 4:2:0 colour needs even sizes.

    Raises:
        ValueError: If there are no frames, or they are not RGB bytes.
        UserError: If ffmpeg is missing or cannot write the file.
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
        done = subprocess.run(
            _command(unfinished, even.shape[2], even.shape[1], fps),
            input=even.tobytes(),
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise UserError(f"ffmpeg could not write {path}: {said[-1] if said else 'no reason'}")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _command(path: Path, width: int, height: int, fps: float | int) -> list[str]:
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}"]
    # One thread: clips are short, and the simulators need the cores.
    h264 = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-threads", "1"]
    playable = ["-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"]
    quiet = ["-y", "-nostdin", "-hide_banner", "-loglevel", "error"]
    return [_ffmpeg(), *quiet, *raw, "-i", "pipe:0", *h264, *playable, str(path)]


def _ffmpeg() -> str:
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"no ffmpeg for videos ({error}); type: pip install imageio-ffmpeg"
        ) from error
