"""CALVIN: a Franka arm at a play table, five instructions in a row (Mees et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.base import EnvConfig
from pushcut.envs.calvin import assets
from pushcut.envs.calvin.chains import LENGTH, OFFICIAL
from pushcut.envs.calvin.scenes import (
    CAMERAS,
    CONTROL_HZ,
    ROBOT_NAMES,
    SCENE_NAMES,
    SCENES,
    SUBSTEPS,
)
from pushcut.envs.calvin.starts import CHAIN
from pushcut.envs.calvin.tasks import TASKS
from pushcut.envs.resized import resized
from pushcut.envs.telling import ContactReader, TellingEnv
from pushcut.types import EnvSpec

if TYPE_CHECKING:
    from pushcut.envs.calvin.simulator import TaskSimulator

STATES = {
    "hand": ROBOT_NAMES[:7],
    "all": ROBOT_NAMES,
    "objects": (*ROBOT_NAMES[:7], *SCENE_NAMES),
}
"""Kind of state -> names of its numbers."""
RENDERERS = ("tiny", "egl")


@dataclass(frozen=True)
class CalvinConfig(EnvConfig):
    """Describes a ``CalvinEnv``."""

    simulator = "calvin"
    tells_events = True

    tasks: tuple[str, ...] = (CHAIN,)
    """What is played: chain (five sub-tasks in a row), or some of the 34 sub-tasks, such as
    open_drawer or lift_red_block_table."""
    scene: str = "D"
    """A, B, C or D; or several, as ABC, among which the seed draws."""
    assets: str = ""
    """A checkout of mees/calvin, or of mees/calvin_env, or its data folder; else $CALVIN_ASSETS."""
    wording: str = "validation"
    """The benchmark's sentences: validation (one for each sub-task, of its evaluation) or training
    (7 to 20 for each, none of which is among the former); the seed draws one."""
    state: str = "hand"
    """What the policy sees: hand (its pose and opening, 7 numbers, as RLinf), all (with joints and
    the gripper's last action, 15) or objects (the hand, and door, drawer, lights and blocks, 31),
    for policies without cameras."""
    cameras: tuple[str, ...] = tuple(CAMERAS)
    """Cameras: static, gripper, or none."""
    image_size: int = 200
    """Height and width of the images, pixels."""
    gripper_pixels: int = 84
    """Height and width in which the gripper camera's images are drawn at most, before they are
    enlarged: the benchmark's data have no more."""
    renderer: str = "tiny"
    """What draws: tiny (pybullet's own, on the CPU) or egl (OpenGL, shaded otherwise: what the
    benchmark's data sets are drawn with)."""
    subtask_steps: int = 360
    """Control steps that a sub-task may take (the benchmark: 360; RLinf's evaluation: 480)."""
    max_steps: int = 0
    """Time limit of an episode, control steps; 0: as many as its sub-tasks may take (RLinf's
    training: 480 for a whole chain)."""
    scenes: int = 8
    """Episodes that a process keeps in the simulator, 46 MB each. With more under way it is slower,
    because an episode that was put aside is played again."""

    def __post_init__(self) -> None:
        self._check_tasks()
        _check_choice("wording", self.wording, assets.WORDINGS)
        _check_choice("state", self.state, STATES)
        _check_choice("renderer", self.renderer, RENDERERS)
        if not self.scene or len(set(self.scene)) < len(self.scene) or set(self.scene) - {*SCENES}:
            raise ValueError(f"scene must be one or several of A, B, C, D, got {self.scene!r}")
        if isinstance(self.cameras, str) or len(set(self.cameras)) < len(self.cameras):
            raise ValueError(f"cameras is a tuple of different names, got {self.cameras!r}")
        if unknown := sorted(set(self.cameras) - set(CAMERAS)):
            raise ValueError(f"unknown cameras {unknown}; have {', '.join(CAMERAS)}")
        for name in ("image_size", "gripper_pixels"):
            if not 16 <= getattr(self, name) <= 2048:
                raise ValueError(f"{name} must be in 16..2048, got {getattr(self, name)}")
        if self.subtask_steps < 1 or self.scenes < 1 or self.max_steps < 0:
            raise ValueError(
                "subtask_steps and scenes must be >= 1 and max_steps >= 0, got "
                f"{self.subtask_steps}, {self.scenes} and {self.max_steps}"
            )

    def _check_tasks(self) -> None:
        if isinstance(self.tasks, str):
            raise ValueError("tasks is a tuple of names, got one string")
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks must name different tasks, at least one, got {self.tasks}")
        if unknown := sorted(set(self.tasks) - {CHAIN, *TASKS}):
            raise ValueError(f"unknown tasks {unknown}; have {CHAIN}, {', '.join(TASKS)}")
        if CHAIN in self.tasks and len(self.tasks) > 1:
            raise ValueError(
                f"{CHAIN} and sub-tasks have other time limits: play one or the other, or a mix"
            )

    @property
    def title(self) -> str:
        return "CALVIN"

    @property
    def robot_type(self) -> str:
        return "panda"

    @property
    def all_tasks(self) -> tuple[str, ...]:
        return (CHAIN, *TASKS)

    @property
    def told(self) -> Mapping[str, tuple[str, ...]]:
        """Sub-task -> the benchmark's sentences; its name as words where no checkout has them."""
        found = assets.sentences(self.assets, self.wording)
        return found or {name: (assets.plain_words(name),) for name in TASKS}

    @property
    def spec(self) -> EnvSpec:
        told = self.told
        every = tuple(dict.fromkeys(text for texts in told.values() for text in texts))
        texts = {task: every if task == CHAIN else told[task] for task in self.tasks}
        names = STATES[self.state]
        chained = CHAIN in self.tasks
        subtasks = LENGTH if chained else 1
        return EnvSpec(
            tasks={task: said[0] for task, said in texts.items()},
            cameras=dict.fromkeys(self.cameras, (self.image_size, self.image_size)),
            state_size=len(names),
            action_size=7,
            action_low=(-1.0,) * 7,
            action_high=(1.0,) * 7,
            max_steps=self.max_steps or subtasks * self.subtask_steps,
            sim_steps_per_control=SUBSTEPS,
            control_hz=CONTROL_HZ,
            state_names=names,
            action_names=("dx", "dy", "dz", "rx", "ry", "rz", "gripper"),
            fixed_inits=OFFICIAL if chained else 0,
            wordings={task: said for task, said in texts.items() if len(said) > 1},
            stages={CHAIN: LENGTH} if chained else {},
        )

    @property
    def episodes_kept(self) -> int:
        return self.scenes

    @property
    def tasks_kept(self) -> int:
        """Each task keeps scenes of its own."""
        return 1

    @property
    def memory_mb(self) -> tuple[float, float]:
        """Episodes have no looks; each scene's are there once."""
        looks = 110.0 * len(self.scene) if self.cameras else 0.0
        return 60.0 + looks, 46.0 * self.scenes

    def check_drawing(self, *, films: bool) -> None:
        del films  # it draws anywhere, also without a camera
        assets.data_folder(self.assets, self.scene)
        assets.check_sentences(self.assets, self.wording)

    def build(self) -> CalvinEnv:
        """Imports pybullet and makes the environment; worlds come with their episodes.

        Raises UserError where files are missing.
        """
        return CalvinEnv(self)


class CalvinEnv(TellingEnv):
    """A Franka arm at a table with a drawer, a sliding door, a button, a switch and three blocks.

    Action (30 Hz): 0 ``dx``, 1 ``dy``, 2 ``dz``: displacement of the hand's target, of 2 cm at 1;
    3 ``rx``, 4 ``ry``, 5 ``rz``: change of its Euler angles xyz, of 0.05 rad at 1; both in the
    world's axes, from where the actions so far wanted the hand to be. 6 ``gripper``: its sign
    alone counts, and 0 opens. Bounds are ±1.
    State: 0-2 the hand, metres; 3-5 its Euler angles, radians; 6 distance of the fingers, metres;
    with ``state`` all also 7-13 the joints, radians, and 14 the gripper's last action; with objects
    7 door, 8 drawer, 9 button, 10 switch, metres, 11 bulb, 12 LED, and each block's position and
    Euler angles. The target is not in it.
    Images: ``static``, in front of the table; ``gripper``, on the hand.
    Instruction: one of the benchmark's sentences for the sub-task; it changes with it.
    Initial state: chain: seeds 0-999 are the benchmark's evaluation, others are drawn by the rule
    that made it; the scene's own regions are taken where the benchmark's places do not fit (B and
    C). Sub-task: drawn by the seed among conditions that allow it.
    Reward: 1 in the control step in which a sub-task is done, else 0, so up to 5 for a chain.
    Success: all sub-tasks are done, by the benchmark's conditions (see ``oracles``); terminates. A
    chain is also terminated, without success, by the first sub-task that takes too long. Truncates
    at the time limit.
    Expert: scripts from state alone, of each sub-task; in a chain that of the one that is to be
    done.

    The world is loaded anew for each episode: only then is what follows exact. Episodes that take
    turns keep worlds of their own (see ``envs.replayed``).
    """

    def __init__(self, config: CalvinConfig) -> None:
        folder = assets.data_folder(config.assets, config.scene)
        assets.check_sentences(config.assets, config.wording)
        from pushcut.envs.calvin.contacts import Watch
        from pushcut.envs.calvin.simulator import Looks, TaskSimulator

        super().__init__(config.spec, max_sim_steps=config.spec.max_steps * SUBSTEPS)
        self._simulator_type = TaskSimulator
        self._config, self._folder, self._told = config, folder, config.told
        self._watch = Watch()
        self._looks = Looks(folder, "egl" if config.renderer == "egl" else "tiny")

    def render(self, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """What the first camera sees; the static one's view where there is none."""
        return self._now.picture(next(iter(self.spec.cameras), "static"), size)

    def close(self) -> None:
        super().close()
        self._looks.close()

    def _make_simulator(self, task: str) -> TaskSimulator:
        config = self._config
        return self._simulator_type(
            task,
            config.scene,
            self._folder,
            self._looks,
            self._watch,
            kind=config.state,
            subtask_steps=config.subtask_steps,
            scenes=config.scenes,
        )

    @property
    def _contacts(self) -> ContactReader:
        return self._now.now.world.contacts

    def _instruction(self) -> str:
        init = self._episode()
        if init.task not in self.spec.wordings:  # another was asked for, or there is only one
            return self.spec.tasks[init.task]
        episode = self._now.now
        texts = self._told[episode.subtask]
        return texts[int(np.random.default_rng((init.seed, episode.place)).integers(len(texts)))]

    def _reward(self, success: bool) -> float:
        return self._now.now.reward

    def _failed(self) -> bool:
        return self._episode().task == CHAIN and self._now.now.out_of_time

    def _images(self) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
        return {name: self._picture(name) for name in self.spec.cameras}

    def _picture(self, camera: str) -> UInt8[np.ndarray, "size size 3"]:
        size = self._config.image_size
        drawn = size if camera == "static" else min(size, self._config.gripper_pixels)
        image = self._now.picture(camera, drawn)
        return image if drawn == size else resized(image, size, size).round().astype(np.uint8)

    def _state(self) -> Float32[np.ndarray, " s"]:
        return self._now.numbers()


def _check_choice(name: str, value: str, known: Mapping[str, object] | tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
