"""What every reader of demonstrations delivers, and helpers that all readers share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64, UInt8

from pushcut.demos.images import Flip, ImageEdit
from pushcut.errors import UserError

_MEMORY_SHARE = 0.7
"""Images may take this share of the machine's memory."""


@dataclass(frozen=True)
class CameraInfo:
    """How a dataset stores one camera."""

    height: int
    width: int


@dataclass(frozen=True)
class DatasetInfo:
    """Facts about a whole dataset, whatever its layout."""

    path: Path
    fps: float
    cameras: Mapping[str, CameraInfo]
    """Camera name, the environment's where its source is known -> how it is stored."""
    state_size: int
    """0 where there is no state."""
    action_size: int
    tasks: Mapping[int, str]
    """task_index -> instruction."""
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class EpisodeInfo:
    """Facts about an episode that are known before its frames are read."""

    index: int
    length: int
    """Frames."""
    task_name: str | None
    """The environment's name of the task, where the dataset says it."""
    seed: int | None
    """The seed of the initial state, where pushcut collected the episode."""


@dataclass(frozen=True)
class Frames:
    """All frames of a dataset, episode after episode, in the conventions of the border."""

    images: dict[str, UInt8[np.ndarray, "n _ _ 3"]]
    state: Float32[np.ndarray, "n s"]
    action: Float32[np.ndarray, "n a"]
    task_index: Int64[np.ndarray, " n"]
    changes: list[str] = field(default_factory=list)
    """How the frames differ from the files, in words for the user."""


@runtime_checkable
class Source(Protocol):
    """A dataset in some layout, as ``DemoDataset`` reads it."""

    @property
    def info(self) -> DatasetInfo:
        """Facts about the dataset that are known before its frames are read."""
        ...

    @property
    def episodes(self) -> Sequence[EpisodeInfo]:
        """The episodes in the order of their frames."""
        ...

    def load(self, cameras: Sequence[str], image_size: int | None) -> Frames:
        """Reads everything, images of some cameras only, resized if need be.

        Every frame of ``episodes`` is there exactly once, in their order; numbers are finite
        and every ``task_index`` is in ``info.tasks``.
        """
        ...


def image_edits(
    info: DatasetInfo, cameras: Sequence[str], flip: Flip, image_size: int | None
) -> dict[str, ImageEdit]:
    """How the images of each camera are turned and resized; refuses what cannot be done."""
    edits = {}
    for name in cameras:
        stored = info.cameras[name]
        edits[name] = ImageEdit((stored.height, stored.width), flip, image_size)
        edits[name].check(info.path, name)
    return edits


def empty_frames(info: DatasetInfo, count: int, edits: Mapping[str, ImageEdit]) -> Frames:
    """Arrays for ``count`` frames; refuses images larger than the memory."""
    shapes = {name: edit.shape for name, edit in edits.items()}
    needed = sum(count * height * width * 3 for height, width in shapes.values())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > _MEMORY_SHARE * memory:
        raise UserError(
            f"{info.path} holds {needed / 2**30:.1f} GiB of images, this machine has "
            f"{memory / 2**30:.1f} GiB of memory: use fewer cameras or a smaller dataset"
        )
    return Frames(
        images={name: np.empty((count, *shape, 3), np.uint8) for name, shape in shapes.items()},
        state=np.zeros((count, info.state_size), np.float32),
        action=np.zeros((count, info.action_size), np.float32),
        task_index=np.zeros(count, np.int64),
        changes=[
            f"camera {name!r}: {change}" for name, edit in edits.items() for change in _words(edit)
        ],
    )


def _words(edit: ImageEdit) -> Iterator[str]:
    if edit.flip != "none":
        yield "turned by 180 degrees" if edit.flip == "both" else f"{edit.flip} reversed"
    if edit.resizes:
        yield f"{edit.stored[0]} resized to {edit.shape[0]} pixels"


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns whatever goes wrong while a file is parsed into one line that names it."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is missing: the dataset is incomplete") from None
    except (
        OSError,
        pa.ArrowException,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,  # h5py's, for some kinds of damage
    ) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{path} is corrupted, truncated or not of its dataset's layout ({what})"
        ) from None
