"""Episodes of one task: exact resets by loading anew, snapshots by playing again, pictures.

This module imports the simulator, so it is itself imported late, by ``env``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.calvin.contacts import Watch
from pushcut.envs.calvin.episode import Episode
from pushcut.envs.calvin.experts import action
from pushcut.envs.calvin.pictures import Pictures, Renderer
from pushcut.envs.calvin.starts import Start, letter_of, start_of
from pushcut.envs.calvin.world import World
from pushcut.envs.replayed import ReplayedSimulator


class Looks:
    """The scenes as they are drawn, each made when it is first seen."""

    def __init__(self, folder: Path, renderer: Renderer) -> None:
        self._folder: Path = folder
        self._renderer: Renderer = renderer
        self._made: dict[str, Pictures] = {}

    def of(self, letter: str) -> Pictures:
        """A scene's."""
        if letter not in self._made:
            self._made[letter] = Pictures(self._folder, letter, self._renderer)
        return self._made[letter]

    def close(self) -> None:
        """Releases all of them."""
        for pictures in self._made.values():
            pictures.close()
        self._made.clear()


class TaskSimulator(ReplayedSimulator[Episode]):
    """One task. Actions are the benchmark's own."""

    def __init__(
        self,
        task: str,
        letters: str,
        folder: Path,
        looks: Looks,
        watch: Watch,
        *,
        kind: str,
        subtask_steps: int,
        scenes: int,
    ) -> None:
        """``letters``: scenes among which the seed draws; ``kind``: of state."""
        super().__init__(scenes=scenes)
        self._task, self._letters = task, letters
        self._folder, self._looks, self._watch = folder, looks, watch
        self._kind, self._subtask_steps = kind, subtask_steps

    def numbers(self) -> Float32[np.ndarray, " s"]:
        """The state that a policy sees."""
        world = self.now.world
        robot = world.robot_obs()
        kinds = {"hand": robot[:7], "all": robot}
        if self._kind in kinds:
            return kinds[self._kind].astype(np.float32)
        return np.concatenate([robot[:7], world.scene_obs()]).astype(np.float32)

    def picture(self, camera: str, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """What a camera sees."""
        episode = self.now
        return self._looks.of(episode.start_state.letter).draw(episode.world, camera, size)

    def expert_action(self) -> Float32[np.ndarray, " 7"]:
        """The scripted expert's for the sub-task; NotImplementedError where there is none."""
        return action(self.now.subtask, self.now.view())

    def _make(self) -> Episode:
        return Episode(
            World(self._folder, self._watch),
            partial(_start, self._task, self._letters),
            subtask_steps=self._subtask_steps,
        )


def _start(task: str, letters: str, seed: int) -> Start:
    return start_of(task, letter_of(letters, seed), seed)
