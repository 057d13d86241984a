"""Reads the frames of LeRobot datasets into memory."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pushcut.demos.dialects import DataConfig, open_at_plus_one
from pushcut.demos.frames import Frames, empty_frames, image_edits, readable
from pushcut.demos.images import ImageEdit
from pushcut.demos.lerobot.meta import LeRobotMeta, StoredCamera, read_meta
from pushcut.demos.lerobot.video import read_frames
from pushcut.errors import UserError

_ROWS_AT_ONCE = 256


class LeRobotSource:
    """A LeRobot dataset of version 2 or 3, of pushcut or of others.

    Episodes may lie in any order, in any of the numbered files.
    """

    def __init__(self, path: Path, data: DataConfig) -> None:
        self._meta = read_meta(path, data)
        self.info = self._meta.info
        self.episodes = self._meta.episodes

    def load(self, cameras: Sequence[str], image_size: int | None) -> Frames:
        meta, info = self._meta, self.info
        edits = image_edits(info, cameras, meta.dialect.flip, image_size)
        lengths = [episode.length for episode in self.episodes]
        frames = empty_frames(info, sum(lengths), edits)
        _DataReader(meta, edits, frames).read()
        for name, edit in edits.items():
            if meta.cameras[name].storage == "video":
                _read_videos(meta, meta.cameras[name], edit, frames.images[name])
        if unknown := set(frames.task_index.tolist()) - set(info.tasks):
            raise UserError(
                f"{info.path}: frames have task_index {sorted(unknown)}, "
                f"its list of tasks has {sorted(info.tasks)}"
            )
        change = open_at_plus_one(info.path, meta.dialect, frames.state, frames.action, lengths)
        frames.changes.extend([change] if change else [])
        return frames


class _DataReader:
    """Copies the rows of the data files to their places in ``frames``."""

    def __init__(self, meta: LeRobotMeta, edits: Mapping[str, ImageEdit], frames: Frames) -> None:
        self._meta, self._info, self._frames = meta, meta.info, frames
        self._edits = {
            name: edit for name, edit in edits.items() if meta.cameras[name].storage == "image"
        }
        self._index = np.array([episode.index for episode in meta.episodes])
        self._length = np.array([episode.length for episode in meta.episodes])
        self._start = np.cumsum(self._length) - self._length
        self._seen = np.zeros(len(frames.action), np.int64)

    def read(self) -> None:
        """Reads all files; raises UserError unless every frame is there exactly once."""
        for path in sorted({episode.data for episode in self._meta.episodes}):
            with readable(path), pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=self._columns()):
                    self._take(path, batch)
        for row, episode in enumerate(self._meta.episodes):
            seen = self._seen[self._start[row] : self._start[row] + episode.length]
            if not (seen == 1).all():
                raise UserError(
                    f"{self._info.path}: episode {episode.index} should have {episode.length} "
                    f"frames, its data files have {seen.sum()}"
                )

    def _columns(self) -> list[str]:
        state = [self._meta.state] if self._meta.state else []
        numbers = [*state, self._meta.action, "episode_index", "frame_index", "task_index"]
        return [*numbers, *(self._meta.cameras[name].key for name in self._edits)]

    def _take(self, path: Path, batch: pa.RecordBatch) -> None:
        rows = self._rows(path, batch)
        info, frames = self._info, self._frames
        if self._meta.state:
            frames.state[rows] = _vectors(path, batch, self._meta.state, info.state_size)
        frames.action[rows] = _vectors(path, batch, self._meta.action, info.action_size)
        frames.task_index[rows] = batch["task_index"].to_numpy()
        for name, edit in self._edits.items():
            key = self._meta.cameras[name].key
            for row, content in zip(rows, batch[key].field("bytes"), strict=True):
                frames.images[name][row] = edit(_decoded(path, key, content, edit.stored))
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
                f"{path}: frame {frame[bad]} of episode {index[bad]} is not in its list of episodes"
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


def _decoded(path: Path, key: str, content: pa.Scalar, size: tuple[int, int]) -> np.ndarray:
    """An encoded image as uint8 [H, W, 3]."""
    try:
        with Image.open(io.BytesIO(content.as_py())) as picture:
            image = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError):
        raise UserError(f"{path}: {key} holds an image that cannot be decoded") from None
    if image.shape[:2] != size:
        raise UserError(f"{path}: {key} holds an image of {image.shape[:2]} pixels, not {size}")
    return image


def _read_videos(
    meta: LeRobotMeta, camera: StoredCamera, edit: ImageEdit, images: np.ndarray
) -> None:
    """Decodes each video file of a camera once."""
    spans: dict[Path, list[tuple[int, int, int]]] = defaultdict(list)
    row = 0
    for episode in meta.episodes:
        path, second = episode.videos[camera.key]
        first = round(second * meta.info.fps)
        spans[path].append((first, first + episode.length, row))
        row += episode.length
    for path, parts in sorted(spans.items()):
        parts.sort()
        out = [images[row : row + stop - first] for first, stop, row in parts]
        read_frames(path, [(first, stop) for first, stop, _ in parts], out, edit)
