"""Demonstrations in memory, as supervised fine-tuning asks for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from pushcut.demos.dialects import DataConfig
from pushcut.demos.frames import DatasetInfo, Frames
from pushcut.demos.sources import open_source
from pushcut.demos.stats import FeatureStats, vector_stats
from pushcut.errors import UserError
from pushcut.types import Observation


@dataclass(frozen=True)
class DemoEpisode:
    """One episode of a dataset."""

    index: int
    """The ``episode_index`` in the dataset."""
    start: int
    """Row of its first frame in the loaded arrays."""
    length: int
    """Number of frames."""
    instruction: str
    """Instruction at the first frame of the episode."""
    task_name: str | None
    """The environment's name of the task, where pushcut collected the episode."""
    seed: int | None
    """Seed of the initial state, where pushcut collected the episode."""

    @property
    def task(self) -> str:
        """Identity of the task: its name, as scenes of libero_90 share some instructions."""
        return self.task_name or self.instruction


@dataclass(frozen=True)
class DemoDataset:
    """A dataset, or some of its episodes; frames are numbered 0 … len - 1."""

    info: DatasetInfo
    episodes: tuple[DemoEpisode, ...]
    frames: Frames
    """Frames of all episodes of the dataset, shared by its parts."""

    @staticmethod
    def open(
        path: Path,
        cameras: Iterable[str] | None = None,
        *,
        image_size: int | None = None,
        data: DataConfig = DataConfig(),  # noqa: B008 - frozen
    ) -> DemoDataset:
        """Loads a dataset with the images of the given cameras (all, if None).

        Raises UserError, in one line, for a path without demonstrations, a camera that it
        does not have, files that are damaged, or no episodes.

        Args:
            path: A LeRobot dataset, a file of LIBERO's demonstrations or a folder of them.
            cameras: The environment's names of the cameras.
            image_size: Side of square images to resize to; None leaves them as they are.
            data: Conventions that are not the usual ones of the dataset's layout.
        """
        source = open_source(path, data)
        info = source.info
        wanted = tuple(info.cameras) if cameras is None else tuple(cameras)
        if missing := [name for name in wanted if name not in info.cameras]:
            raise UserError(
                f"{path} has no camera {missing[0]!r}; it has {', '.join(info.cameras) or 'none'}"
            )
        frames = source.load(wanted, image_size)
        episodes, start = [], 0
        for one in source.episodes:
            instruction = info.tasks[int(frames.task_index[start])] if one.length else ""
            episodes.append(
                DemoEpisode(one.index, start, one.length, instruction, one.task_name, one.seed)
            )
            start += one.length
        return DemoDataset(info, tuple(episodes), frames)

    def __len__(self) -> int:
        return sum(episode.length for episode in self.episodes)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The different instructions, in the order of their first episodes."""
        return tuple(dict.fromkeys(episode.instruction for episode in self.episodes))

    def batch(
        self, indices: Sequence[int] | np.ndarray, horizon: int
    ) -> tuple[Observation, Float32[np.ndarray, "b h a"], Bool[np.ndarray, "b h"]]:
        """Observations of frames, the next ``horizon`` actions of each, and which exist.

        Past the end of its episode a chunk repeats the last action, marked invalid.
        """
        if horizon < 1:
            raise ValueError(f"horizon must be >= 1, got {horizon}")
        rows, stops = self._rows_and_stops
        row = rows[np.asarray(indices, dtype=np.int64)]
        stop = stops[np.asarray(indices, dtype=np.int64)]
        step = row[:, None] + np.arange(horizon)
        valid = step < stop[:, None]
        action = self.frames.action[np.minimum(step, stop[:, None] - 1)]
        return self._observation(row), action, valid

    def statistics(self) -> dict[str, FeatureStats]:
        """Exact statistics of ``state`` and ``action`` over the frames of these episodes."""
        rows, _ = self._rows_and_stops
        if not len(rows):
            raise UserError(f"{self.info.path}: no frames to compute statistics of")
        return {
            "state": vector_stats(self.frames.state[rows]),
            "action": vector_stats(self.frames.action[rows]),
        }

    def split(self, validation_fraction: float, seed: int) -> tuple[DemoDataset, DemoDataset]:
        """Splits by episodes, at random, into training and validation.

        At least one episode goes to either side, unless the fraction is 0.
        """
        if not 0 <= validation_fraction < 1:
            raise ValueError(f"validation_fraction must be in [0, 1), got {validation_fraction}")
        count = len(self.episodes)
        if validation_fraction == 0:
            return self, replace(self, episodes=())
        if count < 2:
            raise UserError(
                f"{self.info.path}: a validation split needs 2 episodes or more, there is "
                f"{count}: set the validation fraction to 0"
            )
        held_out = min(max(round(validation_fraction * count), 1), count - 1)
        order = np.random.default_rng(seed).permutation(count)
        chosen = set(order[:held_out].tolist())
        parts = ([], [])
        for index, episode in enumerate(self.episodes):
            parts[index in chosen].append(episode)
        training, validation = (replace(self, episodes=tuple(part)) for part in parts)
        return training, validation

    def only(self, tasks: Collection[str]) -> DemoDataset:
        """Keeps the episodes of some tasks.

        Tasks are named as the environment does, or by their instructions where the dataset has
        no such names.
        """
        names = [episode.task for episode in self.episodes]
        if missing := [task for task in tasks if task not in names]:
            have = ", ".join(dict.fromkeys(names))
            raise UserError(f"{self.info.path} has no demonstrations of {missing}; it has {have}")
        pairs = zip(self.episodes, names, strict=True)
        return replace(self, episodes=tuple(episode for episode, name in pairs if name in tasks))

    def take(self, episodes_per_task: int) -> DemoDataset:
        """Keeps the first episodes of each task (1: the paper's One-trajectory SFT)."""
        if episodes_per_task < 1:
            raise ValueError(f"episodes_per_task must be >= 1, got {episodes_per_task}")
        kept: dict[str, list[DemoEpisode]] = {episode.task: [] for episode in self.episodes}
        for episode in self.episodes:
            if len(kept[episode.task]) < episodes_per_task:
                kept[episode.task].append(episode)
        for task, episodes in kept.items():
            if len(episodes) < episodes_per_task:
                raise UserError(
                    f"{self.info.path} has {len(episodes)} episodes of {task!r}, "
                    f"{episodes_per_task} were asked for"
                )
        chosen = {episode.index for episodes in kept.values() for episode in episodes}
        return replace(self, episodes=tuple(e for e in self.episodes if e.index in chosen))

    @cached_property
    def _rows_and_stops(self) -> tuple[np.ndarray, np.ndarray]:
        """For each frame: its row in ``frames``, and the row after its episode's last."""
        spans = [(e.start, e.start + e.length) for e in self.episodes]
        rows = [np.arange(start, stop) for start, stop in spans]
        stops = [np.full(stop - start, stop) for start, stop in spans]
        empty = np.zeros(0, np.int64)
        return np.concatenate([empty, *rows]), np.concatenate([empty, *stops])

    def _observation(self, rows: np.ndarray) -> Observation:
        frames = self.frames
        return Observation(
            images={name: images[rows] for name, images in frames.images.items()},
            state=frames.state[rows],
            instruction=[self.info.tasks[int(index)] for index in frames.task_index[rows]],
        )
