"""Videos of a dataset: many episodes one after another in a file, found by their frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pushcut.demos.images import ImageEdit
from pushcut.demos.lerobot.features import StoredCamera
from pushcut.demos.lerobot.layout import INFO_PATH
from pushcut.demos.lerobot.meta import LeRobotMeta, StoredEpisode
from pushcut.demos.lerobot.rows import Rows
from pushcut.errors import UserError
from pushcut.system.git_lfs import FETCH, is_pointer
from pushcut.system.video import VideoIndex

_RATES = 0.01
"""Rates of a video and its rows that differ by this share are the same."""

_TOLERANCE = 0.25
"""A start may be as far from a frame, in frames, for sums of rounded seconds are not exact."""


class VideoDecoder:
    """Decodes frames of a camera of some episodes.

    ``meta`` tells the second at which an episode starts in its file. These are sums, which
    tools get wrong: where a file has exactly the frames of its episodes, these lie one after
    another, and the seconds only tell their order.
    """

    def __init__(
        self,
        meta: LeRobotMeta,
        episodes: Sequence[StoredEpisode],
        rows: Rows,
        camera: StoredCamera,
        edit: ImageEdit,
        chosen: Sequence[int],
    ) -> None:
        self._meta, self._rows, self._edit, self._key = meta, rows, edit, camera.key
        self.changes: list[str] = []
        self._indices: dict[Path, VideoIndex] = {}
        self._in_file: dict[Path, list[StoredEpisode]] = {}
        wanted = set(chosen)
        for episode in episodes:
            if self._key in episode.videos:
                self._in_file.setdefault(episode.videos[self._key][0], []).append(episode)
            elif episode.index in wanted:
                raise UserError(
                    f"{meta.list_path} does not say where the video of {self._key} of episode "
                    f"{episode.index} is"
                )
        self._files: list[Path] = []
        files, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        by_episode = {}
        for path, inside in self._in_file.items():
            if any(episode.index in wanted for episode in inside):
                self._files.append(path)
                by_episode |= {
                    index: (len(self._files) - 1, places)
                    for index, places in self._frames_in(path, inside).items()
                }
        for index in chosen:
            file, places = by_episode[index]
            files.append(np.full(len(places), file))
            numbers.append(places)
        self._file, self._number = np.concatenate(files), np.concatenate(numbers)

    def __call__(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        file, number = self._file[rows], self._number[rows]
        for which in np.unique(file).tolist():
            here = np.flatnonzero(file == which)
            here = here[np.argsort(number[here])]
            path = self._files[which]
            frames = self._decoded(path, number[here])
            for row, (_, frame) in zip(rows[here].tolist(), frames, strict=True):
                if frame.shape[:2] != self._edit.stored:
                    (height, width), (high, wide) = frame.shape[:2], self._edit.stored
                    raise UserError(
                        f"{path} holds frames of {height}x{width}, its meta/info.json says "
                        f"{high}x{wide}"
                    )
                yield row, self._edit(frame)

    def _decoded(self, path: Path, numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        try:
            yield from self._index(path).frames(numbers)
        except OSError as error:
            raise _broken(path, error) from None

    def _index(self, path: Path) -> VideoIndex:
        if path not in self._indices:
            try:
                self._indices[path] = VideoIndex.of(path)
            except OSError as error:
                raise _broken(path, error) from None
        return self._indices[path]

    def _frames_in(self, path: Path, inside: Sequence[StoredEpisode]) -> dict[int, np.ndarray]:
        """Frame numbers of each episode of a file."""
        count = len(self._index(path))
        seconds = np.array([episode.videos[self._key][1] for episode in inside])
        lengths = np.array([episode.length for episode in inside])
        begins = np.zeros(len(inside), np.int64)
        if count == lengths.sum() and self._in_order(seconds, lengths):
            order = np.argsort(seconds, kind="stable")
            begins[order] = np.cumsum(lengths[order]) - lengths[order]
            self._tell_drift(path, np.abs(seconds - begins / self._meta.info.fps).max())
            return {e.index: b + np.arange(e.length) for e, b in zip(inside, begins, strict=True)}
        rate = self._rate(path, int(lengths.sum()))
        begins = seconds * rate
        found, taken = {}, np.full(count, -1)
        for episode, begin, second in zip(inside, begins, seconds, strict=True):
            steps = self._frame_index(episode) * (rate / self._meta.info.fps)
            places = np.round(begin + steps).astype(np.int64)
            self._check(path, episode, float(second), places, taken, rate)
            taken[places] = episode.index
            found[episode.index] = places
        if len(inside) == 1 and seconds[0] == 0 and rate == self._meta.info.fps:
            self._tell_longer(path, inside[0], count)
        return found

    def _rate(self, path: Path, rows: int) -> float:
        """Frames of a video per second, where they are others than the rows; UserError if fewer."""
        own, fps, count = self._index(path).rate, self._meta.info.fps, len(self._index(path))
        if own is None or abs(own - fps) <= _RATES * fps:
            return fps
        told = f"{path} has {own:g} frames per second, {count} in all, {INFO_PATH} says {fps:g}"
        if own < fps or count < rows:
            raise UserError(f"{told}: its {rows} rows would share frames")
        self.changes.append(f"{told}: each row sees the frame that is shown at its time")
        return own

    def _tell_longer(self, path: Path, episode: StoredEpisode, count: int) -> None:
        if count > (last := int(self._frame_index(episode).max(initial=-1)) + 1):
            self.changes.append(
                f"{path.name} has {count} frames, episode {episode.index} ends after {last}: the "
                "rest is not read"
            )

    def _in_order(self, seconds: np.ndarray, lengths: np.ndarray) -> bool:
        """Whether the seconds tell the order: they grow with the episodes, or are all exact."""
        if (np.diff(seconds) > 0).all():
            return True
        order = np.argsort(seconds, kind="stable")
        exact = (np.cumsum(lengths[order]) - lengths[order]) / self._meta.info.fps
        return bool(np.abs(seconds[order] - exact).max() * self._meta.info.fps < 0.5)

    def _tell_drift(self, path: Path, seconds: float) -> None:
        if seconds * self._meta.info.fps >= 0.5 + _TOLERANCE:
            self.changes.append(
                f"{self._meta.list_path}: from_timestamp of {self._key} is wrong by up to "
                f"{seconds:.3f} s, but {path.name} has exactly the frames of its episodes: they "
                "are taken one after another"
            )

    def _frame_index(self, episode: StoredEpisode) -> np.ndarray:
        return self._rows.frame[self._rows.of(episode.index)]

    def _check(
        self,
        path: Path,
        episode: StoredEpisode,
        second: float,
        places: np.ndarray,
        taken: np.ndarray,
        fps: float,
    ) -> None:
        """Refuses a start at no frame, frames that are not there and those of two episodes."""
        if not len(places):
            return
        listed = self._meta.list_path
        told = (
            f"{listed}: from_timestamp of {self._key} puts episode {episode.index} at "
            f"{second:g} s, frames {places[0]} to {places[-1]} of {path}"
        )
        if second == 0 and len(self._in_file[path]) == 1 and places[-1] >= len(taken):
            raise UserError(
                f"{path} has {len(taken)} frames, {listed} says that episode {episode.index} has "
                f"{episode.length}"
            )
        if places[0] < 0 or places[-1] >= len(taken):
            raise UserError(f"{told}, which has {len(taken)} frames")
        if abs(second * fps - round(second * fps)) > _TOLERANCE:
            raise UserError(f"{told}; at {fps:g} frames per second no frame begins there")
        if (other := taken[places].max()) >= 0:
            raise UserError(f"{told}, where episode {other} lies")


def _broken(path: Path, error: OSError) -> UserError:
    if not path.exists():
        return UserError(f"{path} is missing: the dataset is incomplete")
    if is_pointer(path):
        return UserError(f"{path} {FETCH}")
    return UserError(f"{path} is corrupted or truncated ({error})")
