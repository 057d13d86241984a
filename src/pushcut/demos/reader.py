"""Reads the frames of a LeRobot v3.x dataset into memory."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64, UInt8
from PIL import Image

from pushcut.demos import layout
from pushcut.demos.info import CameraInfo, DatasetInfo, EpisodeInfo, readable
from pushcut.demos.layout import FilePlace
from pushcut.demos.video import read_frames
from pushcut.errors import UserError

_ROWS_AT_ONCE = 256
_MEMORY_SHARE = 0.7
"""Pictures may take this share of the machine's memory."""


@dataclass(frozen=True)
class Frames:
    """All frames of a dataset, episode after episode."""

    images: dict[str, UInt8[np.ndarray, "n _ _ 3"]]
    state: Float32[np.ndarray, "n s"]
    action: Float32[np.ndarray, "n a"]
    task_index: Int64[np.ndarray, " n"]


def load_frames(
    info: DatasetInfo, episodes: Sequence[EpisodeInfo], cameras: Sequence[str]
) -> Frames:
    """Loads numbers and the pictures of some cameras; every frame is there exactly once.

    Episodes may lie in any order, in any of the numbered files.
    """
    count = sum(episode.length for episode in episodes)
    chosen = {name: info.cameras[name] for name in cameras}
    _check_memory(info, count, chosen)
    frames = Frames(
        images={
            name: np.empty((count, camera.height, camera.width, 3), np.uint8)
            for name, camera in chosen.items()
        },
        state=np.zeros((count, info.state_size), np.float32),
        action=np.zeros((count, info.action_size), np.float32),
        task_index=np.zeros(count, np.int64),
    )
    _DataReader(info, episodes, chosen, frames).read()
    for name, camera in chosen.items():
        if camera.storage == "video":
            _read_videos(info, episodes, camera, frames.images[name])
    if unknown := set(frames.task_index.tolist()) - set(info.tasks):
        raise UserError(
            f"{info.path}: frames have task_index {sorted(unknown)}, "
            f"{layout.TASKS_PATH} has {sorted(info.tasks)}"
        )
    return frames


def _check_memory(info: DatasetInfo, count: int, cameras: dict[str, CameraInfo]) -> None:
    needed = sum(count * camera.height * camera.width * 3 for camera in cameras.values())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > _MEMORY_SHARE * memory:
        raise UserError(
            f"{info.path} holds {needed / 2**30:.1f} GiB of pictures, this machine has "
            f"{memory / 2**30:.1f} GiB of memory: use fewer cameras or a smaller dataset"
        )


class _DataReader:
    """Copies the rows of the data files to their places in ``frames``."""

    def __init__(
        self,
        info: DatasetInfo,
        episodes: Sequence[EpisodeInfo],
        cameras: dict[str, CameraInfo],
        frames: Frames,
    ) -> None:
        self._info, self._episodes, self._frames = info, episodes, frames
        self._images = {n: c.key for n, c in cameras.items() if c.storage == "image"}
        self._index = np.array([episode.index for episode in episodes])
        self._length = np.array([episode.length for episode in episodes])
        self._start = np.cumsum(self._length) - self._length
        self._seen = np.zeros(len(frames.action), np.int64)

    def read(self) -> None:
        """Reads all files; raises UserError unless every frame is there exactly once."""
        for place in sorted({episode.data for episode in self._episodes}):
            path = self._info.path / place.path(self._info.data_path)
            with readable(path), pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=self._columns()):
                    self._take(path, batch)
        for row, episode in enumerate(self._episodes):
            seen = self._seen[self._start[row] : self._start[row] + episode.length]
            if not (seen == 1).all():
                raise UserError(
                    f"{self._info.path}: episode {episode.index} should have {episode.length} "
                    f"frames, its data files have {seen.sum()}"
                )

    def _columns(self) -> list[str]:
        state = [layout.STATE] if self._info.state_size else []
        numbers = [*state, layout.ACTION, "episode_index", "frame_index", "task_index"]
        return [*numbers, *self._images.values()]

    def _take(self, path: Path, batch: pa.RecordBatch) -> None:
        rows = self._rows(path, batch)
        info, frames = self._info, self._frames
        if info.state_size:
            frames.state[rows] = _vectors(path, batch, layout.STATE, info.state_size)
        frames.action[rows] = _vectors(path, batch, layout.ACTION, info.action_size)
        frames.task_index[rows] = batch["task_index"].to_numpy()
        for name, key in self._images.items():
            for row, content in zip(rows, batch[key].field("bytes"), strict=True):
                frames.images[name][row] = _decoded(path, key, content, frames.images[name][row])
        np.add.at(self._seen, rows, 1)

    def _rows(self, path: Path, batch: pa.RecordBatch) -> np.ndarray:
        """Where the rows of a batch belong."""
        index = batch["episode_index"].to_numpy()
        frame = batch["frame_index"].to_numpy()
        which = np.minimum(np.searchsorted(self._index, index), len(self._index) - 1)
        fits = (self._index[which] == index) & (frame >= 0) & (frame < self._length[which])
        if not fits.all():
            bad = int(np.argmin(fits))
            raise UserError(
                f"{path}: frame {frame[bad]} of episode {index[bad]} is not in "
                f"{layout.EPISODES_FOLDER}"
            )
        return self._start[which] + frame


def _vectors(path: Path, batch: pa.RecordBatch, key: str, size: int) -> np.ndarray:
    """A column of numbers or of lists of ``size`` numbers as an array [n, size]."""
    column = batch[key]
    nested = pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)
    flat = (column.flatten() if nested else column).to_numpy(zero_copy_only=False)
    if len(flat) != len(column) * size:
        raise UserError(f"{path}: rows of {key} do not have the {size} numbers of its feature")
    if not np.isfinite(flat).all():
        raise UserError(f"{path}: {key} holds missing or infinite numbers")
    return flat.reshape(-1, size)


def _decoded(path: Path, key: str, content: pa.Scalar, like: np.ndarray) -> np.ndarray:
    """An encoded picture as uint8 [H, W, 3]."""
    try:
        with Image.open(io.BytesIO(content.as_py())) as picture:
            image = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError):
        raise UserError(f"{path}: {key} holds a picture that cannot be decoded") from None
    if image.shape != like.shape:
        raise UserError(f"{path}: {key} holds a picture of {image.shape}, not {like.shape}")
    return image


def _read_videos(
    info: DatasetInfo, episodes: Sequence[EpisodeInfo], camera: CameraInfo, images: np.ndarray
) -> None:
    """Decodes each video file of a camera once."""
    if info.video_path is None:
        raise UserError(f"{info.path / layout.INFO_PATH} has a camera as video but no video_path")
    spans: dict[FilePlace, list[tuple[int, int, int]]] = defaultdict(list)
    row = 0
    for episode in episodes:
        place, second = episode.videos[camera.key]
        first = round(second * info.fps)
        spans[place].append((first, first + episode.length, row))
        row += episode.length
    for place, parts in sorted(spans.items()):
        parts.sort()
        out = [images[row : row + stop - first] for first, stop, row in parts]
        path = info.path / place.path(info.video_path, video_key=camera.key)
        read_frames(path, [(first, stop) for first, stop, _ in parts], out)
