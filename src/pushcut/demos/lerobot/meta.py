"""Reads the ``meta`` folder of LeRobot datasets of versions 2 and 3."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pushcut.demos.dialects import DataConfig, Dialect, lerobot_dialect
from pushcut.demos.frames import CameraInfo, DatasetInfo, EpisodeInfo, readable
from pushcut.demos.lerobot import layout
from pushcut.demos.lerobot.layout import FilePlace, Storage
from pushcut.errors import UserError

TASKS_V2 = "meta/tasks.jsonl"
EPISODES_V2 = "meta/episodes.jsonl"

_PREFIXES = (layout.CAMERA_PREFIX, "observation.", "images.")
"""What names of cameras begin with; ``observation.image`` (as pusht has) is ``image``."""


@dataclass(frozen=True)
class StoredCamera(CameraInfo):
    """Where the images of a camera are stored."""

    key: str
    """The feature's full name, for example ``observation.images.corner2``."""
    storage: Storage


@dataclass(frozen=True)
class StoredEpisode(EpisodeInfo):
    """Where an episode is stored."""

    data: Path
    videos: Mapping[str, tuple[Path, float]]
    """Camera key -> file and second in it at which the episode starts."""


@dataclass(frozen=True)
class LeRobotMeta:
    """Metadata of a dataset: everything but its frames."""

    info: DatasetInfo
    cameras: Mapping[str, StoredCamera]
    state: str | None
    """Feature of the state, if there is one."""
    action: str
    """Feature of the action."""
    dialect: Dialect
    episodes: list[StoredEpisode]
    """Ordered by their index."""


def read_meta(path: Path, data: DataConfig) -> LeRobotMeta:
    """Reads what is true of the whole dataset and where each episode lies."""
    file = path / layout.INFO_PATH
    with readable(file):
        raw = json.loads(file.read_text(encoding="utf-8"))
        version = str(raw["codebase_version"]).split(".")[0]
        if version not in _VERSIONS:
            raise UserError(
                f"{path} is a LeRobot dataset of version {raw['codebase_version']}; this reads "
                "v2.x and v3.x: convert it with lerobot's scripts"
            )
        read_tasks, read_episodes = _VERSIONS[version]
        features = raw["features"]
        action = _first(features, layout.ACTION, "actions")
        if action is None:
            raise UserError(f"{path} has no feature 'action'; it has {sorted(features)}")
        state = _first(features, layout.STATE, "state")
        cameras = _cameras(features)
        sizes = (_size(features[state]) if state else 0, _size(features[action]))
        dialect = lerobot_dialect(tuple(cameras), *sizes).adjusted(data)
        cameras = {dialect.cameras.get(name, name): found for name, found in cameras.items()}
        info = DatasetInfo(
            path=path,
            fps=float(raw["fps"]),
            cameras=cameras,
            state_size=sizes[0],
            action_size=sizes[1],
            tasks=read_tasks(path),
            state_names=_names(features[state]) if state else (),
            action_names=_names(features[action]),
        )
    videos = tuple(camera.key for camera in cameras.values() if camera.storage == "video")
    episodes = sorted(read_episodes(path, raw, videos), key=lambda episode: episode.index)
    _check_totals(path, raw, episodes)
    return LeRobotMeta(info, cameras, state, action, dialect, episodes)


def _check_totals(path: Path, raw: dict[str, Any], episodes: list[StoredEpisode]) -> None:
    if not episodes:
        raise UserError(f"{path} holds no episodes")
    with readable(path / layout.INFO_PATH):
        wanted = (int(raw["total_episodes"]), int(raw["total_frames"]))
    got = (len(episodes), sum(episode.length for episode in episodes))
    if got != wanted:
        raise UserError(
            f"{path / 'meta'} lists {got[0]} episodes with {got[1]} frames, "
            f"{layout.INFO_PATH} says {wanted[0]} with {wanted[1]}"
        )


def _first(features: dict[str, Any], *names: str) -> str | None:
    return next((name for name in names if name in features), None)


def _cameras(features: dict[str, Any]) -> dict[str, StoredCamera]:
    cameras = {}
    for key, feature in features.items():
        if feature["dtype"] not in ("image", "video"):
            continue
        first, middle, last = feature["shape"]
        channels_first = first == 3 and last != 3
        height, width = (middle, last) if channels_first else (first, middle)
        name = key
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        cameras[name] = StoredCamera(height, width, key, feature["dtype"])
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


def _tasks_v3(path: Path) -> dict[int, str]:
    """Reads tasks of version 3; pandas may have named the column of texts anything."""
    file = path / layout.TASKS_PATH
    with readable(file):
        table = pq.read_table(file)
        (text,) = (name for name in table.column_names if name != "task_index")
        pairs = zip(table["task_index"].to_pylist(), table[text].to_pylist(), strict=True)
        return {int(index): str(task) for index, task in pairs}


def _tasks_v2(path: Path) -> dict[int, str]:
    with readable(path / TASKS_V2):
        rows = _json_lines(path / TASKS_V2)
        return {int(row["task_index"]): str(row["task"]) for row in rows}


def _json_lines(file: Path) -> list[dict[str, Any]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def _episodes_v3(path: Path, raw: dict[str, Any], videos: tuple[str, ...]) -> list[StoredEpisode]:
    """Finds the episodes of version 3, many to a file, by the rows of ``meta/episodes``."""
    episodes = []
    for file in sorted((path / layout.EPISODES_FOLDER).glob("*/*.parquet")):
        with readable(file):
            names = pq.read_schema(file).names
            wanted = [name for name in names if not name.startswith("stats/")]
            rows = pq.read_table(file, columns=wanted).to_pylist()
            episodes += [_episode_v3(path, raw, row, videos) for row in rows]
    return episodes


def _episode_v3(
    path: Path, raw: dict[str, Any], row: dict[str, Any], videos: tuple[str, ...]
) -> StoredEpisode:
    def place(prefix: str) -> FilePlace:
        return FilePlace(int(row[f"{prefix}/chunk_index"]), int(row[f"{prefix}/file_index"]))

    return StoredEpisode(
        index=int(row["episode_index"]),
        length=int(row["length"]),
        task_name=row.get(layout.TASK_NAME),
        seed=row.get(layout.SEED),
        data=path / place("data").path(raw["data_path"]),
        videos={
            key: (
                path / place(f"videos/{key}").path(_video_path(path, raw), video_key=key),
                float(row[f"videos/{key}/from_timestamp"]),
            )
            for key in videos
        },
    )


def _episodes_v2(path: Path, raw: dict[str, Any], videos: tuple[str, ...]) -> list[StoredEpisode]:
    """Finds the episodes of version 2, one to a file, in numbered folders of ``chunks_size``."""
    with readable(path / EPISODES_V2):
        rows = _json_lines(path / EPISODES_V2)
        return [_episode_v2(path, raw, row, videos) for row in rows]


def _episode_v2(
    path: Path, raw: dict[str, Any], row: dict[str, Any], videos: tuple[str, ...]
) -> StoredEpisode:
    index = int(row["episode_index"])
    chunk = index // int(raw["chunks_size"])
    # Some converters write the pattern with version 3's name of the folder's number.
    names = {"episode_index": index, "episode_chunk": chunk, "chunk_index": chunk}
    return StoredEpisode(
        index=index,
        length=int(row["length"]),
        task_name=None,
        seed=None,
        data=path / raw["data_path"].format(**names),
        videos={
            key: (path / _video_path(path, raw).format(video_key=key, **names), 0.0)
            for key in videos
        },
    )


def _video_path(path: Path, raw: dict[str, Any]) -> str:
    if raw.get("video_path") is None:
        raise UserError(f"{path / layout.INFO_PATH} has a camera as video but no video_path")
    return raw["video_path"]


_VERSIONS: dict[
    str,
    tuple[
        Callable[[Path], dict[int, str]],
        Callable[[Path, dict[str, Any], tuple[str, ...]], list[StoredEpisode]],
    ],
] = {"v2": (_tasks_v2, _episodes_v2), "v3": (_tasks_v3, _episodes_v3)}
"""Version -> readers of its tasks and of its episodes."""
