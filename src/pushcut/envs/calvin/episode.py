"""One episode at the play table: its sub-tasks in turn, and the time that each has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from pushcut.envs.calvin.experts.servo import View
from pushcut.envs.calvin.oracles import ORACLES, Info
from pushcut.envs.calvin.scenes import SCENES
from pushcut.envs.calvin.starts import Start
from pushcut.envs.calvin.world import World


class Episode:
    """A world in which sub-tasks are done one after another (a ``replayed.Scene``)."""

    def __init__(
        self, world: World, start_of_seed: Callable[[int], Start], *, subtask_steps: int
    ) -> None:
        """``subtask_steps``: control steps that a sub-task may take."""
        self.world = world
        self.start_state: Start
        self.now: Info
        """What holds after the last step."""
        self.reward = 0.0
        """1 where the last step did a sub-task."""
        self._start_of_seed, self._subtask_steps = start_of_seed, subtask_steps
        self._begun: Info
        self._place = self._steps = 0

    def start(self, seed: int) -> None:
        """Makes everything anew and places it as ``seed`` says."""
        self.start_state = self._start_of_seed(seed)
        self.world.start(self.start_state)
        self.reward = 0.0
        self.now = self._begun = self.world.info()
        self._place = self._steps = 0

    def step(self, action: Float32[np.ndarray, " 7"]) -> bool:
        """One control step; whether every sub-task is done."""
        self.world.step(action)
        self.now = self.world.info()
        self._steps += 1
        done = not self.all_done and ORACLES[self.subtask](self._begun, self.now)
        self.reward = float(done)
        if done:
            self._begun = self.now
            self._place, self._steps = self._place + 1, 0
        return self.all_done

    def close(self) -> None:
        """Releases the world."""
        self.world.close()

    @property
    def place(self) -> int:
        """Place of the sub-task that is to be done; the last one's where all are."""
        return min(self._place, len(self.start_state.subtasks) - 1)

    @property
    def subtask(self) -> str:
        """What is to be done."""
        return self.start_state.subtasks[self.place]

    @property
    def begun(self) -> Info:
        """What held when the sub-task began."""
        return self._begun

    def view(self) -> View:
        """What the experts look at."""
        world = self.world
        robot, scene = world.robot_obs(), world.scene_obs()
        return View(
            scene=SCENES[self.start_state.letter],
            hand=robot[:6],
            target=world.target.copy(),
            opening=float(robot[6]),
            button=float(scene[2]),
            switch=float(scene[3]),
            begun=self._begun,
            now=self.now,
        )

    @property
    def all_done(self) -> bool:
        """Whether every sub-task is done."""
        return self._place == len(self.start_state.subtasks)

    @property
    def out_of_time(self) -> bool:
        """Whether the sub-task was not done in its time."""
        return self._steps >= self._subtask_steps
