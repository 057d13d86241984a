"""Reads CALVIN's own recordings: a file for each control step, and sentences for stretches of them.

A folder (``training`` or ``validation``) holds ``episode_0123456.npz`` for each step, with
``rgb_static``, ``rgb_gripper``, ``rel_actions`` [7], ``robot_obs`` [15], ``scene_obs`` [24] and
more; ``ep_start_end_ids.npy``, first and last step of each recording; and
``lang_annotations/auto_lang_ann.npy``, a pickled dict: sentence, task, first and last step of each
stretch that has a sentence. A stretch is an episode here; what has no sentence is not read.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from pushcut.demos.dialects import CALVIN_NPZ, DataConfig, camera_names, joined, open_at_plus_one
from pushcut.demos.frames import CameraInfo, DatasetInfo, EpisodeInfo, Frames, readable
from pushcut.demos.images import Flip, ImageEdit
from pushcut.demos.pictures import Decode
from pushcut.demos.plain_pickles import read_plain
from pushcut.envs.calvin.scenes import CONTROL_HZ, ROBOT_NAMES, SCENE_NAMES
from pushcut.errors import UserError
from pushcut.system.machine import usable_cores
from pushcut.system.progress import bar

RECORDINGS = "ep_start_end_ids.npy"
SENTENCES = "auto_lang_ann.npy"
USUAL_FOLDER = "lang_annotations"

HAND, ROBOT, SCENE, ACTION = "hand", "robot_obs", "scene_obs", "rel_actions"
HAND_SIZE = 7
"""Numbers of ``robot_obs`` that are the hand's pose and opening: what the benchmark's policies see
of it, and this reader calls ``hand``."""
NAMES: Mapping[str, tuple[str, ...]] = {
    HAND: ROBOT_NAMES[:HAND_SIZE],
    ROBOT: ROBOT_NAMES,
    SCENE: SCENE_NAMES,
    ACTION: ("dx", "dy", "dz", "rx", "ry", "rz", "gripper"),
}
_AT_ONCE = 64
_MOST_THREADS = 8

T = TypeVar("T")


@dataclass(frozen=True)
class _Stretch:
    """Steps that have a sentence."""

    first: int
    last: int
    sentence: str
    task: str
    """The benchmark's name of the sub-task."""

    @property
    def steps(self) -> range:
        return range(self.first, self.last + 1)


def is_calvin(path: Path) -> bool:
    """Whether a folder holds recordings of CALVIN."""
    return path.is_dir() and ((path / RECORDINGS).is_file() or _sentences(path) is not None)


class CalvinSource:
    """One folder of recordings, ``training`` or ``validation``."""

    def __init__(self, path: Path, data: DataConfig) -> None:
        self.changes: list[str] = []
        self._path = path
        self._stretches = self._within_recordings(_stretches(path))
        with _opened(self._file(self._stretches[0].first)) as content:
            found = {key: content[key] for key in content}
        sizes = _rows_of_numbers(found)
        self._state = joined(path, "state", data.state or (HAND,), sizes)
        self._action = joined(path, "action", data.action or (ACTION,), sizes)
        self._dialect = CALVIN_NPZ.adjusted(data)
        cameras, others = _cameras(found)
        self._keys = camera_names(path, self._dialect, data, {key: key for key in cameras})
        tasks = {one.sentence: None for one in self._stretches}
        self._task_index = {sentence: index for index, sentence in enumerate(tasks)}
        self.info = DatasetInfo(
            path=path,
            fps=CONTROL_HZ,
            cameras={self._keys[key]: size for key, size in cameras.items()},
            state_size=sum(self._state.values()),
            action_size=sum(self._action.values()),
            tasks={index: sentence for sentence, index in self._task_index.items()},
            state_names=_names(self._state),
            action_names=_names(self._action),
            not_cameras=others,
        )
        self.episodes = [
            EpisodeInfo(index, len(one.steps), one.task, None, one.sentence)
            for index, one in enumerate(self._stretches)
        ]

    @property
    def flip(self) -> Flip:
        return self._dialect.flip

    def numbers(self, chosen: Sequence[EpisodeInfo]) -> Frames:
        stretches = [self._stretches[episode.index] for episode in chosen]
        self._check_all_there(stretches)
        steps = _steps(stretches)
        state = np.empty((len(steps), self.info.state_size), np.float32)
        action = np.empty((len(steps), self.info.action_size), np.float32)
        with bar("reading numbers", len(steps)) as progress:
            for row, rows in _in_threads(self._numbers_of, np.arange(len(steps)), steps):
                state[row], action[row] = rows
                progress.advance()
        lengths = [len(one.steps) for one in stretches]
        change = open_at_plus_one(self._path, self._dialect, state, action, lengths)
        self.changes += [change] if change else []
        task = np.repeat([self._task_index[one.sentence] for one in stretches], lengths)
        return Frames({}, state, action, task.astype(np.int64))

    def decoder(self, camera: str, chosen: Sequence[EpisodeInfo], edit: ImageEdit) -> Decode:
        key = next(key for key, name in self._keys.items() if name == camera)
        steps = _steps([self._stretches[episode.index] for episode in chosen])

        def image(step: int) -> np.ndarray:
            with _opened(file := self._file(step)) as content:
                found = _checked(file, content, key, (*edit.stored, 3))
            if found.dtype != np.uint8:
                raise UserError(f"{file}: {key} holds {found.dtype}, images are uint8")
            return edit(found)

        def decode(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
            return _in_threads(image, rows, steps[rows])

        return decode

    def _numbers_of(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """State and action of a step."""
        with _opened(file := self._file(step)) as content:
            return _row(file, content, self._state), _row(file, content, self._action)

    def _within_recordings(self, stretches: list[_Stretch]) -> list[_Stretch]:
        """The stretches that lie in one recording, as far as a file says where recordings are."""
        if not (file := self._path / RECORDINGS).is_file():
            return stretches
        with readable(file):
            bounds = np.load(file, allow_pickle=False).reshape(-1, 2)
            bounds = bounds[np.argsort(bounds[:, 0])]
            first = np.array([one.first for one in stretches])
            place = np.searchsorted(bounds[:, 0], first, side="right") - 1
            inside = (place >= 0) & ([one.last for one in stretches] <= bounds[place, 1])
        kept = [one for one, good in zip(stretches, inside, strict=True) if good]
        if not kept:
            raise UserError(
                f"{self._path}: no stretch of {SENTENCES} lies in what {RECORDINGS} lists"
            )
        if out := len(stretches) - len(kept):
            self.changes.append(
                f"{out} of {len(stretches)} stretches with a sentence lie in no recording of "
                f"{RECORDINGS} and are left out"
            )
        return kept

    def _check_all_there(self, stretches: Sequence[_Stretch]) -> None:
        """UserError where steps are missing, before the first is read."""
        missing = [
            (one, step) for one in stretches for step in one.steps if not self._file(step).is_file()
        ]
        if missing:
            one, step = missing[0]
            count = sum(len(x.steps) for x in stretches)
            raise UserError(
                f"{self._file(step)} is missing, in steps {one.first} to {one.last} of "
                f"{one.task!r}, as are {len(missing)} of {count} steps in all: complete the "
                "folder, or choose other episodes with --tasks or --episodes-per-task"
            )

    def _file(self, step: int) -> Path:
        return self._path / f"episode_{step:07d}.npz"


def _sentences(folder: Path) -> Path | None:
    """The file of sentences; some splits have several, of which the usual one comes first."""
    places = (folder / USUAL_FOLDER / SENTENCES, folder / SENTENCES)
    others = sorted(folder.glob(f"lang_*/{SENTENCES}"))
    return next((file for file in (*places, *others) if file.is_file()), None)


def _stretches(folder: Path) -> list[_Stretch]:
    """What has a sentence; UserError where there is nothing or the file says something else."""
    file = _sentences(folder)
    if file is None:
        raise UserError(
            f"{folder} has no {USUAL_FOLDER}/{SENTENCES}, which says what is done in which steps: "
            "without it there is nothing to tell a policy"
        )
    content = read_plain(file)
    with readable(file):
        told, spans = content["language"], content["info"]["indx"]
        rows = zip(spans, told["ann"], told["task"], strict=True)
        found = [_Stretch(int(a), int(b), str(text), str(task)) for (a, b), text, task in rows]
        if wrong := next((one for one in found if not 0 <= one.first <= one.last), None):
            raise ValueError(f"a stretch has steps {wrong.first} to {wrong.last}")
    if not found:
        raise UserError(f"{file} has no sentences")
    return found


@contextmanager
def _opened(file: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """Opens the file of a step, of which each array is read when it is asked for."""
    with readable(file):
        try:
            with np.load(file, allow_pickle=False) as content:
                yield content
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(error) from None


def _rows_of_numbers(content: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Arrays of a step that are a row of numbers, and the hand's part of one -> how many."""
    rows = {
        key: len(array)
        for key, array in content.items()
        if array.ndim == 1 and array.dtype.kind in "biuf"
    }
    return ({HAND: HAND_SIZE} if rows.get(ROBOT) == len(ROBOT_NAMES) else {}) | rows


def _row(file: Path, content: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> np.ndarray:
    """Rows of numbers of a step, joined."""
    parts = [
        _checked(file, content, ROBOT, (len(ROBOT_NAMES),))[:HAND_SIZE]
        if key == HAND
        else _checked(file, content, key, (size,))
        for key, size in sizes.items()
    ]
    row = np.concatenate(parts)
    if not np.isfinite(row).all():
        raise UserError(f"{file}: {' '.join(sizes)} holds missing or infinite numbers")
    return row


def _checked(
    file: Path, content: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...]
) -> np.ndarray:
    """An array of a step; UserError where it is not there or has not the shape of the first."""
    if key not in content:
        raise UserError(f"{file} has no {key}; it has {', '.join(content)}")
    found = content[key]
    if found.shape != shape:
        raise UserError(f"{file}: {key} has shape {found.shape}, not {shape}")
    return found


def _cameras(content: Mapping[str, np.ndarray]) -> tuple[dict[str, CameraInfo], dict[str, str]]:
    """Cameras with colours, and images that are none -> what they are instead."""
    cameras, others = {}, {}
    for key, array in content.items():
        if array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8:
            cameras[key] = CameraInfo(array.shape[0], array.shape[1])
        elif array.ndim >= 2:
            others[key] = f"has shape {array.shape} of {array.dtype}, not three colours of uint8"
    return cameras, others


def _names(sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Names of joined rows of numbers; none where the benchmark has no names for one."""
    known = all(len(NAMES.get(key, ())) == size for key, size in sizes.items())
    return tuple(name for key in sizes for name in NAMES[key]) if known else ()


def _steps(stretches: Iterable[_Stretch]) -> np.ndarray:
    """The step of each frame."""
    return np.concatenate([np.zeros(0, np.int64), *(np.array(one.steps) for one in stretches)])


def _in_threads(
    read: Callable[[int], T], rows: np.ndarray, steps: np.ndarray
) -> Iterator[tuple[int, T]]:
    """Rows, each with what is read of its step; few are held at a time."""
    with ThreadPoolExecutor(max(1, min(_MOST_THREADS, int(usable_cores())))) as pool:
        for begin in range(0, len(rows), _AT_ONCE):
            some = slice(begin, begin + _AT_ONCE)
            yield from zip(rows[some].tolist(), pool.map(read, steps[some].tolist()), strict=True)
