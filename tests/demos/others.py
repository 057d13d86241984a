"""One small recording in the conventions of pushcut's border, written in layouts of others."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pushcut.demos.lerobot.files import H264
from pushcut.system.video import VideoWriter

SIDE = 16
TASK = "pick_up_the_milk_and_place_it_in_the_basket"
INSTRUCTION = "pick up the milk and place it in the basket"


@dataclass(frozen=True)
class Recording:
    """The gripper opens (+1) in the first half and closes (-1) in the second.

    Images are grey with a white top left corner; the wrist's are darker by 5.
    """

    number: int
    length: int = 8

    @property
    def command(self) -> np.ndarray:
        return np.where(np.arange(self.length) < self.length // 2, 1.0, -1.0)

    @property
    def action(self) -> np.ndarray:
        t = np.arange(self.length)
        moves = [0.01 * t, 0.1 * self.number + 0 * t, -0.02 * t, 0 * t, 0 * t, 0.5 + 0 * t]
        return np.stack([*moves, self.command], axis=1).astype(np.float32)

    @property
    def state(self) -> np.ndarray:
        """One finger is where the commands before this frame have moved it."""
        t = np.arange(self.length)
        finger = 0.02 + 0.002 * np.concatenate([[0], np.cumsum(self.command)[:-1]])
        pose = [self.number + 0.1 * t, 0 * t, 0.3 + 0 * t, 3.1 + 0 * t, 0 * t, 0.01 * t]
        return np.stack([*pose, finger, -finger], axis=1).astype(np.float32)

    @property
    def joints(self) -> np.ndarray:
        t = np.arange(self.length, dtype=np.float64)
        return self.number + 0.01 * t[:, None] + np.zeros(7)

    def images(self, camera: str) -> np.ndarray:
        level = 10 * self.number + np.arange(self.length) + (5 if camera == "agentview" else 0)
        images = np.empty((self.length, SIDE, SIDE, 3), np.uint8)
        images[:] = level[:, None, None, None]
        images[:, : SIDE // 4, : SIDE // 4] = 255
        return images


RECORDINGS = (Recording(0), Recording(1, 6))


def write_hdf5(
    file: Path,
    recordings: Sequence[Recording] = RECORDINGS,
    *,
    late: bool = False,
    **attributes: str,
) -> Path:
    """As LIBERO's ``create_dataset.py`` writes (late), or OpenVLA's regeneration (not late)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as content:
        data = content.create_group("data")
        data.attrs.update(attributes)
        for recording in recordings:
            _write_demo(data.create_group(f"demo_{recording.number}"), recording, late)
    return file


def _write_demo(demo: h5py.Group, recording: Recording, late: bool) -> None:
    def before(values: np.ndarray) -> np.ndarray:
        """Rows of what was there before each action; a late file begins one action earlier."""
        return np.concatenate([values[:1] - 0.01, values]) if late else values

    def seen(values: np.ndarray) -> np.ndarray:
        """Rows of what was seen; a late file goes on for one observation more."""
        return np.concatenate([values, values[-1:]]) if late else values

    action = recording.action.astype(np.float64) * [1, 1, 1, 1, 1, 1, -1]  # LIBERO closes at +1
    demo["actions"] = np.concatenate([action[:1], action]) if late else action
    joints = before(recording.joints)
    demo["states"] = np.concatenate([np.zeros((len(joints), 1)), joints, joints], axis=1)
    obs = demo.create_group("obs")
    obs["ee_states"] = seen(recording.state[:, :6].astype(np.float64))
    obs["gripper_states"] = seen(recording.state[:, 6:].astype(np.float64))
    obs["joint_states"] = seen(recording.joints)
    for name, camera in {"agentview_rgb": "agentview", "eye_in_hand_rgb": "wrist"}.items():
        obs[name] = seen(recording.images(camera)[:, ::-1, ::-1])  # upside down and mirrored back


@dataclass(frozen=True)
class Names:
    """How somebody calls the features of a LeRobot dataset, and what the gripper means there."""

    agentview: str
    wrist: str
    state: str
    action: str
    gripper: Callable[[np.ndarray], np.ndarray]
    """From +1 = open."""


PHYSICAL_INTELLIGENCE = Names("image", "wrist_image", "state", "actions", lambda g: -g)
HUGGING_FACE = Names(
    "observation.images.image",
    "observation.images.image2",
    "observation.state",
    "action",
    lambda g: -g,
)
IPEC = Names(
    "observation.images.image",
    "observation.images.wrist_image",
    "observation.state",
    "action",
    lambda g: (g + 1) / 2,
)


def write_lerobot(
    out: Path, names: Names, *, version: str, video: bool = False, **info: Any
) -> Path:
    """The recordings as a dataset of version v2.0, v2.1 (a file per episode) or v3.0 (one file)."""
    (out / "meta").mkdir(parents=True)
    two = version.startswith("v2")
    file = "episode_{episode_index:06d}" if two else "file-{file_index:03d}"
    chunk = "chunk-{episode_chunk:03d}" if two else "chunk-{chunk_index:03d}"
    videos = f"{chunk}/{{video_key}}" if two else f"{{video_key}}/{chunk}"
    picture = {"dtype": "video" if video else "image", "shape": [SIDE, SIDE, 3]}
    values = {
        "codebase_version": version,
        "total_episodes": len(RECORDINGS),
        "total_frames": sum(recording.length for recording in RECORDINGS),
        "chunks_size": 1 if two else 1000,
        "fps": 10,
        "data_path": f"data/{chunk}/{file}.parquet",
        "video_path": f"videos/{videos}/{file}.mp4",
        "features": {
            names.agentview: picture,
            names.wrist: picture,
            names.state: {"dtype": "float32", "shape": [8], "names": ["state"]},
            names.action: {"dtype": "float32", "shape": [7], "names": ["actions"]},
        },
    }
    (out / "meta/info.json").write_text(json.dumps(values | info))
    tables = [_table(recording, names, video) for recording in RECORDINGS]
    if two:
        _write_v2(out, names, tables, video)
    else:
        _write_v3(out, tables)
    return out


def _table(recording: Recording, names: Names, video: bool) -> pa.Table:
    action = recording.action.copy()
    action[:, 6] = names.gripper(action[:, 6])
    t = np.arange(recording.length)
    columns: dict[str, Any] = {
        names.state: list(recording.state),
        names.action: list(action),
        "frame_index": t,
        "episode_index": np.full(recording.length, recording.number),
        "task_index": np.zeros(recording.length, np.int64),
    }
    if not video:
        for key, camera in ((names.agentview, "agentview"), (names.wrist, "wrist")):
            columns[key] = [
                {"bytes": _png(image), "path": f"frame_{i:06d}.png"}
                for i, image in enumerate(recording.images(camera))
            ]
    return pa.table(columns)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _json_lines(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_v2(out: Path, names: Names, tables: Sequence[pa.Table], video: bool) -> None:
    """With ``chunks_size`` 1, every episode has a folder of its own."""
    _json_lines(out / "meta/tasks.jsonl", [{"task_index": 0, "task": INSTRUCTION}])
    _json_lines(
        out / "meta/episodes.jsonl",
        [
            {"episode_index": r.number, "tasks": [INSTRUCTION], "length": r.length}
            for r in RECORDINGS
        ],
    )
    for recording, table in zip(RECORDINGS, tables, strict=True):
        place = f"chunk-{recording.number:03d}"
        name = f"episode_{recording.number:06d}"
        (out / "data" / place).mkdir(parents=True)
        pq.write_table(table, out / "data" / place / f"{name}.parquet")
        for key, camera in ((names.agentview, "agentview"), (names.wrist, "wrist")):
            if video:
                folder = out / "videos" / place / key
                folder.mkdir(parents=True)
                writer = VideoWriter(
                    folder / f"{name}.mp4", height=SIDE, width=SIDE, fps=10, h264=H264
                )
                writer.add(recording.images(camera))
                writer.close()


def _write_v3(out: Path, tables: Sequence[pa.Table]) -> None:
    (out / "data/chunk-000").mkdir(parents=True)
    (out / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.concat_tables(tables), out / "data/chunk-000/file-000.parquet")
    pq.write_table(
        pa.table({"task_index": [0], "__index_level_0__": [INSTRUCTION]}),
        out / "meta/tasks.parquet",
    )
    rows = [
        {
            "episode_index": recording.number,
            "length": recording.length,
            "data/chunk_index": 0,
            "data/file_index": 0,
        }
        for recording in RECORDINGS
    ]
    pq.write_table(pa.Table.from_pylist(rows), out / "meta/episodes/chunk-000/file-000.parquet")
