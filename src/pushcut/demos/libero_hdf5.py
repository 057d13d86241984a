"""Reads LIBERO's own demonstrations: an HDF5 file for each task, a folder for a suite.

``data/demo_*`` holds ``actions`` [T, 7], ``states`` [T, …] of the simulator and, in ``obs``,
``ee_states`` [T, 6] (position, axis-angle), ``gripper_states`` [T, 2], ``joint_states`` [T, 7]
and the images ``agentview_rgb`` and ``eye_in_hand_rgb`` [T, H, W, 3].
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pushcut.demos.dialects import LIBERO_HDF5, DataConfig, Dialect, open_at_plus_one
from pushcut.demos.frames import (
    CameraInfo,
    DatasetInfo,
    EpisodeInfo,
    Frames,
    empty_frames,
    image_edits,
    readable,
)
from pushcut.demos.images import Flip, ImageEdit
from pushcut.errors import UserError

SUFFIX = ".hdf5"
CONTROL_HZ = 20.0
"""LIBERO's control steps per second."""

_STATE = {"ee_states": 6, "gripper_states": 2}
"""Parts of the state in their order, and their sizes."""
_ACTION_SIZE = 7


@dataclass(frozen=True)
class _Demo:
    """One demonstration in one of the files."""

    file: Path
    group: str
    length: int
    """Frames after pairing."""
    late: bool
    """Whether its observations were recorded after the actions."""
    task_index: int


class LiberoHdf5Source:
    """A file of LIBERO's demonstrations, or a folder of them."""

    def __init__(self, path: Path, data: DataConfig) -> None:
        files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        flips: set[Flip] = set()
        sizes: dict[str, CameraInfo] = {}
        tasks: dict[str, int] = {}
        names: list[str | None] = []
        self._demos: list[_Demo] = []
        for file in files:
            with _opened(file) as content:
                name, instruction = task_of(file) or (None, _instruction(file, content))
                flips.add(_flip(content))
                sizes = sizes or _cameras(file, content)
                index = tasks.setdefault(instruction, len(tasks))
                found = _demos(file, content, index)
            self._demos += found
            names += [name] * len(found)
        self._dialect = _dialect(path, flips, data)
        self.info = DatasetInfo(
            path=path,
            fps=CONTROL_HZ,
            cameras={self._dialect.cameras[key]: size for key, size in sizes.items()},
            state_size=sum(_STATE.values()),
            action_size=_ACTION_SIZE,
            tasks={index: instruction for instruction, index in tasks.items()},
        )
        self.episodes = [
            EpisodeInfo(index, demo.length, name, None)
            for index, (demo, name) in enumerate(zip(self._demos, names, strict=True))
        ]

    def load(self, cameras: Sequence[str], image_size: int | None) -> Frames:
        info = self.info
        edits = image_edits(info, cameras, self._dialect.flip, image_size)
        lengths = [demo.length for demo in self._demos]
        frames = empty_frames(info, sum(lengths), edits)
        start = 0
        for demo in self._demos:
            with _opened(demo.file) as content:
                self._copy(demo, content, frames, slice(start, start + demo.length), edits)
            start += demo.length
        change = open_at_plus_one(info.path, self._dialect, frames.state, frames.action, lengths)
        frames.changes.extend([change] if change else [])
        if late := sum(demo.late for demo in self._demos):
            frames.changes.append(
                f"{late} of {len(lengths)} episodes: each observation is paired with the action "
                "after it, because they were recorded after the action stored beside them"
            )
        return frames

    def _copy(
        self,
        demo: _Demo,
        content: Mapping[str, Any],
        frames: Frames,
        rows: slice,
        edits: Mapping[str, ImageEdit],
    ) -> None:
        """Copies one demonstration to its rows."""
        group = content["data"][demo.group]
        seen, done = _pairing(demo.length, demo.late)
        stored = demo.length + demo.late
        where = f"{demo.file}: data/{demo.group}"
        parts = [
            _numbers(where, group, f"obs/{name}", (stored, size)) for name, size in _STATE.items()
        ]
        frames.state[rows] = np.concatenate(parts, axis=1)[seen]
        frames.action[rows] = _numbers(where, group, "actions", (stored, _ACTION_SIZE))[done]
        frames.task_index[rows] = demo.task_index
        keys = {name: key for key, name in self._dialect.cameras.items()}
        for camera, edit in edits.items():
            images = _array(where, group, f"obs/{keys[camera]}", (stored, *edit.stored, 3))
            for row, image in enumerate(images[seen], start=rows.start):
                frames.images[camera][row] = edit(image)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise UserError(
            'reading HDF5 needs h5py, which is not installed: pip install "pushcut[libero]"'
        ) from None
    return h5py


@contextmanager
def _opened(file: Path) -> Iterator[Mapping[str, Any]]:
    """Opens a file; turns any fault in it into one line that names it."""
    h5py = _h5py()
    # Locks fail on network file systems, and nobody writes here.
    with readable(file), h5py.File(file, "r", locking=False) as content:
        yield content


def _flip(content: Mapping[str, Any]) -> Flip:
    """Images lie upside down unless robosuite was told to store them as OpenCV does.

    The environment's images are the upside-down ones turned by 180 degrees.
    """
    convention = content["data"].attrs.get("macros_image_convention", "opengl")
    return "columns" if convention == "opencv" else LIBERO_HDF5.flip


def _dialect(path: Path, flips: set[Flip], data: DataConfig) -> Dialect:
    if len(flips) > 1 and data.flip is None:
        raise UserError(
            f"{path}: some files store upside-down images, some do not: put them into two folders"
        )
    return replace(LIBERO_HDF5, flip=flips.pop()).adjusted(data)


def task_of(file: Path) -> tuple[str, str] | None:
    """The environment's name of the task that a file is named after, and its instruction.

    The benchmark and all data sets made from it take the instruction from this name; a fourth
    of the files say something else inside (``Pick the …`` instead of ``pick up the …``).
    """
    if not file.stem.endswith("_demo"):
        return None
    name = file.stem.removesuffix("_demo")
    return name, re.sub(r"^[A-Z_]*SCENE\d+_", "", name).replace("_", " ")


def _instruction(file: Path, content: Mapping[str, Any]) -> str:
    """The instruction that is written in a file."""
    problem = content["data"].attrs.get("problem_info")
    if problem is None:
        raise UserError(
            f"{file} says no instruction: name it TASK_demo.hdf5 or give its group 'data' the "
            "attribute problem_info"
        )
    return "".join(json.loads(problem)["language_instruction"]).strip('"')


def _cameras(file: Path, content: Mapping[str, Any]) -> dict[str, CameraInfo]:
    """The cameras of the first demonstration of a file."""
    for group in _groups(file, content):
        obs = content["data"][group].get("obs", {})
        found = {key: obs[key].shape for key in LIBERO_HDF5.cameras if key in obs}
        if not found:
            raise UserError(
                f"{file} has no images (obs/{', obs/'.join(LIBERO_HDF5.cameras)}): make them "
                "with LIBERO's scripts/create_dataset.py --use-camera-obs"
            )
        return {key: CameraInfo(height, width) for key, (_, height, width, _) in found.items()}
    return {}


def _groups(file: Path, content: Mapping[str, Any]) -> list[str]:
    """Names of the demonstrations, in the order of their numbers."""
    numbers = (re.fullmatch(r"demo_(\d+)", name) for name in content["data"])
    found = sorted(int(match[1]) for match in numbers if match)
    if not found:
        raise UserError(f"{file} holds no demonstrations: its group 'data' has no demo_0, …")
    return [f"demo_{number}" for number in found]


def _demos(file: Path, content: Mapping[str, Any], task_index: int) -> list[_Demo]:
    demos = []
    for name in _groups(file, content):
        group = content["data"][name]
        late = _is_late(group)
        length = group["actions"].shape[0] - late
        if length < 1:
            raise UserError(f"{file}: data/{name} has no frames")
        demos.append(_Demo(file, name, length, late, task_index))
    return demos


def _is_late(group: Mapping[str, Any]) -> bool:
    """Whether a demonstration recorded observation t after action t.

    LIBERO's own files are like that (its issue 54), files that OpenVLA's script made anew are
    not. The simulator's state t is the one before action t and its numbers 1 … 7 are the
    robot's joints: they equal the observed joints of step t, or of step t - 1.
    """
    if "states" not in group or "joint_states" not in group.get("obs", {}):
        return False
    joints, states = group["obs/joint_states"][()], group["states"][()]
    if joints.shape[0] != states.shape[0] or joints.shape[0] < 2:
        return False
    same = np.abs(joints[1:] - states[1:, 1:8]).mean()
    earlier = np.abs(joints[:-1] - states[1:, 1:8]).mean()
    return bool(earlier < same)


def _pairing(length: int, late: bool) -> tuple[slice, slice]:
    """Rows of the observations and of the actions that belong together."""
    return slice(0, length), slice(int(late), length + late)


def _numbers(where: str, group: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = _array(where, group, name, shape)
    if not np.isfinite(values).all():
        raise UserError(f"{where}/{name} holds missing or infinite numbers")
    return values


def _array(where: str, group: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Reads a dataset of the shape that it should have; the shape is looked at first."""
    if name not in group:
        raise UserError(f"{where} has no {name}")
    if group[name].shape != shape:
        raise UserError(f"{where}/{name} has shape {group[name].shape}, not {shape}")
    return group[name][()]
