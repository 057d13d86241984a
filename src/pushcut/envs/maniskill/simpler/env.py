"""SIMPLER: a WidowX arm in front of photographs (Li et al. 2024; ``mani_skill`` 3.0.1)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.base import EnvConfig
from pushcut.envs.episodes import EpisodicEnv
from pushcut.envs.isolated.simulators import home, installed
from pushcut.envs.maniskill.devices import check_playing, say_device, say_licence
from pushcut.envs.maniskill.simpler.assets import (
    VARIABLE,
    asset_folder,
    check,
    task_files,
    with_stand_ins,
)
from pushcut.envs.maniskill.simpler.tasks import FIXED_INITS, TASKS
from pushcut.errors import UserError
from pushcut.types import EnvSpec

if TYPE_CHECKING:
    from pushcut.envs.maniskill.simpler.simulator import TaskSimulator

CAMERA = "3rd_view_camera"
CONTROL_HZ = 5.0
"""Control steps per second of simulated time."""
PHYSICS_STEPS = 100
"""Simulator steps per control step."""
SHADERS = ("default", "minimal")
ASPECTS = ("pad", "squeeze")
STATE_NAMES = (
    "waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate",
    "left_finger", "right_finger",
)  # fmt: skip
NO_PICTURES = (
    f"there are no pictures without a camera: --env.cameras {CAMERA} (it needs Vulkan: pushcut "
    "doctor)"
)


def check_looks(config: Any) -> None:
    """ValueError for tasks that are not different names, and pictures that cannot be."""
    if isinstance(config.tasks, str) or isinstance(config.cameras, str):
        raise ValueError("tasks and cameras are tuples of names, got one string")
    if not config.tasks or len(set(config.tasks)) < len(config.tasks):
        raise ValueError(f"tasks must name different tasks, at least one, got {config.tasks}")
    if config.cameras not in ((), (CAMERA,)):
        raise ValueError(f"unknown cameras {config.cameras}; have {CAMERA}, or none")
    if config.image_size % 8 or not 32 <= config.image_size <= 2048:
        raise ValueError(f"image_size must be a multiple of 8 in 32..2048: {config.image_size}")
    if config.aspect not in ASPECTS:
        raise ValueError(f"aspect must be one of {', '.join(ASPECTS)}, got {config.aspect!r}")
    if config.shader not in SHADERS:
        raise ValueError(f"shader must be one of {', '.join(SHADERS)}, got {config.shader!r}")


@dataclass(frozen=True)
class SimplerConfig(EnvConfig):
    """Describes a ``SimplerEnv``."""

    simulator = "maniskill"

    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks: PutSpoonOnTableClothInScene-v1, PutCarrotOnPlateInScene-v1,
    StackGreenCubeOnYellowCubeBakedTexInScene-v1, PutEggplantInBasketScene-v1."""
    cameras: tuple[str, ...] = (CAMERA,)
    """Cameras: 3rd_view_camera, or none. It needs Vulkan (see `pushcut doctor`)."""
    image_size: int = 640
    """Height and width of the images, pixels."""
    aspect: str = "pad"
    """How the published 4 : 3 becomes a square: pad (black above and below, as openpi does it; with
    640 pixels the middle is the published picture) or squeeze (all of it, drawn narrower)."""
    shader: str = "default"
    """How ManiSkill draws: default (as published) or minimal, which is twice as fast."""
    render_device: str = "auto"
    """What draws: auto (a GPU with Vulkan where there is one, else the CPU), cpu, cuda, cuda:N."""
    max_steps: int = 60
    """Time limit, control steps (ManiSkill: 60, the eggplant 120; pi_RL: 48)."""
    stand_ins: bool = False
    """Play with stand-ins for the tables and the eggplant's looks where their files are missing.
    The tables are never seen."""
    scenes: int = 8
    """Episodes that a process keeps in the simulator. With more under way it is slower, because an
    episode that was put aside is played again."""

    def __post_init__(self) -> None:
        check_looks(self)
        if unknown := sorted(set(self.tasks) - set(TASKS)):
            raise ValueError(f"unknown tasks {unknown}; have {sorted(TASKS)}")
        check_playing(self.render_device, self.max_steps, self.scenes)

    @property
    def title(self) -> str:
        return "SIMPLER"

    @property
    def robot_type(self) -> str:
        return "widowx"

    @property
    def all_tasks(self) -> tuple[str, ...]:
        return tuple(TASKS)

    @property
    def spec(self) -> EnvSpec:
        size = (self.image_size, self.image_size)
        return EnvSpec(
            tasks={task: TASKS[task].instruction for task in self.tasks},
            cameras=dict.fromkeys(self.cameras, size),
            state_size=len(STATE_NAMES),
            action_size=7,
            action_low=(-1.0,) * 7,
            action_high=(1.0,) * 7,
            max_steps=self.max_steps,
            sim_steps_per_control=PHYSICS_STEPS,
            control_hz=CONTROL_HZ,
            fixed_inits=FIXED_INITS,
            state_names=STATE_NAMES,
            action_names=("dx", "dy", "dz", "rx", "ry", "rz", "gripper"),
        )

    @property
    def episodes_kept(self) -> int:
        return self.scenes

    @property
    def memory_mb(self) -> tuple[float, float]:
        """The spoon's, which is the largest; a scene keeps what it draws on."""
        pictures = 85 * self.scenes * (self.image_size / 640) ** 2 if self.cameras else 0
        return 430.0, 340.0 + pictures

    def check_drawing(self, *, films: bool) -> None:
        if films and not self.cameras:
            raise UserError(NO_PICTURES)
        maniskill = installed(self.simulator)
        if maniskill is None:
            return
        files = task_files(self.tasks, asset_folder())
        check(files, stand_ins=self.stand_ins, python=str(maniskill.python))
        say_licence(self.title)
        if self.cameras:
            say_device(maniskill.python, self.render_device)

    def build(self) -> SimplerEnv:
        """Imports ManiSkill (3 s) and makes the environment; scenes come with their episodes.

        Raises UserError where files are missing, or a camera is asked for and Vulkan has no device.
        """
        return SimplerEnv(self)


class SimplerEnv(EpisodicEnv):
    """A WidowX 250 S over a table or a sink, and what it is to put where.

    Action (the controller is the benchmark's own, held for 200 ms): 0 ``dx``, 1 ``dy``, 2 ``dz``:
    displacement of the hand's goal, metres; 3 ``rx``, 4 ``ry``, 5 ``rz``: its turn, radians, as
    Euler angles XYZ; both along the axes of the robot's base, from where the last action wanted the
    hand to be. 6 ``gripper``: +1 opens, -1 closes. Bounds are ±1, far beyond what the arm does.
    State: 0-5 the joints, radians; 6-7 the fingers, metres.
    Images: ``3rd_view_camera``; what is neither robot nor object is a photograph of the real scene.
    Initial state: seeds 0-23 are the published ones (the eggplant's: 0-63), from there on it is
    drawn from the seed alone (see ``tasks.placement``).
    Reward: 1 in the control step in which ManiSkill reports success, else 0: it lies on the target,
    and, for carrot and cube, presses it. Terminates at success, truncates at the time limit.
    Expert: a script without a planner.

    An episode's physics is the stock one, to the bit. SAPIEN cannot save all of its state, so
    episodes that take turns keep scenes of their own (see ``envs.replayed``).
    """

    def __init__(self, config: SimplerConfig) -> None:
        files = task_files(config.tasks, asset_folder())
        check(files, stand_ins=config.stand_ins)
        if config.stand_ins:
            from pushcut.envs.maniskill.simpler.stand_ins import make

            cache = home() / "simpler-stand-ins"
            os.environ[VARIABLE] = str(with_stand_ins(files, cache, make))
        # The first import of the simulator in this process.
        from pushcut.envs.maniskill.sapien_process import prepare
        from pushcut.envs.maniskill.simpler.simulator import TaskSimulator

        prepare(images=bool(config.cameras))
        self._simulator_type = TaskSimulator
        super().__init__(config.spec, max_sim_steps=config.max_steps * PHYSICS_STEPS)
        self._config = config

    def render(self, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """What the camera sees."""
        if not self._config.cameras:
            raise UserError(NO_PICTURES)
        from PIL import Image

        image = Image.fromarray(self._now.picture())
        return np.asarray(image.resize((size, size), Image.Resampling.BOX))

    def _make_simulator(self, task: str) -> TaskSimulator:
        config = self._config
        return self._simulator_type(
            task,
            draws=bool(config.cameras),
            size=config.image_size,
            padded=config.aspect == "pad",
            shader=config.shader,
            scenes=config.scenes,
            render_device=config.render_device,
        )

    def _images(self) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
        return {name: self._now.picture() for name in self.spec.cameras}

    def _state(self) -> Float32[np.ndarray, " 8"]:
        return self._now.joints()
