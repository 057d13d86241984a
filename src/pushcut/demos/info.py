"""Reads the ``meta`` folder of a LeRobot v3.x dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pushcut.demos import layout
from pushcut.demos.layout import FilePlace, Storage
from pushcut.errors import UserError


@dataclass(frozen=True)
class CameraInfo:
    """How a dataset stores one camera."""

    key: str
    """The feature's full name, for example ``observation.images.corner2``."""
    height: int
    width: int
    storage: Storage


@dataclass(frozen=True)
class DatasetInfo:
    """What ``meta/info.json`` and ``meta/tasks.parquet`` say."""

    path: Path
    fps: float
    robot_type: str | None
    cameras: dict[str, CameraInfo]
    """Camera name (without ``observation.images.``) -> how it is stored."""
    state_size: int
    """0 where there is no ``observation.state``."""
    action_size: int
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    tasks: dict[int, str]
    """task_index -> instruction."""
    episodes: int
    frames: int
    data_path: str
    video_path: str | None


@dataclass(frozen=True)
class EpisodeInfo:
    """A row of ``meta/episodes``."""

    index: int
    length: int
    data: FilePlace
    videos: dict[str, tuple[FilePlace, float]]
    """Camera key -> file and second in it at which the episode starts."""
    task_name: str | None
    """The environment's name of the task, if pushcut wrote the dataset."""
    seed: int | None
    """The seed of the initial state, if pushcut wrote the dataset."""


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
    ) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{path} is corrupted, truncated or not of LeRobot v3 ({what})") from None


def read_info(path: Path) -> DatasetInfo:
    """Reads what is true of the whole dataset."""
    file = path / layout.INFO_PATH
    if not file.is_file():
        raise UserError(f"{path} is not a LeRobot dataset: it has no {layout.INFO_PATH}")
    with readable(file):
        info = json.loads(file.read_text(encoding="utf-8"))
        version = str(info["codebase_version"])
        if version.split(".")[0] != "v3":
            raise UserError(
                f"{path} is a LeRobot dataset of version {version}; this reads v3.x: convert it "
                "with lerobot's convert_dataset_v21_to_v30"
            )
        features = info["features"]
        if layout.ACTION not in features:
            raise UserError(f"{path} has no feature 'action'; it has {sorted(features)}")
        return DatasetInfo(
            path=path,
            fps=float(info["fps"]),
            robot_type=info.get("robot_type"),
            cameras=_cameras(features),
            state_size=_size(features.get(layout.STATE, {"shape": [0]})),
            action_size=_size(features[layout.ACTION]),
            state_names=_names(features.get(layout.STATE, {})),
            action_names=_names(features[layout.ACTION]),
            tasks=_read_tasks(path / layout.TASKS_PATH),
            episodes=int(info["total_episodes"]),
            frames=int(info["total_frames"]),
            data_path=info["data_path"],
            video_path=info.get("video_path"),
        )


def _cameras(features: dict[str, Any]) -> dict[str, CameraInfo]:
    """All image features; ``observation.image`` (as pusht has) is the camera ``image``."""
    cameras = {}
    for key, feature in features.items():
        if feature["dtype"] not in ("image", "video"):
            continue
        first, middle, last = feature["shape"]
        channels_first = first == 3 and last != 3
        height, width = (middle, last) if channels_first else (first, middle)
        name = key.removeprefix(layout.CAMERA_PREFIX).removeprefix("observation.")
        cameras[name] = CameraInfo(key, height, width, feature["dtype"])
    return cameras


def _size(feature: dict[str, Any]) -> int:
    (size,) = feature["shape"]
    return int(size)


def _names(feature: dict[str, Any]) -> tuple[str, ...]:
    """Names of the dimensions; older datasets nest them as {"motors": [...]}."""
    names = feature.get("names") or ()
    if isinstance(names, dict):
        names = next((value for value in names.values() if isinstance(value, list)), ())
    return tuple(map(str, names))


def _read_tasks(file: Path) -> dict[int, str]:
    """The text is in the column beside ``task_index``, whatever pandas called its index."""
    with readable(file):
        table = pq.read_table(file)
        (text,) = (name for name in table.column_names if name != "task_index")
        pairs = zip(table["task_index"].to_pylist(), table[text].to_pylist(), strict=True)
        return {int(index): str(task) for index, task in pairs}


def read_episodes(info: DatasetInfo) -> list[EpisodeInfo]:
    """Reads where each episode lies, ordered by episode index."""
    folder = info.path / layout.EPISODES_FOLDER
    episodes = [
        _episode(row, info)
        for file in sorted(folder.glob("*/*.parquet"))
        for row in _episode_rows(file)
    ]
    if not episodes:
        raise UserError(f"{info.path} holds no episodes")
    frames = sum(episode.length for episode in episodes)
    if (len(episodes), frames) != (info.episodes, info.frames):
        raise UserError(
            f"{folder} lists {len(episodes)} episodes with {frames} frames, "
            f"{layout.INFO_PATH} says {info.episodes} with {info.frames}"
        )
    return sorted(episodes, key=lambda episode: episode.index)


def _episode_rows(file: Path) -> list[dict[str, Any]]:
    with readable(file):
        names = pq.read_schema(file).names
        wanted = [name for name in names if not name.startswith("stats/")]
        return pq.read_table(file, columns=wanted).to_pylist()


def _episode(row: dict[str, Any], info: DatasetInfo) -> EpisodeInfo:
    with readable(info.path / layout.EPISODES_FOLDER):
        keys = [camera.key for camera in info.cameras.values() if camera.storage == "video"]
        return EpisodeInfo(
            index=int(row["episode_index"]),
            length=int(row["length"]),
            data=_place(row, "data"),
            videos={
                key: (_place(row, f"videos/{key}"), float(row[f"videos/{key}/from_timestamp"]))
                for key in keys
            },
            task_name=row.get(layout.TASK_NAME),
            seed=row.get(layout.SEED),
        )


def _place(row: dict[str, Any], prefix: str) -> FilePlace:
    return FilePlace(int(row[f"{prefix}/chunk_index"]), int(row[f"{prefix}/file_index"]))
