"""The numbered files of a dataset that episodes are appended to: parquet and mp4."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pushcut.demos.lerobot import layout
from pushcut.demos.lerobot.layout import FilePlace
from pushcut.system.video import VideoWriter

# MetaWorld at 64 px: 37 dB in brightness, 30 dB with the halved colour resolution. A key
# frame every second frame and none that look ahead, because training reads single frames
# (LeRobot encodes with g = 2 for the same reason).
H264 = {"crf": "18", "g": "2", "bf": "0"}

_PNG_LEVEL = 3  # measured on a MetaWorld image: as small as level 6 and twice as fast
_COMPRESSION = 20
"""Roughly how much smaller H.264 is than raw images. An estimate, because the size of a
file that the encoder still writes depends on timing, and what lies in which file must not."""


class DataFiles:
    """The parquet files with a row per frame; a row group per episode."""

    def __init__(self, root: Path, features: dict[str, dict[str, Any]], file_mb: float) -> None:
        self._root, self._limit = root, file_mb * 2**20
        self._schema = layout.data_schema(features)
        self._place = FilePlace()
        self._file: BinaryIO | None = None
        self._writer: pq.ParquetWriter | None = None

    def add(self, columns: dict[str, np.ndarray], images: dict[str, np.ndarray]) -> dict[str, int]:
        """Writes an episode and tells where it lies."""
        if self._file is not None and self._file.tell() >= self._limit:
            self.close()
            self._place = self._place.following()
        arrays = [
            _png_array(images[name.removeprefix(layout.CAMERA_PREFIX)])
            if name.startswith(layout.CAMERA_PREFIX)
            else _number_array(columns[name], self._schema.field(name).type)
            for name in self._schema.names
        ]
        self._opened().write_table(pa.table(arrays, schema=self._schema))
        place = self._place
        return {"data/chunk_index": place.chunk_index, "data/file_index": place.file_index}

    def _opened(self) -> pq.ParquetWriter:
        if self._writer is None:
            path = self._root / self._place.path(layout.DATA_PATH)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
            self._writer = pq.ParquetWriter(self._file, self._schema)
        return self._writer

    def close(self) -> None:
        """Finishes the current file."""
        if self._writer is not None and self._file is not None:
            self._writer.close()
            self._file.close()
        self._writer = self._file = None

    def abort(self) -> None:
        """Closes the current file, whatever its state."""
        try:
            self.close()
        except OSError:
            self._writer = self._file = None  # the disk is full: the folder is removed anyway


class VideoFiles:
    """The mp4 files of one camera."""

    def __init__(
        self, root: Path, key: str, shape: list[int], fps: int | float, file_mb: float
    ) -> None:
        self._root, self._key, self._limit = root, key, file_mb * 2**20
        self._height, self._width, _ = shape
        if self._height % 2 or self._width % 2:
            raise ValueError(
                "video storage needs an even height and width, got "
                f"{self._height}x{self._width}: use storage 'image'"
            )
        self._fps = fps
        self._place = FilePlace()
        self._writer: VideoWriter | None = None

    def add(self, images: np.ndarray) -> dict[str, Any]:
        """Writes an episode and tells where it lies."""
        writer = self._opened()
        raw = writer.frames * self._height * self._width * 3
        if writer.frames and raw / _COMPRESSION >= self._limit:
            self.close()
            self._place = self._place.following()
            writer = self._opened()
        start = writer.frames
        writer.add(images)
        prefix = f"videos/{self._key}/"
        return {
            prefix + "chunk_index": self._place.chunk_index,
            prefix + "file_index": self._place.file_index,
            prefix + "from_timestamp": start / self._fps,
            prefix + "to_timestamp": writer.frames / self._fps,
        }

    def _opened(self) -> VideoWriter:
        if self._writer is None:
            path = self._root / self._place.path(layout.VIDEO_PATH, video_key=self._key)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = VideoWriter(
                path, height=self._height, width=self._width, fps=self._fps, h264=H264
            )
        return self._writer

    def close(self) -> None:
        """Finishes the current file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def abort(self) -> None:
        """Ends the encoder."""
        if self._writer is not None:
            self._writer.abort()
            self._writer = None


def _png_array(images: np.ndarray) -> pa.Array:
    files = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG", compress_level=_PNG_LEVEL)
        files.append(buffer.getvalue())
    columns = [pa.array(files, pa.binary()), pa.nulls(len(files), pa.string())]
    return pa.StructArray.from_arrays(columns, names=["bytes", "path"])


def _number_array(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=kind)
    return pa.array(values.ravel(), kind)
